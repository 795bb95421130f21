import type { Storage } from "../../storage/index.ts";
import type { AuditCode, AuditFinding, AuditReference, FormatAudit } from "../audit.ts";
import { Claim, Claims, claimName, type ClaimKind } from "./audit-claims.ts";
import { ExtensionType } from "./extensions.ts";
import { compatible, incompatible } from "./features.ts";
import { headerStructure, type HeaderFields } from "./header.ts";

/** Most findings of one code that are listed; after that one says that there are more. */
const maxOfOneCode = 8;
/** L1 tables larger than this are refused by QEMU; snapshots and bitmaps have limits of their own. */
const maxL1Bytes = 32 * 1024 * 1024;
const maxRefcountTableBytes = 8 * 1024 * 1024;
const maxSnapshots = 65_536;
const maxBitmaps = 65_535;
const offsetMask = 0x00ff_ffff_ffff_fe00n;

/**
 * Looks at a qcow2 file without opening it as an image: reads header, extensions and tables for
 * themselves and goes on where an opener would stop. Follows no reference. Throws only what reading the
 * storage throws.
 */
export async function auditQcow2(storage: Storage): Promise<FormatAudit> {
  return new Qcow2Audit(storage).run();
}

class Qcow2Audit {
  readonly #storage: Storage;
  readonly #findings: AuditFinding[] = [];
  readonly #references: AuditReference[] = [];
  readonly #counts = new Map<AuditCode, number>();
  readonly #claims = new Claims();
  #clusterSize = 65_536;
  #clusterBits = 16;
  #shared = false;
  #storedBytes = 0;

  constructor(storage: Storage) {
    this.#storage = storage;
  }

  async run(): Promise<FormatAudit> {
    const head = await this.#read(0, Math.min(this.#storage.size, 112));
    if (head.length < 72) {
      this.#find("cut-short", `the file ends inside the header, at ${head.length}`, 0);
      return this.#result(undefined);
    }
    const padded = new Uint8Array(112);
    padded.set(head);
    const fields = headerStructure.read(padded);
    if (!this.#validHeader(fields)) return this.#result(fields.size);
    this.#clusterBits = fields.cluster_bits;
    this.#clusterSize = 2 ** fields.cluster_bits;
    this.#shared = fields.nb_snapshots > 0;
    this.#claim(0n, this.#clusterSize, Claim.header, "header");
    const version3 = fields.version >= 3;
    if (version3) this.#features(fields);
    await this.#names(fields, version3 ? fields.header_length : 72);
    if (fields.crypt_method !== 0) {
      this.#find("encrypted", `crypt_method is ${fields.crypt_method}`, 32);
    }
    await this.#refcounts(fields);
    const external = version3 && (fields.incompatible_features & incompatible.dataFile) !== 0n;
    const extended = version3 && (fields.incompatible_features & incompatible.extendedL2) !== 0n;
    const tables = { external, entryBytes: extended ? 16 : 8 };
    await this.#l1(fields.l1_table_offset, fields.l1_size, "L1 table", tables);
    await this.#snapshots(fields, tables);
    if (this.#claims.exceeded)
      this.#find("too-much", "more clusters are in use than are looked at");
    return this.#result(fields.size);
  }

  #result(size: bigint | undefined): FormatAudit {
    const safe = size !== undefined && size <= BigInt(Number.MAX_SAFE_INTEGER);
    return {
      virtualSize: safe ? Number(size) : size,
      references: this.#references,
      findings: this.#findings,
      expansion: this.#storage.size === 0 ? undefined : this.#storedBytes / this.#storage.size,
    };
  }

  #find(code: AuditCode, message: string, offset?: number): void {
    const count = (this.#counts.get(code) ?? 0) + 1;
    this.#counts.set(code, count);
    if (count < maxOfOneCode) this.#findings.push({ code, message, offset });
    if (count === maxOfOneCode)
      this.#findings.push({ code, message: "there are more of this kind" });
  }

  #validHeader(fields: HeaderFields): boolean {
    const bad = (field: string, value: number | bigint, at: number): void =>
      this.#find("invalid-header", `${field} is ${value}`, at);
    const before = this.#findings.length;
    if (fields.version !== 2 && fields.version !== 3) bad("version", fields.version, 4);
    if (fields.cluster_bits < 9 || fields.cluster_bits > 21) {
      bad("cluster_bits", fields.cluster_bits, 20);
    }
    const fatal = this.#findings.length > before;
    if (fields.size >= 1n << 63n) bad("size", fields.size, 24);
    if (fields.crypt_method > 2) bad("crypt_method", fields.crypt_method, 32);
    if (!fatal && fields.version === 3) {
      const length = fields.header_length;
      if (length < 104 || length % 8 !== 0 || length > 2 ** fields.cluster_bits) {
        bad("header_length", length, 100);
      }
      if (fields.refcount_order > 6) bad("refcount_order", fields.refcount_order, 96);
      if (length > 104 && fields.compression_type > 1) {
        bad("compression_type", fields.compression_type, 104);
      }
    }
    return !fatal;
  }

