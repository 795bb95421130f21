/*
 * A deflate encoder (RFC 1951) for the clusters of disk images: one call packs one cluster as a raw stream
 * whose distances stay within 4 KiB, which is the window that QEMU writes with. src/host/own-deflate.ts calls
 * it; node tools/deflate.ts builds it. No libc, no allocation. The same input gives the same bytes, whatever
 * was packed before.
 *
 * - Matches: the buckets of a hash table hold the four newest positions that share a hash of 4 bytes, in one
 *   word; another table has the newest that shares one of 3 bytes. All five are weighed without branches, by
 *   the 8 bytes that follow; only what is that long is looked at further. A match gives way to a better one
 * at the next position (lazy matching).
 * - Blocks: symbols are counted in segments, and neighbours are joined while that costs fewer bits than
 *   another header. A block is dynamic, or stored where that is shorter; fixed codes gain nothing for whole
 *   clusters.
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

/* What RFC 1951 says. */
enum {
  MIN_MATCH = 3,
  MAX_MATCH = 258,
  END_OF_BLOCK = 256,
  FIRST_LENGTH = 257,  /* the symbol of a match of 3 bytes; literals and the end are below */
  LITERALS = 286,      /* symbols for literals, the end and lengths */
  LENGTHS = 29,        /* those of them that are lengths */
  DISTANCES = 30,      /* symbols for distances */
  LENGTH_CODES = 19,   /* symbols for the lengths of codes */
  MAX_LENGTH_CODE = 7, /* bits of such a symbol */
  MAX_STORED = 65535   /* bytes in a stored block */
};

/* What was chosen. */
enum {
  LARGEST = 2 << 20,
  WINDOW = 4096,
  HASH4_BITS = 11,
  HASH3_BITS = 12,
  LAZY = 32,              /* a match of this length is taken without a look at the next position */
  MAX_CODE = 14,          /* bits; 15 are allowed, but four literals have to fit 56 bits */
  MAX_RUN = 4095,         /* literals that one sequence can say */
  SEGMENT = 1536,         /* symbols after which a segment ends at the next match */
  SEGMENTS = 64,          /* that are looked at together */
  MAX_JOINED = 40000,     /* symbols in a block, so that counts fit 16 bits */
  HEADER_COST = 16 * 300, /* 1/16 bits that a block costs besides its symbols */
  LOOK = 2048,            /* bytes for which `shortest` answers */
  LOOK_STEP = 5,
  DISTANCE_ROW = 288, /* where the counts of distances begin, behind those of literals */
  ROW = 320
};

/*
 * Reads go up to 8 bytes past the end of the input, and writes past that of the output. What is there is
 * never used.
 */
static u8 input[LARGEST + 64], output[LARGEST + 4096];
/* The low 16 bits of positions, newest in the low bits. A position that is long gone looks near again: then
 * its bytes are compared as any others. */
static u64 newest4[1 << HASH4_BITS];
static u16 newest3[1 << HASH3_BITS];
/* Literals << 20 | (length - 3) << 12 | distance - 1, in this order; MAX_RUN literals have no match after
 * them. */
static u32 sequences[SEGMENTS * (SEGMENT + MAX_RUN + 8)];
static u16 counts[SEGMENTS + 1][ROW];
static u32 segmentSequence[SEGMENTS + 2], segmentByte[SEGMENTS + 2], segmentSymbols[SEGMENTS + 1];
static u8 lengthSymbol[256];   /* of length - 3; FIRST_LENGTH is taken off */
static u8 distanceSymbol[512]; /* of distance - 1 below 256, then of its 128ths */
static u16 lengthBase[LENGTHS], distanceBase[DISTANCES];
static u8 lengthExtra[LENGTHS], distanceExtra[DISTANCES];
static u32 xLogX[8192]; /* x * log2(x), in 1/16 bits */

