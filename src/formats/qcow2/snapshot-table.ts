import { Structure, alignUp, host, type HostOffset } from "../../bytes/index.ts";
import type { SnapshotInfo } from "../../disk/index.ts";
import { PlatterError } from "../../errors.ts";
import type { Storage } from "../../storage/index.ts";
import type { Header } from "./header.ts";
import { invalid } from "./invalid.ts";

/** QEMU's limit for the number of snapshots. */
export const maxSnapshots = 65536;
/** QEMU's limit for the snapshot table in bytes. */
export const maxSnapshotTableBytes = 1024 * maxSnapshots;
/** QEMU's limit for the extra data of a snapshot in bytes. */
const maxExtraData = 1024;
/** Bytes of the table that are read in one go. */
const readAhead = 64 * 1024;

/** An entry of the snapshot table (specification, "Snapshots"); extra data, id and name follow. */
export const snapshotStructure = new Structure("Snapshot table entry", {
  l1_table_offset: { at: 0, type: "u64", means: "where the snapshot's L1 table starts" },
  l1_size: { at: 8, type: "u32", means: "entries in the snapshot's L1 table" },
  id_str_size: { at: 12, type: "u16", means: "length of the unique ID string" },
  name_size: { at: 14, type: "u16", means: "length of the name" },
  date_sec: { at: 16, type: "u32", means: "when it was taken, in seconds since 1970" },
  date_nsec: { at: 20, type: "u32", means: "sub-second part of that time in nanoseconds" },
  vm_clock_nsec: { at: 24, type: "u64", means: "how long the guest had run, in nanoseconds" },
  vm_state_size: { at: 32, type: "u32", means: "size of the VM state, where it fits" },
  extra_data_size: { at: 36, type: "u32", means: "length of the extra data" },
});

/** The extra data that is known, each field present if the extra data is long enough. */
export const snapshotExtraStructure = new Structure("Snapshot extra data", {
  vm_state_size_large: { at: 0, type: "u64", means: "size of the VM state" },
  disk_size: { at: 8, type: "u64", means: "virtual disk size of the snapshot in bytes" },
  icount: { at: 16, type: "u64", means: "instructions executed, or -1" },
});

const noIcount = 2n ** 64n - 1n;

/** A snapshot as the table describes it. */
export interface Snapshot extends SnapshotInfo {
  readonly l1Offset: HostOffset;
  /** Entries of its L1 table. */
  readonly l1Size: number;
  /** Whether the table says how large the disk was; in version 2 it need not. */
  readonly hasSize: boolean;
  /** As they are in the file, which need not be UTF-8. */
  readonly rawId: Uint8Array;
  readonly rawName: Uint8Array;
  /** Extra data that nobody here understands, kept when the table is rewritten. */
  readonly unknownExtra: Uint8Array;
}

/** The snapshot table of an image. */
export interface SnapshotTable {
  readonly entries: readonly Snapshot[];
  /** Where it is; 0 when there is none. */
  readonly offset: HostOffset;
  /** Bytes, without the padding of the last entry. */
  readonly size: number;
}

/** How a table is read that may be damaged: what is missing at the end of the file counts as zeros. */
export interface SnapshotSalvage {
  /** Leave out what nobody could read otherwise; and otherwise throw. */
  readonly discards: boolean;
  /** Told how many snapshots, or entries with too much extra data, are cut, and QEMU's words for it. */
  readonly discarded: (count: number, what: "snapshots" | "extra data", message: string) => void;
}

/**
 * Reads the snapshot table that a header names; it has snapshots. Throws `E_LIMIT`, `E_CORRUPT` and `E_TRUNCATED`.
 * L1 tables are looked at when they are used.
 */
