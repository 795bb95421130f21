/** Requests that meet at every possible moment: one starts a given number of turns after another. */
import { describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import type { Disk } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { MemoryStorage } from "../storage/index.ts";
import { expectCleanReport } from "./expectations.test-kit.ts";
import { JitterStorage } from "./jitter.test-kit.ts";
import { openDisk } from "./open.ts";
import { qcow2 } from "./qcow2/index.ts";

const cluster = 512;

async function newDisk(
  size: number,
  clusterSize = cluster,
): Promise<{ memory: MemoryStorage; disk: Disk }> {
  const memory = new MemoryStorage({ name: "image" });
  const made = await qcow2.create!(memory, { size, values: { cluster_size: clusterSize } });
  await made.finish({ durable: false });
  return { memory, disk: await open(memory) };
}

const open = (memory: MemoryStorage, writable = true): Promise<Disk> =>
  openDisk(new JitterStorage(memory, 0), { writable, codecs: portableCodecs });

const filled = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill);

async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}

/** Settles; anything but a PlatterError with that code is passed on. */
async function allow(task: Promise<void>, code: string): Promise<boolean> {
  try {
    await task;
    return true;
  } catch (error) {
    if (error instanceof PlatterError && error.code === code) return false;
    throw error;
  }
}

const moments = Array.from({ length: 60 }, (_, i) => i);

describe("requests that meet", () => {
  test("a read keeps what it found while its cluster is replaced and used again", async () => {
    for (const moment of moments) {
      const { memory, disk } = await newDisk(64 * cluster);
      await disk.writeCompressed(0, filled(cluster, 1));
      await disk.flush();
      const { promise: gate, resolve: release } = Promise.withResolvers<void>();
      const read = memory.read.bind(memory);
      memory.read = async (offset, into) => {
        await gate;
        return read(offset, into);
      };
      const writing = disk.write(0, filled(cluster, 2));
      await turns(moment);
      const found = new Uint8Array(cluster);
      const reading = disk.read(0, found);
      await writing;
      await disk.flush();
      for (let i = 1; i < 8; i++) await disk.write(i * cluster, filled(cluster, 3));
      release();
      await reading;
      expect([1, 2], `started ${moment} turns later`).toContain(found[0]);
      expect(found).toEqual(filled(cluster, found[0]!));
      await disk.close();
    }
  });

  test("a write where the disk is being cut off", async () => {
    for (const moment of moments) {
      const { memory, disk } = await newDisk(256 * cluster);
      await disk.write(150 * cluster, filled(20 * cluster, 1));
      await disk.flush();
      const tasks = [
        allow(disk.write(100 * cluster, filled(40 * cluster, 2)), "E_OUT_OF_RANGE"),
        allow(disk.write(155 * cluster, filled(40 * cluster, 2)), "E_OUT_OF_RANGE"),
        allow(disk.writeZeroes(148 * cluster, 3 * cluster), "E_OUT_OF_RANGE"),
        allow(disk.discard(165 * cluster, 91 * cluster), "E_OUT_OF_RANGE"),
      ];
      await turns(moment);
      await disk.resize(128 * cluster);
      await disk.write(0, filled(64 * cluster, 3));
      await Promise.all(tasks);
      await disk.flush();
      expectCleanReport(await disk.image.check!({}));
      const found = new Uint8Array(64 * cluster);
      await disk.read(0, found);
      expect(found).toEqual(filled(64 * cluster, 3));
      await disk.close();
      expectCleanReport(await (await open(memory, false)).image.check!({}));
    }
  });

  test("zeroing to the end of a disk that grows meanwhile leaves the new part alone", async () => {
    for (const moment of moments) {
      const { disk } = await newDisk(1024 + 512, 1024);
      await disk.write(1024, filled(512, 1));
      const growing = disk.resize(4096);
      await turns(moment);
      const zeroing = disk.writeZeroes(0, 1536);
      await growing;
      await disk.write(1536, filled(512, 2));
      await zeroing;
      const found = new Uint8Array(4096);
      await disk.read(0, found);
      expect(found.subarray(0, 1536)).toEqual(filled(1536, 0));
      expect(found.subarray(1536, 2048)).toEqual(filled(512, 2));
      await disk.close();
    }
  });

  test("a write that reports success before a close is there afterwards", async () => {
    for (const moment of moments) {
      const { memory, disk } = await newDisk(256 * cluster);
      const writing = allow(disk.write(0, filled(200 * cluster, 1)), "E_CLOSED");
      await turns(moment);
      await disk.close();
      const written = await writing;
      const again = await open(memory, false);
      const found = new Uint8Array(200 * cluster);
      await again.read(0, found);
      if (written) expect(found).toEqual(filled(found.length, 1));
      expectCleanReport(await again.image.check!({}));
    }
  });
});

describe("packed clusters that share a host cluster", () => {
  test.each([512, 4096, 65_536])("survive each other (%d)", async (size) => {
    const { memory, disk } = await newDisk(16 * size, size);
    // Packs to a little less than a cluster, so that its last sector is shared with the next one.
    const noisy = new Uint8Array(size);
    let state = 1;
    for (let i = 0; i < size - size / 16; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      noisy[i] = state >>> 24;
    }
    await disk.writeCompressed(0, noisy);
    for (let i = 1; i < 8; i++) await disk.writeCompressed(i * size, filled(size, i));
    await disk.flush();
    await disk.discard(0, size);
    await disk.discard(2 * size, size);
    await disk.close();
    const again = await open(memory, false);
    const found = new Uint8Array(size);
    for (const i of [1, 3, 4, 5, 6, 7]) {
      await again.read(i * size, found);
      expect(found).toEqual(filled(size, i));
    }
  });
});

test("autoclear bits, but that of bitmaps, are cleared when an image is opened for writing", async () => {
  const { memory, disk } = await newDisk(65_536);
  await disk.close();
  memory.writeSync(88, Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 1));
  await (await open(memory, false)).close();
  expect(memory.slice(88, 96)).toEqual(Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 1));
  await (await open(memory)).close();
  // As in QEMU, also where there are no bitmaps.
  expect(memory.slice(88, 96)).toEqual(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 1));
});