INLINE u32 load32(const u8 *p) {
  u32 v;
  __builtin_memcpy(&v, p, 4);
  return v;
}
INLINE u64 load64(const u8 *p) {
  u64 v;
  __builtin_memcpy(&v, p, 8);
  return v;
}
INLINE void store64(u8 *p, u64 v) {
  __builtin_memcpy(p, &v, 8);
}
INLINE u32 min32(u32 a, u32 b) {
  return a < b ? a : b;
}
INLINE u32 max32(u32 a, u32 b) {
  return a > b ? a : b;
}
INLINE u32 log2floor(u32 v) {
  return 31 - __builtin_clz(v);
}
INLINE u32 symbolOfDistance(u32 less1) {
  return distanceSymbol[less1 < 256 ? less1 : 256 + (less1 >> 7)];
}

API(inputAt) u8 *inputAt(void) {
  return input;
}
API(outputAt) u8 *outputAt(void) {
  return output;
}

/* Fills the tables of section 3.2.5, and that of logarithms. To be called once. */
API(init) void init(void) {
  u32 base = MIN_MATCH;
  for (u32 s = 0; s < LENGTHS; s++) {
    u32 extra = s < 8 || s == LENGTHS - 1 ? 0 : (s >> 2) - 1;
    if (s == LENGTHS - 1)
      base = MAX_MATCH; /* has a symbol of its own, though the one before reaches it */
    lengthBase[s] = base;
    lengthExtra[s] = extra;
    for (u32 i = 0; i < 1u << extra && base - MIN_MATCH + i < 256; i++)
      lengthSymbol[base - MIN_MATCH + i] = s;
    base += 1u << extra;
  }
  base = 1;
  for (u32 s = 0; s < DISTANCES; s++) {
    u32 extra = s < 4 ? 0 : (s >> 1) - 1;
    distanceBase[s] = base;
    distanceExtra[s] = extra;
    for (u32 i = 0; i < 1u << extra; i++) {
      u32 d = base - 1 + i;
      distanceSymbol[d < 256 ? d : 256 + (d >> 7)] = s;
    }
    base += 1u << extra;
  }
  for (u32 x = 1; x < 8192; x++) { /* log2 by squaring the mantissa */
    u32 e = log2floor(x);
    double mantissa = (double)x / (1u << e), log = e, weight = 0.5;
    for (int i = 0; i < 16; i++, weight /= 2) {
      mantissa *= mantissa;
      if (mantissa >= 2) {
        mantissa /= 2;
        log += weight;
      }
    }
    xLogX[x] = (u32)(x * log * 16 + 0.5);
  }
}

/* ---- Huffman codes (3.2.2) ---- */

/* Sorts by the upper 16 bits, by two digits of 8 bits each. */
static void sortByCount(u32 *a, u32 n) {
  static u32 b[ROW];
  for (u32 shift = 16; shift < 32; shift += 8) {
    u32 first[256] = {0};
    for (u32 i = 0; i < n; i++)
      first[a[i] >> shift & 255]++;
    for (u32 i = 0, sum = 0; i < 256; i++) {
      u32 c = first[i];
      first[i] = sum;
      sum += c;
    }
    for (u32 i = 0; i < n; i++)
      b[first[a[i] >> shift & 255]++] = a[i];
    for (u32 i = 0; i < n; i++)
      a[i] = b[i];
  }
}