export async function readSnapshotTable(
  storage: Storage,
  { fields }: Header,
  salvage?: SnapshotSalvage,
): Promise<SnapshotTable> {
  const { name: file } = storage;
  const { nb_snapshots: wanted, snapshots_offset, size: diskSize } = fields;
  const discards = salvage?.discards === true;
  const count = discards ? Math.min(wanted, maxSnapshots) : wanted;
  if (count < wanted) {
    const overhanging = wanted - count;
    salvage?.discarded(overhanging, "snapshots", `Discarding ${overhanging} overhanging snapshots`);
  }
  if (count > maxSnapshots) {
    throw invalid(file, "E_LIMIT", "Snapshot table too large", {
      field: "nb_snapshots",
      value: count,
    });
  }
  const clusterMask = BigInt(2 ** fields.cluster_bits - 1);
  // A check need not get there.
  const highest = salvage === undefined ? BigInt(Number.MAX_SAFE_INTEGER) : 2n ** 63n;
  if (
    (snapshots_offset & clusterMask) !== 0n ||
    snapshots_offset + BigInt(maxSnapshotTableBytes) > highest
  ) {
    throw invalid(file, "E_CORRUPT", "Snapshot table offset invalid", {
      field: "snapshots_offset",
      value: snapshots_offset,
    });
  }
  const start = Number(snapshots_offset);
  const bytes = new TableBytes(storage, start, salvage !== undefined);
  const entries: Snapshot[] = [];
  let at = 0;
  for (let i = 0; i < count; i++) {
    const before = at;
    at = alignUp(at, 8);
    await bytes.need(at + snapshotStructure.size);
    const entry = snapshotStructure.read(bytes.loaded, at);
    const extraAt = at + snapshotStructure.size;
    const extraSize = entry.extra_data_size;
    if (extraSize > maxExtraData && discards) {
      salvage?.discarded(
        1,
        "extra data",
        `Discarding too much extra metadata in snapshot table entry ${i} ` +
          `(${extraSize} > ${maxExtraData})`,
      );
    } else if (extraSize > maxExtraData) {
      throw invalid(file, "E_LIMIT", `Too much extra metadata in snapshot table entry ${i}`, {
        field: "extra_data_size",
        offset: start + at,
        value: extraSize,
        advice: `"qemu-img check -r all" removes it`,
      });
    }
    const idAt = extraAt + extraSize;
    const nameAt = idAt + entry.id_str_size;
    at = nameAt + entry.name_size;
    if (at > maxSnapshotTableBytes && discards) {
      const rest = count - i;
      salvage?.discarded(
        rest,
        "snapshots",
        `Discarding ${rest} overhanging snapshots (snapshot table is too big)`,
      );
      at = before;
      break;
    }
    if (at > maxSnapshotTableBytes) {
      throw invalid(file, "E_LIMIT", "Snapshot table is too big", {
        field: "nb_snapshots",
        value: count,
      });
    }
    await bytes.need(at);
    const { loaded } = bytes;
    const extra = snapshotExtraStructure.read(loaded.subarray(extraAt, idAt));
    const size = extraSize >= 16 ? extra.disk_size : diskSize;
    const rawId = cString(loaded.slice(idAt, nameAt));
    const rawName = cString(loaded.slice(nameAt, at));
    entries.push({
      l1Offset: host(Number(entry.l1_table_offset)),
      l1Size: entry.l1_size,
      rawId,
      rawName,
      id: new TextDecoder().decode(rawId),
      name: new TextDecoder().decode(rawName),
      vmStateSize: extraSize >= 8 ? Number(extra.vm_state_size_large) : entry.vm_state_size,
      date: { seconds: entry.date_sec, nanoseconds: entry.date_nsec },
      vmClock: entry.vm_clock_nsec,
      icount: extraSize >= 24 && extra.icount !== noIcount ? extra.icount : undefined,
      diskSize: Number(size),
      hasSize: extraSize >= 16,
      unknownExtra: loaded.slice(
        Math.min(extraAt + snapshotExtraStructure.size, idAt),
        Math.min(extraAt + maxExtraData, idAt),
      ),
    });
  }
  return { entries, offset: host(start), size: at };
}

/** Names end where C says that strings end. */
function cString(bytes: Uint8Array): Uint8Array {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** The bytes of the table as far as they have been read. */
class TableBytes {
  loaded = new Uint8Array(0);
  private readonly storage: Storage;
  private readonly start: number;
  private readonly isLenient: boolean;

  /** `isLenient`: there are zeros behind the end of the file. */
  constructor(storage: Storage, start: number, isLenient: boolean) {
    this.storage = storage;
    this.start = start;
    this.isLenient = isLenient;
  }

  /** Reads up to byte `end` at least; the memory follows what the file has. */
  async need(end: number): Promise<void> {
    const { storage, start, loaded } = this;
    if (end <= loaded.length) return;
    if (start + end > storage.size && !this.isLenient) {
      throw new PlatterError(
        "E_TRUNCATED",
        `${storage.name}: the file ends at ${storage.size}, inside the snapshot table at ${start}; ` +
          `it has been cut short`,
        { file: storage.name, field: "snapshots_offset", offset: start },
      );
    }
    const most = this.isLenient ? maxSnapshotTableBytes : storage.size - start;
    const wanted = Math.min(Math.max(2 * loaded.length, readAhead), most);
    const bytes = new Uint8Array(Math.max(end, wanted));
    bytes.set(loaded);
    if (start + loaded.length < storage.size) {
      await storage.read(start + loaded.length, bytes.subarray(loaded.length));
    }
    this.loaded = bytes;
  }
}

/** The bytes of a snapshot table. */
export function encodeSnapshotTable(snapshots: readonly Snapshot[]): Uint8Array {
  const size = snapshots.reduce((sum, snapshot) => alignUp(sum, 8) + entrySizeOf(snapshot), 0);
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const snapshot of snapshots) {
    at = alignUp(at, 8);
    const { rawId, rawName, unknownExtra, date } = snapshot;
    const extraSize = snapshotExtraStructure.size + unknownExtra.length;
    snapshotStructure.write(
      {
        l1_table_offset: BigInt(snapshot.l1Offset),
        l1_size: snapshot.l1Size,
        id_str_size: rawId.length,
        name_size: rawName.length,
        date_sec: date.seconds,
        date_nsec: date.nanoseconds,
        vm_clock_nsec: snapshot.vmClock,
        // A program that knows only this field takes it for a snapshot of the disk.
        vm_state_size: snapshot.vmStateSize > 0xffff_ffff ? 0 : snapshot.vmStateSize,
        extra_data_size: extraSize,
      },
      bytes,
      at,
    );
    const extraAt = at + snapshotStructure.size;
    snapshotExtraStructure.write(
      {
        vm_state_size_large: BigInt(snapshot.vmStateSize),
        disk_size: BigInt(snapshot.diskSize),
        icount: snapshot.icount ?? noIcount,
      },
      bytes,
      extraAt,
    );
    bytes.set(unknownExtra, extraAt + snapshotExtraStructure.size);
    bytes.set(rawId, extraAt + extraSize);
    bytes.set(rawName, extraAt + extraSize + rawId.length);
    at += entrySizeOf(snapshot);
  }
  return bytes;
}

/** Bytes of an entry without padding. */
const entrySizeOf = ({ rawId, rawName, unknownExtra }: Snapshot): number =>
  snapshotStructure.size +
  snapshotExtraStructure.size +
  unknownExtra.length +
  rawId.length +
  rawName.length;
