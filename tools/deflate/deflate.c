/*
 * A deflate encoder (RFC 1951) for the clusters of disk images: one call packs one cluster as a raw stream
 * whose distances stay within 4 KiB, which is the window that QEMU writes with. src/host/own-deflate.ts calls
 * it; node tools/deflate.ts builds it. No libc, no allocation.
 *
 * - Matches: the four newest positions that share a hash of 4 bytes are in one word, the newest that shares
 * one of 3 bytes in another table. All five are weighed without branches, by the 8 bytes that follow; only
 * what is that long is looked at further. A match gives way to a better one at the next position (lazy
 * matching).
 * - Blocks: symbols are counted in segments, and neighbours are joined while that costs fewer bits than
 * another header. A block is dynamic, or stored where that is shorter; fixed codes gain nothing for whole
 * clusters.
 */
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
#ifdef __wasm__
#define API(name) __attribute__((export_name(#name)))
#else
#define API(name) __attribute__((visibility("default")))
#endif
#define INLINE static inline __attribute__((always_inline))

enum {
  H4 = 11,
  H3 = 12,
  SEGMENT = 1536,
  WINDOW = 4096,
  MAXLEN = 258,
  NSEG = 64,
  LITLEN = 288,
  ROW = 320,
  MAXBITS = 14,
  MAXIN = 2 << 20,
  RUN = 4095
};

static u8 before[65536 + 64], input[MAXIN + 64], output[MAXIN + 4096];
static u64 table[1 << H4]; /* positions that share a hash of 4 bytes, newest first */
static u16 head3[1 << H3];
static u32 seqs[NSEG * (SEGMENT + RUN + 8)]; /* literals before << 20 | length-3 << 12 | distance-1 */
static u16 hist[NSEG + 1][ROW];              /* literals and lengths, then distances */
static u32 segSeq[NSEG + 2], segByte[NSEG + 2], segCount[NSEG + 1];
static u8 lenSym[256], distSym[512]; /* length-3 -> symbol-257; distance-1 -> symbol */
static u32 xlogx[8192];              /* x * log2(x), 1/16 bits */
static u16 lenBase[29], distBase[30];
static u8 lenExtra[29], distExtra[30];
static const u32 headerCost = 16 * 300, lazyLimit = 32;

INLINE u32 ld32(const u8 *p) {
  u32 v;
  __builtin_memcpy(&v, p, 4);
  return v;
}
INLINE u64 ld64(const u8 *p) {
  u64 v;
  __builtin_memcpy(&v, p, 8);
  return v;
}
INLINE void st64(u8 *p, u64 v) {
  __builtin_memcpy(p, &v, 8);
}
INLINE u32 min32(u32 a, u32 b) {
  return a < b ? a : b;
}
INLINE u32 log2floor(u32 v) {
  return 31 - __builtin_clz(v);
}

API(inputAt) u8 *inputAt(void) {
  return input;
}
API(outputAt) u8 *outputAt(void) {
  return output;
}
API(init) void init(void) {
  u32 base = 3;
  for (u32 s = 0; s < 29; s++) {
    u32 extra = s < 8 || s == 28 ? 0 : (s >> 2) - 1;
    if (s == 28)
      base = 258;
    lenBase[s] = base;
    lenExtra[s] = extra;
    for (u32 i = 0; i < 1u << extra && base - 3 + i < 256; i++)
      lenSym[base - 3 + i] = s;
    base += 1u << extra;
  }
  base = 1;
  for (u32 s = 0; s < 30; s++) {
    u32 extra = s < 4 ? 0 : (s >> 1) - 1;
    distBase[s] = base;
    distExtra[s] = extra;
    for (u32 i = 0; i < 1u << extra; i++) {
      u32 d = base - 1 + i;
      if (d < 256)
        distSym[d] = s;
      else
        distSym[256 + (d >> 7)] = s;
    }
    base += 1u << extra;
  }
  for (u32 x = 1; x < 8192; x++) { /* log2 by squaring the mantissa */
    u32 e = log2floor(x);
    double m = (double)x / (1u << e), f = e, w = 0.5;
    for (int i = 0; i < 16; i++, w /= 2) {
      m *= m;
      if (m >= 2) {
        m /= 2;
        f += w;
      }
    }
    xlogx[x] = (u32)(x * f * 16 + 0.5);
  }
}
INLINE u32 distSlot(u32 d) {
  return distSym[d < 256 ? d : 256 + (d >> 7)];
}