/* Finds the lengths, of at most `limit` bits, of a code for n symbols that come so often. */
static void codeLengths(const u16 *count, u32 n, u32 limit, u8 *lengths) {
  static u32 leaf[ROW]; /* count << 16 | symbol */
  u32 used = 0;
  for (u32 i = 0; i < n; i++) {
    lengths[i] = 0;
    if (count[i])
      leaf[used++] = (u32)count[i] << 16 | i;
  }
  if (used < 2) { /* a decoder wants at least one code; two make it complete */
    u32 s = used ? leaf[0] & 0xffff : 0;
    lengths[s] = 1;
    lengths[s ? 0 : 1] = 1;
    return;
  }
  sortByCount(leaf, used);
  /* Joins the two rarest of what is left: leaves and inner nodes are two queues, each in order already. */
  static u32 weight[ROW];
  static u16 parent[ROW], leafParent[ROW];
  u32 nextLeaf = 0, nextInner = 0;
  for (u32 k = 0; k < used - 1; k++) {
    u32 sum = 0;
    for (u32 child = 0; child < 2; child++) {
      if (nextLeaf < used && (nextInner >= k || (leaf[nextLeaf] >> 16) <= weight[nextInner])) {
        sum += leaf[nextLeaf] >> 16;
        leafParent[nextLeaf++] = k;
      } else {
        sum += weight[nextInner];
        parent[nextInner++] = k;
      }
    }
    weight[k] = sum;
  }
  static u8 depth[ROW];
  u32 per[32] = {0}; /* how many codes have this length */
  depth[used - 2] = 0;
  for (u32 k = used - 2; k-- > 0;)
    depth[k] = depth[parent[k]] + 1;
  for (u32 i = 0; i < used; i++)
    per[min32(depth[leafParent[i]] + 1u, limit)]++;
  /* Kraft's sum: lengthens what is shorter than the limit until the code fits, then uses what is left over.
   */
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
      lengths[leaf[i++] & 0xffff] = l;
}

/* Gives codes to lengths: the shortest first, then in order of symbols. Their first bit is the lowest. */
static void assignCodes(const u8 *lengths, u32 n, u16 *codes) {
  u32 count[16] = {0}, next[16], code = 0;
  for (u32 i = 0; i < n; i++)
    count[lengths[i]]++;
  count[0] = 0;
  for (u32 l = 1; l < 16; l++) {
    code = (code + count[l - 1]) << 1;
    next[l] = code;
  }
  for (u32 i = 0; i < n; i++) {
    u32 l = lengths[i];
    if (l == 0) {
      codes[i] = 0;
      continue;
    }
    u32 c = next[l]++;
    c = (c & 0x5555) << 1 | (c >> 1 & 0x5555);
    c = (c & 0x3333) << 2 | (c >> 2 & 0x3333);
    c = (c & 0x0f0f) << 4 | (c >> 4 & 0x0f0f);
    c = (c & 0x00ff) << 8 | (c >> 8 & 0x00ff);
    codes[i] = c >> (16 - l);
  }
}

/* ---- Bits (3.1.1) ---- */

static u64 bits;
static u32 bitCount, at, room;

/* Appends the n lowest bits of v, at most 56; the others are 0. */
INLINE void put(u64 v, u32 n) {
  bits |= v << bitCount;
  bitCount += n;
  store64(output + at, bits);
  at += bitCount >> 3;
  bits >>= bitCount & 56;
  bitCount &= 7;
}

/* ---- Blocks (3.2.3) ---- */

INLINE u32 xLogXOf(u32 x) {
  return x < 8192 ? xLogX[x] : x * 16 * log2floor(x);
}
/* The same for sums, which are larger. */
INLINE u32 xLogXOfSum(u32 x) {
  return x < 8192 ? xLogX[x] : xLogX[x >> 4] * 16 + x * 64;
}

/* What symbols that come so often will cost, in 1/16 bits: their entropy, and 3.5 bits for each code's
 * length. */
static u32 cost(const u16 *count) {
  u32 n = 0, sum = 0, used = 0, distances = 0, distanceSum = 0;
  for (u32 i = 0; i < LITERALS; i++) {
    u32 c = count[i];
    n += c;
    used += c != 0;
    sum += xLogXOf(c);
  }
  for (u32 i = 0; i < 24; i++) { /* 4 KiB is the reach of the first 24 */
    u32 c = count[DISTANCE_ROW + i];
    distances += c;
    distanceSum += xLogXOf(c);
  }
  return xLogXOfSum(n) - sum + xLogXOfSum(distances) - distanceSum + used * 56;
}

/* Writes stored blocks (3.2.4). */
static void putStored(const u8 *from, u32 length, u32 isLast) {
  do {
    u32 k = min32(length, MAX_STORED);
    length -= k;
    put(isLast && !length, 3);
    if (bitCount)
      put(0, 8 - bitCount);
    put(k | (u64)(k ^ MAX_STORED) << 16, 32);
    __builtin_memcpy(output + at, from, k);
    at += k;
    from += k;
  } while (length);
}

