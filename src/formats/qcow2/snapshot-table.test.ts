import { describe, expect, it } from "vitest";
import { host } from "../../bytes/index.ts";
import { MemoryStorage } from "../../storage/index.ts";
import { headerStructure, type Header } from "./header.ts";
import { encodeSnapshotTable, readSnapshotTable, type Snapshot } from "./snapshot-table.ts";

const snapshot: Snapshot = {
  l1Offset: host(0x30000),
  l1Size: 3,
  rawId: new TextEncoder().encode("12"),
  rawName: new TextEncoder().encode("vor dem Umbau ä"),
  id: "12",
  name: "vor dem Umbau ä",
  vmStateSize: 2 ** 33,
  date: { seconds: 4_000_000_000, nanoseconds: 999_999_999 },
  vmClock: 2n ** 63n,
  icount: undefined,
  diskSize: 2 ** 40,
  hasSize: true,
  unknownExtra: new Uint8Array(0),
};

const offset = 0x10000;

function headerFor(count: number): Header {
  const fields = {
    ...headerStructure.read(new Uint8Array(112)),
    cluster_bits: 16,
    size: 512n,
    nb_snapshots: count,
    snapshots_offset: BigInt(offset),
  };
  return { fields, additional: new Uint8Array(0), extensions: [], backingName: undefined };
}

function fileWith(table: Uint8Array): MemoryStorage {
  const file = new Uint8Array(offset + table.length);
  file.set(table, offset);
  return MemoryStorage.from(file, "disk.qcow2");
}

describe("the snapshot table", () => {
  it("is read as it was written, one entry after the other", async () => {
    const other: Snapshot = {
      ...snapshot,
      rawId: new TextEncoder().encode("13"),
      id: "13",
      icount: 77n,
      unknownExtra: new Uint8Array([1, 2, 3]),
    };
    const bytes = encodeSnapshotTable([snapshot, other]);
    const table = await readSnapshotTable(fileWith(bytes), headerFor(2));
    expect(table).toEqual({ entries: [snapshot, other], offset, size: bytes.length });
  });

  it("knows of snapshots that were made before there was extra data", async () => {
    const bytes = encodeSnapshotTable([snapshot]);
    const view = new DataView(bytes.buffer);
    view.setUint32(36, 0);
    view.setUint32(32, 4096);
    const old = new Uint8Array([...bytes.subarray(0, 40), ...bytes.subarray(64)]);
    const { entries } = await readSnapshotTable(fileWith(old), headerFor(1));
    expect(entries[0]).toMatchObject({
      name: snapshot.name,
      vmStateSize: 4096,
      diskSize: 512,
      hasSize: false,
      icount: undefined,
    });
  });

  it.each([
    ["E_LIMIT", 65537, (bytes: Uint8Array) => bytes],
    ["E_TRUNCATED", 3, (bytes: Uint8Array) => bytes],
    [
      "E_LIMIT",
      1,
      (bytes: Uint8Array) => {
        new DataView(bytes.buffer).setUint32(36, 1025);
        return bytes;
      },
    ],
  ] as const)(
    "is refused with %s where it says that it has %d entries",
    async (code, count, change) => {
      const table = change(encodeSnapshotTable([snapshot, snapshot]));
      await expect(readSnapshotTable(fileWith(table), headerFor(count))).rejects.toMatchObject({
        code,
      });
    },
  );
});