/* ---- Huffman codes ---- */

/* Lengths of at most `limit` bits for n frequencies. */
static void codeLengths(const u16 *freq, u32 n, u32 limit, u8 *lens) {
  static u32 a[LITLEN], b[LITLEN];
  u32 count[256], used = 0;
  for (u32 i = 0; i < n; i++) {
    lens[i] = 0;
    if (freq[i])
      a[used++] = (u32)freq[i] << 16 | i;
  }
  if (used < 2) { /* a decoder wants at least one code; two make it complete */
    u32 s = used ? a[0] & 0xffff : 0;
    lens[s] = 1;
    lens[s ? 0 : 1] = 1;
    return;
  }
  for (u32 pass = 16; pass < 32; pass += 8) {
    for (u32 i = 0; i < 256; i++)
      count[i] = 0;
    for (u32 i = 0; i < used; i++)
      count[a[i] >> pass & 255]++;
    for (u32 i = 0, sum = 0; i < 256; i++) {
      u32 c = count[i];
      count[i] = sum;
      sum += c;
    }
    for (u32 i = 0; i < used; i++)
      b[count[a[i] >> pass & 255]++] = a[i];
    for (u32 i = 0; i < used; i++)
      a[i] = b[i];
  }
  /* Two queues: leaves in a, inner nodes in w; parent[] of both. */
  static u32 w[LITLEN];
  static u16 up[LITLEN], leafUp[LITLEN];
  u32 leaf = 0, inner = 0;
  for (u32 k = 0; k < used - 1; k++) {
    u32 sum = 0;
    for (u32 t = 0; t < 2; t++) {
      if (leaf < used && (inner >= k || (a[leaf] >> 16) <= w[inner])) {
        sum += a[leaf] >> 16;
        leafUp[leaf++] = k;
      } else {
        sum += w[inner];
        up[inner++] = k;
      }
    }
    w[k] = sum;
  }
  u32 per[32] = {0};
  static u8 depth[LITLEN];
  depth[used - 2] = 0;
  for (u32 k = used - 2; k-- > 0;)
    depth[k] = depth[up[k]] + 1;
  for (u32 i = 0; i < used; i++) {
    u32 d = depth[leafUp[i]] + 1u;
    per[d > limit ? limit : d]++;
  }
  /* Kraft: lengthen what is shorter than the limit until the code fits, then use what is left over. */
  u32 total = 0;
  for (u32 l = 1; l <= limit; l++)
    total += per[l] << (limit - l);
  while (total > 1u << limit) {
    u32 l = limit - 1;
    while (!per[l])
      l--;
    per[l]--;
    per[l + 1]++;
    total -= 1u << (limit - l - 1);
  }
  for (u32 l = limit; total < 1u << limit;) {
    while (!per[l] || total + (1u << (limit - l)) > 1u << limit)
      l--;
    per[l]--;
    per[l - 1]++;
    total += 1u << (limit - l);
  }
  u32 i = 0;
  for (u32 l = limit; l > 0; l--)
    for (u32 c = per[l]; c > 0; c--)
      lens[a[i++] & 0xffff] = l;
}
static void codes(const u8 *lens, u32 n, u16 *out) {
  u32 count[16] = {0}, next[16], code = 0;
  for (u32 i = 0; i < n; i++)
    count[lens[i]]++;
  count[0] = 0;
  for (u32 l = 1; l < 16; l++) {
    code = (code + count[l - 1]) << 1;
    next[l] = code;
  }
  for (u32 i = 0; i < n; i++) {
    u32 l = lens[i], c = next[l]++;
    c = (c & 0x5555) << 1 | (c >> 1 & 0x5555);
    c = (c & 0x3333) << 2 | (c >> 2 & 0x3333);
    c = (c & 0x0f0f) << 4 | (c >> 4 & 0x0f0f);
    c = (c & 0x00ff) << 8 | (c >> 8 & 0x00ff);
    out[i] = l ? c >> (16 - l) : 0;
  }
}

/* ---- Bits ---- */

static u64 bits;
static u32 nbits, at, room;
INLINE void put(u64 v, u32 n) { /* n <= 56 */
  bits |= v << nbits;
  nbits += n;
  st64(output + at, bits);
  at += nbits >> 3;
  bits >>= nbits & 56;
  nbits &= 7;
}

/* ---- Blocks ---- */