/* Says n lengths of codes in symbols | extra bits << 5 (3.2.7), and counts the symbols. */
static u32 packLengths(const u8 *lengths, u32 n, u16 *items, u16 *count) {
  u32 made = 0;
  for (u32 i = 0; i < n;) {
    u32 v = lengths[i], repeat = 1;
    while (i + repeat < n && lengths[i + repeat] == v)
      repeat++;
    i += repeat;
    if (v == 0) {
      while (repeat >= 11) {
        u32 k = min32(repeat, 138);
        items[made++] = 18 | (k - 11) << 5;
        count[18]++;
        repeat -= k;
      }
      if (repeat >= 3) {
        items[made++] = 17 | (repeat - 3) << 5;
        count[17]++;
        repeat = 0;
      }
    } else {
      items[made++] = v;
      count[v]++;
      repeat--;
      while (repeat >= 3) {
        u32 k = min32(repeat, 6);
        items[made++] = 16 | (k - 3) << 5;
        count[16]++;
        repeat -= k;
      }
    }
    for (; repeat > 0; repeat--) {
      items[made++] = v;
      count[v]++;
    }
  }
  return made;
}

/* A code that is ready for writing: code | bits << 24. A length's has the extra bits in it. */
static u32 literalCode[256], lengthCode[256], distanceCode[32];

/* Readies the codes that have these lengths. Returns that of the end of the block. */
static u32 readyCodes(const u8 *lengths, u32 literals, const u8 *distanceLengths, u32 distances) {
  u16 codes[LITERALS], distanceCodes[32];
  assignCodes(lengths, literals, codes);
  assignCodes(distanceLengths, distances, distanceCodes);
  for (u32 i = 0; i < 256; i++)
    literalCode[i] = codes[i] | (u32)lengths[i] << 24;
  for (u32 i = 0; i < LENGTHS && FIRST_LENGTH + i < literals; i++) {
    u32 l = lengths[FIRST_LENGTH + i];
    if (l == 0)
      continue;
    /* The last but one would reach the longest match, whose own code follows and replaces it. */
    u32 first = lengthBase[i] - MIN_MATCH, end = min32(first + (1u << lengthExtra[i]), 256);
    for (u32 k = first; k < end; k++)
      lengthCode[k] = codes[FIRST_LENGTH + i] | (k - first) << l | (l + lengthExtra[i]) << 24;
  }
  if (literals == LITERALS)
    lengthCode[255] = codes[LITERALS - 1] | (u32)lengths[LITERALS - 1] << 24;
  for (u32 i = 0; i < distances; i++)
    distanceCode[i] = distanceCodes[i] | (u32)distanceLengths[i] << 24;
  return codes[END_OF_BLOCK];
}

/* Writes the symbols of sequences (3.2.5) whose literals are in `from`, then `tail` literals more. */
static void putSequences(const u32 *sequence, const u32 *end, const u8 *from, u32 tail) {
  u64 held = bits; /* local, so that they stay in registers */
  u32 n = bitCount;
  u8 *to = output + at;
#define FLUSH() (store64(to, held), to += n >> 3, held >>= n & 56, n &= 7)
#define LITERAL(c) (held |= (u64)(literalCode[c] & 0xffff) << n, n += literalCode[c] >> 24)
  for (;; sequence++) {
    u32 isTail = sequence == end, q = isTail ? 0 : *sequence, run = isTail ? tail : q >> 20;
    for (; run > 4; run -= 4, from += 4) {
      LITERAL(from[0]);
      LITERAL(from[1]);
      LITERAL(from[2]);
      LITERAL(from[3]);
      FLUSH();
    }
    for (u32 k = 0; k < 4; k++) { /* no branches: how many there are cannot be foreseen */
      u32 code = literalCode[from[k]] & (0 - (u32)(k < run));
      held |= (u64)(code & 0xffff) << n;
      n += code >> 24;
    }
    FLUSH();
    from += run;
    if (isTail)
      break;
    if (q >> 20 == MAX_RUN)
      continue;
    u32 length = q >> 12 & 255, less1 = q & 4095, symbol = symbolOfDistance(less1);
    u32 l = lengthCode[length], d = distanceCode[symbol];
    u64 distance = (d & 0xffff) | (u64)(less1 + 1 - distanceBase[symbol]) << (d >> 24);
    held |= ((l & 0xffffff) | distance << (l >> 24)) << n;
    n += (l >> 24) + (d >> 24) + distanceExtra[symbol];
    FLUSH();
    from += length + MIN_MATCH;
  }
#undef LITERAL
#undef FLUSH
  bits = held;
  bitCount = n;
  at = (u32)(to - output);
}