  #features(fields: HeaderFields): void {
    const bits = fields.incompatible_features;
    if ((bits & incompatible.dirty) !== 0n) {
      const lazy = (fields.compatible_features & compatible.lazyRefcounts) !== 0n;
      this.#find("dirty", `the dirty bit is set${lazy ? " (lazy refcounts)" : ""}`, 72);
    }
    if ((bits & incompatible.corrupt) !== 0n) this.#find("corrupt", "the corrupt bit is set", 72);
    const unknown = bits & ~0x1fn;
    if (unknown !== 0n) {
      this.#find("unknown-feature", `incompatible feature bits 0x${unknown.toString(16)}`, 72);
    }
  }

  /** The extensions and the backing file name, as far as they are in the first cluster. */
  async #names(fields: HeaderFields, start: number): Promise<void> {
    const first = await this.#read(0, Math.min(this.#clusterSize, this.#storage.size));
    const view = new DataView(first.buffer, first.byteOffset, first.byteLength);
    const nameAt = Number(fields.backing_file_offset);
    const end = nameAt > 0 && nameAt < first.length ? nameAt : first.length;
    let format: string | undefined;
    let dataFile: string | undefined;
    for (let at = start; at + 8 <= end;) {
      const type = view.getUint32(at);
      const length = view.getUint32(at + 4);
      if (type === ExtensionType.end) break;
      if (at + 8 + length > end) {
        this.#find("invalid-header", `extension 0x${type.toString(16)} has length ${length}`, at);
        break;
      }
      const data = first.subarray(at + 8, at + 8 + length);
      if (type === ExtensionType.backingFormat) format = text(data);
      else if (type === ExtensionType.dataFile) dataFile = text(data);
      else if (type === ExtensionType.bitmaps) await this.#bitmaps(data, at);
      else if (type === ExtensionType.encryption) this.#encryption(data, at);
      else if (type !== ExtensionType.featureNames) {
        this.#find("unknown-extension", `header extension 0x${type.toString(16)}`, at);
      }
      at += 8 + Math.ceil(length / 8) * 8;
    }
    if (nameAt !== 0) {
      const length = fields.backing_file_size;
      if (length > 1023 || nameAt + length > first.length) {
        this.#find(
          "invalid-header",
          `the backing file name has offset ${nameAt}, length ${length}`,
          8,
        );
      }
      const name = text(first.subarray(nameAt, nameAt + Math.min(length, 1023)));
      this.#references.push({ kind: "backing", name, format });
      this.#find("backing-file", `it names the backing file "${name}"`, nameAt);
      this.#plain(name, nameAt);
    }
    const needsData = (fields.incompatible_features & incompatible.dataFile) !== 0n;
    if (dataFile !== undefined || (fields.version >= 3 && needsData)) {
      const name = dataFile ?? "";
      this.#references.push({ kind: "data-file", name, format: "raw" });
      this.#find("data-file", `it names the data file "${name}"`);
      this.#plain(name);
    }
  }

  #plain(name: string, offset?: number): void {
    if (hasControls(name))
      this.#find("control-characters", "a name has control characters", offset);
  }

  #encryption(data: Uint8Array, at: number): void {
    if (data.length < 16) {
      this.#find("invalid-header", `the encryption extension has length ${data.length}`, at);
      return;
    }
    const view = new DataView(data.buffer, data.byteOffset);
    this.#claim(view.getBigUint64(0), view.getBigUint64(8), Claim.encryption, "encryption header");
  }

  async #bitmaps(data: Uint8Array, at: number): Promise<void> {
    if (data.length < 24) {
      this.#find("invalid-header", `the bitmaps extension has length ${data.length}`, at);
      return;
    }
    const view = new DataView(data.buffer, data.byteOffset);
    const count = view.getUint32(0);
    const bytes = view.getBigUint64(8);
    const offset = view.getBigUint64(16);
    this.#find("bitmaps", `${count} bitmaps`, at);
    if (count > maxBitmaps || bytes > 64n * 1024n * 1024n) {
      this.#find("invalid-header", `${count} bitmaps in a directory of ${bytes} bytes`, at);
      return;
    }
    if (!this.#claim(offset, bytes, Claim.bitmaps, "bitmap directory")) return;
    const directory = await this.#read(Number(offset), Number(bytes));
    const entries = new DataView(directory.buffer, directory.byteOffset, directory.byteLength);
    for (let i = 0, entry = 0; i < count; i++) {
      if (entry + 24 > directory.length) {
        this.#find("cut-short", `the bitmap directory ends inside entry ${i}`, Number(offset));
        return;
      }
      const tableBytes = entries.getUint32(entry + 8) * 8;
      this.#claim(entries.getBigUint64(entry), tableBytes, Claim.bitmaps, "bitmap table");
      const nameLength = entries.getUint16(entry + 18);
      const nameAt = entry + 24 + entries.getUint32(entry + 20);
      this.#plain(text(directory.subarray(nameAt, nameAt + nameLength)));
      entry = Math.ceil((nameAt + nameLength) / 8) * 8;
    }
  }

  async #refcounts(fields: HeaderFields): Promise<void> {
    const bytes = fields.refcount_table_clusters * this.#clusterSize;
    if (bytes > maxRefcountTableBytes) {
      this.#find(
        "invalid-header",
        `refcount_table_clusters is ${fields.refcount_table_clusters}`,
        56,
      );
      return;
    }
    const offset = fields.refcount_table_offset;
    if (!this.#claim(offset, bytes, Claim.refcountTable, "refcount table")) return;
    const table = await this.#read(Number(offset), bytes);
    for (const entry of entriesOf(table, 8)) {
      if (entry === 0n) continue;
      this.#claim(entry & ~511n, this.#clusterSize, Claim.refcountBlock, "refcount block");
    }
  }

  async #snapshots(fields: HeaderFields, tables: Tables): Promise<void> {
    const count = fields.nb_snapshots;
    if (count === 0) return;
    this.#find("snapshots", `${count} internal snapshots`, 60);
    if (count > maxSnapshots) {
      this.#find("invalid-header", `nb_snapshots is ${count}`, 60);
      return;
    }
    if (fields.snapshots_offset > BigInt(this.#storage.size)) {
      this.#find("cut-short", `the snapshot table starts at ${fields.snapshots_offset}`, 64);
      return;
    }
    let at = Number(fields.snapshots_offset);
    for (let i = 0; i < count; i++) {
      const head = await this.#read(at, 40);
      if (head.length < 40) {
        this.#find("cut-short", `the file ends inside snapshot ${i}`, at);
        return;
      }
      const view = new DataView(head.buffer, head.byteOffset);
      const extraLength = view.getUint32(36);
      const namesLength = view.getUint16(12) + view.getUint16(14);
      if (extraLength > 1024) {
        this.#find("invalid-header", `snapshot ${i} has ${extraLength} bytes of extra data`, at);
        return;
      }
      const rest = await this.#read(at + 40, extraLength + namesLength);
      if (rest.length < extraLength + namesLength) {
        this.#find("cut-short", `the file ends inside snapshot ${i}`, at);
        return;
      }
      const extra = new DataView(rest.buffer, rest.byteOffset, rest.byteLength);
      const large = extraLength >= 8 ? extra.getBigUint64(0) : 0n;
      if (view.getUint32(32) !== 0 || large !== 0n) {
        this.#find("vm-state", `snapshot ${i} holds the state of a machine`, at);
      }
      this.#plain(text(rest.subarray(extraLength)), at);
      await this.#l1(view.getBigUint64(0), view.getUint32(8), `L1 table of snapshot ${i}`, tables);
      at += Math.ceil((40 + extraLength + namesLength) / 8) * 8;
    }
    const length = at - Number(fields.snapshots_offset);
    this.#claim(fields.snapshots_offset, length, Claim.snapshots, "snapshot table");
  }

  async #l1(offset: bigint, entries: number, what: string, tables: Tables): Promise<void> {
    if (entries === 0) return;
    if (entries * 8 > maxL1Bytes) {
      this.#find("invalid-header", `the ${what} has ${entries} entries`);
      return;
    }
    if (!this.#claim(offset, entries * 8, Claim.l1, what)) return;
    const table = await this.#read(Number(offset), entries * 8);
    for (const entry of entriesOf(table, 8)) {
      const at = entry & offsetMask;
      if (at === 0n || this.#claims.exceeded) continue;
      if (!this.#claim(at, this.#clusterSize, Claim.l2, "L2 table")) continue;
      await this.#l2(Number(at), tables);
    }
  }

  async #l2(offset: number, { external, entryBytes }: Tables): Promise<void> {
    const table = await this.#read(offset, this.#clusterSize);
    for (const entry of entriesOf(table, entryBytes)) {
      if ((entry & (1n << 62n)) !== 0n) {
        this.#compressed(entry);
        continue;
      }
      const at = entry & offsetMask;
      if (at === 0n) continue;
      this.#storedBytes += this.#clusterSize;
      if (!external) this.#claim(at, this.#clusterSize, Claim.data, "data cluster");
    }
  }

  /** Specification, "Compressed Clusters Descriptor". */
  #compressed(entry: bigint): void {
    const offsetBits = BigInt(62 - (this.#clusterBits - 8));
    const offset = entry & ((1n << offsetBits) - 1n);
    const sectors = (entry & ((1n << 62n) - 1n)) >> offsetBits;
    this.#storedBytes += this.#clusterSize;
    const first = offset / BigInt(this.#clusterSize);
    // The last sector may be cut by the end of the file; the place where the stream starts may not.
    const last = ((offset & ~511n) + sectors * 512n) / BigInt(this.#clusterSize);
    if (offset >= BigInt(this.#storage.size)) {
      this.#find("cut-short", `a compressed cluster starts at ${offset}`);
      return;
    }
    for (let cluster = first; cluster <= last; cluster++)
      this.#claimOne(Number(cluster), Claim.compressed);
  }

  /** Whether all of the range is in the file and aligned; what it overlaps is noted. */
  #claim(offset: bigint, length: number | bigint, kind: ClaimKind, what: string): boolean {
    const end = offset + BigInt(length);
    if (offset % BigInt(this.#clusterSize) !== 0n) {
      this.#find("invalid-header", `the ${what} starts at ${offset}, inside a cluster`);
      return false;
    }
    // A last cluster that was never written in full is no damage, a table that is not there is.
    const whole = kind === Claim.data || kind === Claim.header;
    if (whole ? offset >= BigInt(this.#storage.size) : end > BigInt(this.#storage.size)) {
      this.#find(
        "cut-short",
        `the ${what} reaches from ${offset} to ${end}; the file ends at ${this.#storage.size}`,
      );
      return false;
    }
    const first = Number(offset) / this.#clusterSize;
    const count = Math.ceil(Number(length) / this.#clusterSize);
    let fresh = true;
    for (let i = 0; i < count && !this.#claims.exceeded; i++) {
      if (!this.#claimOne(first + i, kind)) fresh = false;
    }
    return fresh;
  }

  #claimOne(cluster: number, kind: ClaimKind): boolean {
    const before = this.#claims.claim(cluster, kind);
    if (before === 0) return true;
    const mayShare =
      kind === Claim.compressed || (this.#shared && (kind === Claim.data || kind === Claim.l2));
    if (before === kind && mayShare) return kind === Claim.compressed;
    const at = cluster * this.#clusterSize;
    this.#find("overlap", `${claimName(kind)} and ${claimName(before)} both lie at ${at}`, at);
    return false;
  }

  /** Up to `length` bytes; fewer at the end of the file. */
  async #read(offset: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#storage.size - offset)));
    const count = await this.#storage.read(offset, bytes);
    return bytes.subarray(0, count);
  }
}

interface Tables {
  /** Data lies in a file of its own. */
  readonly external: boolean;
  readonly entryBytes: number;
}

function* entriesOf(table: Uint8Array, step: number): Generator<bigint> {
  const view = new DataView(table.buffer, table.byteOffset, table.byteLength);
  for (let at = 0; at + 8 <= table.length; at += step) yield view.getBigUint64(at);
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

function hasControls(name: string): boolean {
  return /[\p{Cc}\u200e\u200f\u2028-\u202e\u2066-\u2069]/u.test(name);
}