/* Cost of the symbols in 1/16 bits, header included. */
static u32 cost(const u16 *h) {
  u32 n = 0, sum = 0, used = 0, d = 0, sumD = 0;
  for (u32 i = 0; i < 286; i++) {
    u32 f = h[i];
    n += f;
    used += f != 0;
    sum += f < 8192 ? xlogx[f] : f * 16 * log2floor(f);
  }
  for (u32 i = 0; i < 24; i++) {
    u32 f = h[LITLEN + i];
    d += f;
    sumD += f < 8192 ? xlogx[f] : f * 16 * log2floor(f);
  }
  u32 l = n < 8192 ? xlogx[n] : xlogx[n >> 4] * 16 + n * 64,
      m = d < 8192 ? xlogx[d] : xlogx[d >> 4] * 16 + d * 64;
  return l - sum + m - sumD + used * 56;
}

static const u8 order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

/* Returns 0 when there is no room. */
static u32 block(u16 *h, const u32 *s, const u32 *sEnd, const u8 *p, u32 bytes, u32 tail, u32 last) {
  u8 lens[LITLEN + 32], pre[19];
  u16 lcode[LITLEN], dcode[32], pcode[19], pfreq[19] = {0}, items[ROW];
  h[256] = 1;
  codeLengths(h, 286, MAXBITS, lens);
  u32 nl = 286;
  while (nl > 257 && !lens[nl - 1])
    nl--;
  u8 *dl = lens + nl;
  codeLengths(h + LITLEN, 30, MAXBITS, dl);
  u32 nd = 30;
  while (nd > 1 && !dl[nd - 1])
    nd--;
  u32 n = 0, all = nl + nd;
  for (u32 i = 0; i < all;) {
    u32 v = lens[i], r = 1;
    while (i + r < all && lens[i + r] == v)
      r++;
    i += r;
    if (v == 0) {
      while (r >= 11) {
        u32 k = min32(r, 138);
        items[n++] = 18 | (k - 11) << 5;
        pfreq[18]++;
        r -= k;
      }
      if (r >= 3) {
        items[n++] = 17 | (r - 3) << 5;
        pfreq[17]++;
        r = 0;
      }
    } else {
      items[n++] = v;
      pfreq[v]++;
      r--;
      while (r >= 3) {
        u32 k = min32(r, 6);
        items[n++] = 16 | (k - 3) << 5;
        pfreq[16]++;
        r -= k;
      }
    }
    for (; r > 0; r--) {
      items[n++] = v;
      pfreq[v]++;
    }
  }
  codeLengths(pfreq, 19, 7, pre);
  u32 np = 19;
  while (np > 4 && !pre[order[np - 1]])
    np--;
  u32 size = 17 + np * 3 + pfreq[16] * 2 + pfreq[17] * 3 + pfreq[18] * 7;
  for (u32 i = 0; i < 19; i++)
    size += pfreq[i] * pre[i];
  for (u32 i = 0; i < nl; i++)
    size += h[i] * (lens[i] + (i > 264 ? lenExtra[i - 257] : 0));
  for (u32 i = 0; i < nd; i++)
    size += h[LITLEN + i] * (dl[i] + distExtra[i]);
  if (size > (bytes + 5 * (bytes / 65535 + 1)) * 8) { /* stored */
    if (at + bytes + 8 + 5 * (bytes / 65535 + 1) > room + 8)
      return 0;
    do {
      u32 k = min32(bytes, 65535);
      bytes -= k;
      put(last && !bytes, 3);
      if (nbits)
        put(0, 8 - nbits);
      put(k | (u64)(k ^ 65535) << 16, 32);
      __builtin_memcpy(output + at, p, k);
      at += k;
      p += k;
    } while (bytes);
    return 1;
  }
  if (at + ((size + nbits + 7) >> 3) > room)
    return 0;
  codes(lens, nl, lcode);
  codes(dl, nd, dcode);
  codes(pre, 19, pcode);
  put(last | 2 << 1 | (nl - 257) << 3 | (nd - 1) << 8 | (np - 4) << 13, 17);
  for (u32 i = 0; i < np; i++)
    put(pre[order[i]], 3);
  for (u32 i = 0; i < n; i++) {
    u32 v = items[i] & 31, l = pre[v];
    put(pcode[v] | (u32)(items[i] >> 5) << l, l + (v < 16 ? 0 : v == 16 ? 2 : v == 17 ? 3 : 7));
  }
  static u32 lit[256], len[256], dist[32]; /* code | bits << 24 */
  for (u32 i = 0; i < 256; i++)
    lit[i] = lcode[i] | (u32)lens[i] << 24;
  for (u32 i = 0; i < 29 && 257 + i < nl; i++) {
    u32 l = lens[257 + i];
    if (l)
      for (u32 k = 0; k < 1u << lenExtra[i] && lenBase[i] - 3 + k < 256; k++)
        len[lenBase[i] - 3 + k] = lcode[257 + i] | k << l | (l + lenExtra[i]) << 24;
  }
  if (nl >= 286)
    len[255] = lcode[285] | (u32)lens[285] << 24;
  for (u32 i = 0; i < nd; i++)
    dist[i] = dcode[i] | (u32)dl[i] << 24;
  u64 bb = bits;
  u32 nb = nbits;
  u8 *o = output + at;
#define FLUSH() (st64(o, bb), o += nb >> 3, bb >>= nb & 56, nb &= 7)
#define LIT(c)                                                                                               \
  {                                                                                                          \
    u32 e = lit[c];                                                                                          \
    bb |= (u64)(e & 0xffff) << nb;                                                                           \
    nb += e >> 24;                                                                                           \
  }
  for (; s <= sEnd; s++) {
    u32 q, run;
    if (s == sEnd) {
      run = tail;
      q = 0;
    } else {
      q = *s;
      run = q >> 20;
    }
    for (; run > 4; run -= 4, p += 4) {
      LIT(p[0]) LIT(p[1]) LIT(p[2]) LIT(p[3]) FLUSH();
    }
    for (u32 k = 0; k < 4; k++) { /* no branches: how many there are cannot be foreseen */
      u32 e = lit[p[k]] & (0 - (u32)(k < run));
      bb |= (u64)(e & 0xffff) << nb;
      nb += e >> 24;
    }
    FLUSH();
    p += run;
    if (s == sEnd)
      break;
    if (q >> 20 == RUN)
      continue;
    u32 e = len[q >> 12 & 255], d = q & 4095, slot = distSlot(d), g = dist[slot];
    u64 v = (e & 0xffffff) | ((u64)(g & 0xffff) | (u64)(d + 1 - distBase[slot]) << (g >> 24)) << (e >> 24);
    bb |= v << nb;
    nb += (e >> 24) + (g >> 24) + distExtra[slot];
    FLUSH();
    p += (q >> 12 & 255) + 3;
  }
  bits = bb;
  nbits = nb;
  at = (u32)(o - output);
  put(lcode[256], lens[256]);
  return 1;
}