/* Writes a block; its input is `length` bytes, the last `tail` of them in no sequence. Returns 0 if there is
 * no room. */
static u32 putBlock(u16 *count, const u32 *sequence, const u32 *end, const u8 *from, u32 length, u32 tail,
                    u32 isLast) {
  static const u8 order[LENGTH_CODES] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
  u8 lengths[LITERALS + DISTANCES + 4], itemLengths[LENGTH_CODES];
  u16 itemCount[LENGTH_CODES] = {0}, items[ROW], itemCodes[LENGTH_CODES];
  count[END_OF_BLOCK] = 1;
  codeLengths(count, LITERALS, MAX_CODE, lengths);
  u32 literals = LITERALS;
  while (literals > FIRST_LENGTH && !lengths[literals - 1])
    literals--;
  u8 *distanceLengths = lengths + literals; /* right behind: repeats may go across */
  codeLengths(count + DISTANCE_ROW, DISTANCES, MAX_CODE, distanceLengths);
  u32 distances = DISTANCES;
  while (distances > 1 && !distanceLengths[distances - 1])
    distances--;
  u32 itemsMade = packLengths(lengths, literals + distances, items, itemCount);
  codeLengths(itemCount, LENGTH_CODES, MAX_LENGTH_CODE, itemLengths);
  u32 ordered = LENGTH_CODES;
  while (ordered > 4 && !itemLengths[order[ordered - 1]])
    ordered--;

  u32 size = 17 + ordered * 3 + itemCount[16] * 2 + itemCount[17] * 3 + itemCount[18] * 7;
  for (u32 i = 0; i < LENGTH_CODES; i++)
    size += itemCount[i] * itemLengths[i];
  for (u32 i = 0; i < literals; i++)
    size += count[i] * (lengths[i] + (i > FIRST_LENGTH + 7 ? lengthExtra[i - FIRST_LENGTH] : 0));
  for (u32 i = 0; i < distances; i++)
    size += count[DISTANCE_ROW + i] * (distanceLengths[i] + distanceExtra[i]);
  u32 stored = length + 5 * (length / MAX_STORED + 1);
  if (size > stored * 8) {
    if (at + stored > room)
      return 0;
    putStored(from, length, isLast);
    return 1;
  }
  if (at + ((size + bitCount + 7) >> 3) > room)
    return 0;

  put(isLast | 2 << 1 | (literals - 257) << 3 | (distances - 1) << 8 | (ordered - 4) << 13, 17);
  for (u32 i = 0; i < ordered; i++)
    put(itemLengths[order[i]], 3);
  assignCodes(itemLengths, LENGTH_CODES, itemCodes);
  for (u32 i = 0; i < itemsMade; i++) {
    u32 v = items[i] & 31, l = itemLengths[v];
    put(itemCodes[v] | (u32)(items[i] >> 5) << l, l + (v < 16 ? 0 : v == 16 ? 2 : v == 17 ? 3 : 7));
  }
  u32 endCode = readyCodes(lengths, literals, distanceLengths, distances);
  putSequences(sequence, end, from, tail);
  put(endCode, lengths[END_OF_BLOCK]);
  return 1;
}

/* Joins segments while that costs less than a header, and writes the blocks. Returns 0 if there is no room.
 */
