/**
 * Crashes of a repair: after each prefix of what it writes, and after samples of what may have reached the
 * disk between two flushes, the image holds the same data and is no more corrupt than it was.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, inject, test } from "vitest";
import { portableCodecs } from "../../src/codec/index.ts";
import { openDisk } from "../../src/formats/index.ts";
import { MemoryStorage, RecordingStorage, applyRecorded } from "../../src/storage/index.ts";
import { describePeer } from "../peers.ts";

/** A value of so many bytes at an offset of the file. */
type Field = readonly [at: number, value: bigint, bytes: number];

const K = 65536;
const damages: ReadonlyArray<readonly [name: string, fields: readonly Field[]]> = [
  [
    "leaks",
    [
      [2 * K + 16, 2n, 2],
      [2 * K + 18, 1n, 2],
    ],
  ],
  [
    "refcounts too high and copied flags to set",
    [
      [2 * K + 10, 3n, 2],
      [4 * K, 0x5_0000n, 8],
    ],
  ],
  ["shared clusters", [[4 * K + 8, 0x8000_0000_0005_0000n, 8]]],
  [
    "refcounts of zero",
    [
      [2 * K + 10, 0n, 2],
      [2 * K + 12, 0n, 2],
    ],
  ],
  ["no refcount block", [[K, 0n, 8]]],
  ["a refcount block that is not aligned", [[K, 0x2_0200n, 8]]],
  ["reserved bits in the refcount table", [[K, 0x2_0001n, 8]]],
  [
    "dirty, with all refcounts zero",
    [[72, 1n, 8], ...Array.from({ length: 9 }, (_, i) => [2 * K + 2 * i, 0n, 2] as const)],
  ],
  [
    "corrupt, with unaligned zeros",
    [
      [72, 2n, 8],
      [4 * K + 16, 0x8000_0000_0007_0201n, 8],
    ],
  ],
];

const options = { format: "qcow2", codecs: portableCodecs, references: "deny" } as const;

async function look(file: MemoryStorage) {
  const disk = await openDisk(file, options);
  const contents = new Uint8Array(disk.size);
  // What damage made unreadable stays so, or becomes readable.
  const readable = await disk.read(0, contents).then(
    () => true,
    () => false,
  );
  const report = await disk.image.check!({});
  // The refcounts of a shared cluster are right before its copied flags are: while they are not, a write
  // in place harms as it did when the refcount was too low, which then was the error that was counted.
  const flags = report.problems.filter(({ message }) => message.includes("OFLAG_COPIED")).length;
  await disk.close();
  return { contents, readable, harm: report.corruptions - flags, flags };
}

let points = 0;
afterAll(() => process.stderr.write(`repair: ${points} crash points\n`));

describePeer(["qemu-img@7.2", "qemu-io"], "a repair that is killed", () => {
  function make(fields: readonly Field[]): MemoryStorage {
    const directory = mkdtempSync(join(tmpdir(), "platter-repair-"));
    try {
      const file = join(directory, "a.q");
      execFileSync("qemu-img", ["create", "-q", "-f", "qcow2", file, "1M"]);
      execFileSync("qemu-io", ["-c", "write -P 1 0 256k", file]);
      const bytes = readFileSync(file);
      for (const [at, value, width] of fields) {
        const buffer = Buffer.alloc(8);
        buffer.writeBigUInt64BE(value);
        bytes.set(buffer.subarray(8 - width), at);
      }
      return MemoryStorage.from(bytes, "image");
    } finally {
      rmSync(directory, { recursive: true });
    }
  }

  test.each(damages)("%s", async (_name, fields) => {
    const before = make(fields);
    const first = await look(before.clone());
    const storage = new RecordingStorage(before.clone());
    const disk = await openDisk(storage, { ...options, writable: true, repair: true });
    await disk.image.repair!({ what: "all" });
    await disk.close();
    const { log } = storage;
    const compare = async (file: MemoryStorage, name: string) => {
      points++;
      const now = await look(file);
      expect(now.harm, name).toBeLessThanOrEqual(first.harm);
      if (!first.readable) return;
      expect(now.readable, name).toBe(true);
      expect(Buffer.compare(now.contents, first.contents), name).toBe(0);
    };
    const state = before.clone();
    let stable = before.clone();
    let since: Array<(typeof log)[number]> = [];
    let seed = 1;
    for (const [n, entry] of log.entries()) {
      if (entry.kind === "flush") {
        for (let i = 0; i < 6 * inject("effort"); i++) {
          const torn = stable.clone();
          for (const one of since) {
            seed = (seed * 48271) % 2147483647;
            if (seed % 2 === 0) await applyRecorded(one, torn);
          }
          await compare(torn, `sample ${i} before change ${n}`);
        }
        stable = state.clone();
        since = [];
      } else {
        await applyRecorded(entry, state);
        since.push(entry);
        await compare(state.clone(), `after change ${n} (${entry.kind})`);
      }
    }
    expect(await look(state)).toMatchObject({ harm: 0, flags: 0 });
  });
});