/* Joins segments while that costs less than a header, and writes the blocks. */
static u32 blocks(u32 nseg, u32 last, u32 tail) {
  for (u32 i = 0; i < nseg;) {
    u32 j = i + 1, mine = cost(hist[i]), symbols = segCount[i];
    u16 sum[ROW];
    for (; j < nseg && symbols + segCount[j] <= 40000; j++) {
      for (u32 k = 0; k < ROW; k++)
        sum[k] = hist[i][k] + hist[j][k];
      u32 other = cost(hist[j]), joint = cost(sum);
      if (joint > mine + other + headerCost)
        break;
      symbols += segCount[j];
      for (u32 k = 0; k < ROW; k++)
        hist[i][k] = sum[k];
      mine = joint;
    }
    if (!block(hist[i], seqs + segSeq[i], seqs + segSeq[j], input + segByte[i], segByte[j] - segByte[i],
               j == nseg ? tail : 0, last && j == nseg))
      return 0;
    i = j;
  }
  return 1;
}

/* ---- Matches ---- */

INLINE u32 hash4(u32 v) {
  return (v * 0x9E3779B1u) >> (32 - H4);
}
INLINE u32 hash3(u32 v) {
  return ((v << 8) * 0x9E3779B1u) >> (32 - H3);
}
INLINE u64 insert(u32 pos, u32 v) {
  u64 *t = table + hash4(v), old = *t;
  *t = old << 16 | (pos & 0xffff);
  head3[hash3(v)] = (u16)pos;
  return old;
}
/* How many of 8 bytes are equal, and in the lower half how near: the greater the better. */
INLINE u32 weigh(const u8 *p, u64 v, u32 pos, u32 cand, u32 limit) {
  u32 d = (pos - cand) & 0xffff;
  u64 x = ld64(p - d) ^ v;
  u32 n = (u32)(x ? __builtin_ctzll(x) : 64) >> 3;
  return (n << 16 | (65535 - d)) & (0 - (u32)(d - 1 < limit));
}
INLINE u32 max32(u32 a, u32 b) {
  return a > b ? a : b;
}
static u32 lengthen(const u8 *p, u64 v, u32 pos, u64 cands, u32 count, u32 limit, u32 max, u32 best) {
  for (u32 i = 0; i < count; i++, cands >>= 16) {
    u32 d = (pos - (u32)cands) & 0xffff, n = 8;
    if (d - 1 >= limit || ld64(p - d) != v)
      continue;
    const u8 *q = p - d;
    while (n < max) {
      u64 x = ld64(p + n) ^ ld64(q + n);
      if (x) {
        n += (u32)__builtin_ctzll(x) >> 3;
        break;
      }
      n += 8;
    }
    best = max32(best, min32(n, max) << 16 | (65535 - d));
  }
  return best;
}
/* The longest match at pos: length << 16 | 65535 - distance. Inserts pos. */
INLINE u32 find(u32 pos, u32 n) {
  const u8 *p = input + pos;
  u64 v = ld64(p);
  u32 near = head3[hash3((u32)v)], limit = min32(pos, WINDOW);
  u64 c = insert(pos, (u32)v);
  u32 best = weigh(p, v, pos, near, limit);
  best = max32(best, weigh(p, v, pos, (u32)c, limit));
  best = max32(best, weigh(p, v, pos, (u32)(c >> 16), limit));
  best = max32(best, weigh(p, v, pos, (u32)(c >> 32), limit));
  best = max32(best, weigh(p, v, pos, (u32)(c >> 48), limit));
  if (best >= 8u << 16) {
    u32 max = min32(n - pos, MAXLEN);
    best = lengthen(p, v, pos, c, 4, limit, max, best);
  }
  return best;
}
INLINE u32 score(u32 m) {
  return (m >> 16) * 4 - log2floor((65535 - m) & 0xffff | 1) + 16;
}