static u32 putSegments(u32 segments, u32 isLast, u32 tail) {
  for (u32 i = 0, j; i < segments; i = j) {
    u32 mine = cost(counts[i]), symbols = segmentSymbols[i];
    for (j = i + 1; j < segments && symbols + segmentSymbols[j] <= MAX_JOINED; j++) {
      u16 sum[ROW];
      for (u32 k = 0; k < ROW; k++)
        sum[k] = counts[i][k] + counts[j][k];
      u32 joint = cost(sum);
      if (joint > mine + cost(counts[j]) + HEADER_COST)
        break;
      symbols += segmentSymbols[j];
      for (u32 k = 0; k < ROW; k++)
        counts[i][k] = sum[k];
      mine = joint;
    }
    if (!putBlock(counts[i], sequences + segmentSequence[i], sequences + segmentSequence[j],
                  input + segmentByte[i], segmentByte[j] - segmentByte[i], j == segments ? tail : 0,
                  isLast && j == segments))
      return 0;
  }
  return 1;
}

/* ---- Matches (4) ---- */

INLINE u32 hash4(u32 v) {
  return (v * 0x9E3779B1u) >> (32 - HASH4_BITS);
}
INLINE u32 hash3(u32 v) {
  return ((v << 8) * 0x9E3779B1u) >> (32 - HASH3_BITS);
}

/* Notes that v is at `pos`. Returns the bucket as it was. */
INLINE u64 insert(u32 pos, u32 v) {
  u64 *bucket = newest4 + hash4(v), old = *bucket;
  *bucket = old << 16 | (pos & 0xffff);
  newest3[hash3(v)] = (u16)pos;
  return old;
}

/*
 * A match is length << 16 | 65535 - distance: the greater the better. This one's length is how many of the 8
 * bytes v, which are at p, come at the candidate too. Nothing before the input is read: candidates were met
 * before `pos`, so that a distance, less what 16 bits cannot hold, is never more than `pos`.
 */
INLINE u32 weigh(const u8 *p, u64 v, u32 pos, u32 candidate, u32 farthest) {
  u32 distance = (pos - candidate) & 0xffff;
  u64 differ = load64(p - distance) ^ v;
  u32 length = (u32)(differ ? __builtin_ctzll(differ) : 64) >> 3;
  return (length << 16 | (65535 - distance)) & (0 - (u32)(distance - 1 < farthest));
}

/* The best of those in the bucket whose first 8 bytes are v, at their full lengths of at most `longest`. */
static u32 lengthen(const u8 *p, u64 v, u32 pos, u64 bucket, u32 farthest, u32 longest, u32 best) {
  for (u32 i = 0; i < 4; i++, bucket >>= 16) {
    u32 distance = (pos - (u32)bucket) & 0xffff, length = 8;
    if (distance - 1 >= farthest || load64(p - distance) != v)
      continue;
    while (length < longest) {
      u64 differ = load64(p + length) ^ load64(p + length - distance);
      if (differ) {
        length += (u32)__builtin_ctzll(differ) >> 3;
        break;
      }
      length += 8;
    }
    best = max32(best, min32(length, longest) << 16 | (65535 - distance));
  }
  return best;
}

/* The best match at `pos`, which is inserted; n bytes are the input, and 8 of them follow. */
INLINE u32 find(u32 pos, u32 n) {
  const u8 *p = input + pos;
  u64 v = load64(p);
  u32 near = newest3[hash3((u32)v)], farthest = min32(pos, WINDOW);
  u64 bucket = insert(pos, (u32)v);
  u32 best = weigh(p, v, pos, near, farthest);
  best = max32(best, weigh(p, v, pos, (u32)bucket, farthest));
  best = max32(best, weigh(p, v, pos, (u32)(bucket >> 16), farthest));
  best = max32(best, weigh(p, v, pos, (u32)(bucket >> 32), farthest));
  best = max32(best, weigh(p, v, pos, (u32)(bucket >> 48), farthest));
  if (best >= 8u << 16)
    best = lengthen(p, v, pos, bucket, farthest, min32(n - pos, MAX_MATCH), best);
  return best;
}