/* Packs `n` bytes of the input into at most `cap` bytes of the output. Returns how many, 0 if more. */
API(pack) u32 pack(u32 n, u32 cap) {
  __builtin_memset(table, 0, sizeof table);
  __builtin_memset(head3, 0, sizeof head3);
  __builtin_memset(hist, 0, sizeof hist);
  bits = 0;
  nbits = 0;
  at = 0;
  room = cap;
  u32 pos = 0, run = 0, seg = 0, count = 0, nseq = 0, end = n < 9 ? 0 : n - 9, m = 0;
  u16 *h = hist[0];
  segSeq[0] = 0;
  segByte[0] = 0;
  if (end)
    m = find(0, n);
  while (pos < n) {
    /* Here m is the match at pos, which is inserted. */
    u32 next = 0, known = 0;
    if (m < lazyLimit << 16 && pos < end) {
      next = find(pos + 1, n);
      known = 1;
    }
    if (m < 3u << 16 || score(next) > score(m) + 2) {
      h[input[pos]]++;
      run++;
      count++;
      pos++;
      m = next;
      if (run < RUN)
        continue;
      seqs[nseq++] = (u32)RUN << 20;
      run = 0;
    } else {
      u32 len = m >> 16, d = (65535 - m) & 0xffff, i = pos + 1 + known;
      seqs[nseq++] = run << 20 | (len - 3) << 12 | (d - 1);
      run = 0;
      count++;
      h[257 + lenSym[len - 3]]++;
      h[LITLEN + distSlot(d - 1)]++;
      pos += len;
      for (; i < pos; i++)
        insert(i, ld32(input + i));
      m = pos <= end && end ? find(pos, n) : 0;
    }
    if (count < SEGMENT)
      continue;
    segCount[seg++] = count;
    count = 0;
    segSeq[seg] = nseq;
    segByte[seg] = pos;
    h = hist[seg];
    if (seg < NSEG)
      continue;
    if (!blocks(NSEG, 0, 0))
      return 0;
    __builtin_memset(hist, 0, sizeof hist);
    seg = 0;
    nseq = 0;
    segSeq[0] = 0;
    segByte[0] = pos;
    h = hist[0];
  }
  segSeq[seg + 1] = nseq;
  segByte[seg + 1] = pos;
  segCount[seg] = count;
  if (!blocks(seg + 1, 1, run))
    return 0;
  if (nbits)
    output[at++] = (u8)bits;
  return at > cap ? 0 : at;
}