/* What a match saves, roughly, in quarters of a literal: its distance has to be written. */
INLINE u32 score(u32 match) {
  return (match >> 16) * 4 - log2floor(((65535 - match) & 0xffff) | 1) + 16;
}

/*
 * The shortest match that is shorter than its literals, by how many different bytes there are: literals are
 * short where there are few. Looks at every fifth, until there are too many, which is soon in most data.
 */
static u32 shortest(const u8 *p, u32 length) {
  u64 seen[4] = {0};
  u32 n = 0;
  for (u32 i = 0; i < min32(length, LOOK); i += LOOK_STEP) {
    u64 *word = seen + (p[i] >> 6), bit = 1ull << (p[i] & 63);
    n += !(*word & bit);
    *word |= bit;
    if (n > 20)
      return MIN_MATCH;
  }
  return n > 8 ? 4 : n > 5 ? 5 : n > 3 ? 6 : n > 2 ? 7 : 8;
}

/* Packs n bytes of the input into at most `limit` bytes of the output. Returns how many, 0 if they would be
 * more. */
API(pack) u32 pack(u32 n, u32 limit) {
  __builtin_memset(newest4, 0, sizeof newest4);
  __builtin_memset(newest3, 0, sizeof newest3);
  __builtin_memset(counts, 0, sizeof counts);
  bits = 0;
  bitCount = 0;
  at = 0;
  room = limit;
  u32 end = n < 9 ? 0 : n - 9; /* the last position where a match is looked for */
  u32 pos = 0, run = 0, segment = 0, symbols = 0, made = 0, match = 0, least = 0, looked = 0;
  u16 *count = counts[0];
  segmentSequence[0] = 0;
  segmentByte[0] = 0;
  if (end)
    match = find(0, n);
  while (pos < n) {
    /* Here `match` is that at pos, which is inserted. */
    u32 next = 0, isNextIn = 0;
    if (pos >= looked) {
      least = shortest(input + pos, n - pos) << 16;
      looked = pos + LOOK;
    }
    if (match < LAZY << 16 && pos < end) {
      next = find(pos + 1, n);
      isNextIn = 1;
    }
    if (match < least || score(next) > score(match) + 2) {
      count[input[pos]]++;
      run++;
      symbols++;
      pos++;
      match = next;
      if (run < MAX_RUN)
        continue;
      sequences[made++] = (u32)MAX_RUN << 20;
      run = 0;
    } else {
      u32 length = match >> 16, distance = (65535 - match) & 0xffff, i = pos + 1 + isNextIn;
      sequences[made++] = run << 20 | (length - MIN_MATCH) << 12 | (distance - 1);
      run = 0;
      symbols++;
      count[FIRST_LENGTH + lengthSymbol[length - MIN_MATCH]]++;
      count[DISTANCE_ROW + symbolOfDistance(distance - 1)]++;
      pos += length;
      for (; i < pos; i++)
        insert(i, load32(input + i));
      match = pos <= end && end ? find(pos, n) : 0;
    }
    /* No literals wait here: a segment ends behind a sequence. */
    if (symbols < SEGMENT)
      continue;
    segmentSymbols[segment++] = symbols;
    symbols = 0;
    segmentSequence[segment] = made;
    segmentByte[segment] = pos;
    count = counts[segment];
    if (segment < SEGMENTS)
      continue;
    if (!putSegments(SEGMENTS, 0, 0))
      return 0;
    __builtin_memset(counts, 0, sizeof counts);
    segment = 0;
    made = 0;
    segmentSequence[0] = 0;
    segmentByte[0] = pos;
    count = counts[0];
  }
  segmentSymbols[segment] = symbols;
  segmentSequence[segment + 1] = made;
  segmentByte[segment + 1] = pos;
  if (!putSegments(segment + 1, 1, run))
    return 0;
  if (bitCount)
    output[at++] = (u8)bits;
  return at > limit ? 0 : at;
}
