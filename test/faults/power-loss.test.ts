/**
 * Power loss on a real stack: the image is on a FUSE export of `qemu-storage-daemon` over `blklogwrites`.
 * From its log, the disk is rebuilt as the power may have gone off: after each entry, and with only some of the
 * sectors that were written since the last flush. Each state has no corruption, and what had been flushed.
 */
import { copyFileSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { open } from "../../src/index.ts";
import { openDisk } from "../../src/formats/index.ts";
import { nodeCodecs } from "../../src/host/index.ts";
import { applyRecorded, MemoryStorage, type Recorded } from "../../src/storage/index.ts";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { generator, MiB, noise, temporaryDirectory } from "../qcow2/kit.ts";
import { LoggedFile } from "./blklogwrites.ts";
import { describeFuse, imageMaker, runOurs } from "./kit.ts";

/** A command on the image `disk`, which is the one that loses power. */
interface Scenario {
  readonly line: string;
  /** The guest may see something else on the disk. */
  readonly changes?: true;
  /** This one, which is over the disk, shows the same whatever the disk is like. */
  readonly over?: "overlay";
}

const scenarios: readonly Scenario[] = [
  { line: "resize disk 3M" },
  { line: "resize disk 16G" },
  { line: "resize --shrink disk 1M", changes: true },
  { line: "snapshot -c s1 snapped" },
  { line: "snapshot -d s0 snapped" },
  { line: "snapshot -a s0 snapped", changes: true },
  { line: "commit overlay", changes: true, over: "overlay" },
  { line: "commit disk" },
  { line: "commit -d disk" },
  { line: "rebase -b other -F qcow2 disk" },
  { line: "rebase -b '' disk" },
  { line: "rebase -u -b other -F qcow2 disk", changes: true },
  { line: "amend -o refcount_bits=64 disk" },
  { line: "amend -o compat=0.10 other" },
  { line: "bitmap --add -g 512 disk b1" },
  { line: "bitmap --merge b0 disk b2" },
  { line: "bitmap --remove disk b0" },
  { line: "convert -t writeback -n -O qcow2 snapped other", changes: true },
  { line: "convert -t none -n -O qcow2 snapped other", changes: true },
];

const totals = { states: 0, byQemu: 0, flushes: 0 };
afterAll(() => {
  const { states, byQemu, flushes } = totals;
  process.stdout.write(
    `power loss: ${states} states of a disk around ${flushes} flushes, ${byQemu} checked by qemu-img too\n`,
  );
});

const needs = ["qemu-img", "qemu-io", "qemu-storage-daemon"] as const;
describeFuse(needs, "power loss", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");
  const image = join(directory, "image");

  beforeAll(async () => {
    mkdirSync(clean);
    mkdirSync(work);
    const here = { cwd: clean };
    const { create, write } = imageMaker(qemuImg, qemuIo, clean);
    for (const name of ["base", "other", "snapped"]) await create(name);
    await write("base", "write -P 1 0 1M");
    await write("other", "write -P 4 0 600k");
    await write("snapped", "write -P 5 0 900k");
    await qemuImg.run(["snapshot", "-c", "s0", "snapped"], here);
    await write("snapped", "write -P 6 300k 300k");
    await create("disk", "-b", "base", "-F", "qcow2");
    for (const name of ["b0", "b2"]) await qemuImg.run(["bitmap", "--add", "disk", name], here);
    await write("disk", "write -P 2 500k 500k", "write -z 700k 20k");
    await create("overlay", "-b", "disk", "-F", "qcow2");
    await write("overlay", "write -P 3 900k 300k");
  });

  test.for(scenarios)("$line", async ({ line, changes, over }) => {
    const name = ["snapped", "other"].find((one) => line.endsWith(one)) ?? "disk";
    refill(name);
    let log: Recorded[];
    {
      await using file = await LoggedFile.start(work, name, image);
      const { code, stderr } = await runOurs(line, work);
      expect(code, stderr).toBe(0);
      log = file.log();
    }
    const before = new MemoryStorage({ name });
    await before.write(0, readFileSync(join(clean, name)));
    const expected = changes === true ? undefined : await contentsOf(name, before, clean);
    const above = over === undefined ? undefined : await contentsOf(over, before, clean);
    let n = 0;
    for await (const { state, where } of crashes(before, log)) {
      await examine(state, where, name, expected);
      if (over !== undefined && above) expectEqual(await contentsOf(over, state, clean), above, 0);
      if (n++ % 40 === 0) await examineByQemu(state, where);
    }
  });

  test("a guest writes", async () => {
    refill("other");
    const next = generator(inject("seed") ?? Date.now());
    const promised: Array<{ at: number; bytes: Uint8Array; entries: number; until: number }> = [];
    let log: Recorded[];
    {
      await using file = await LoggedFile.start(work, "other", image);
      await using guest = await open(file.mount, { writable: true });
      for (let round = 0; round < 12; round++) {
        const written: Array<{ at: number; bytes: Uint8Array }> = [];
        for (let i = 0; i < 6; i++) {
          const bytes = noise(512 * (1 + next(60)), round * 10 + i);
          const at = 512 * next((2 * MiB - bytes.length) / 512);
          const entries = file.log().length;
          for (const old of [...promised, ...written]) {
            if (at >= old.at + old.bytes.length || old.at >= at + bytes.length) continue;
            if ("until" in old) old.until = Math.min(old.until as number, entries);
            else written.splice(written.indexOf(old), 1);
          }
          if (i === 5) await guest.writeZeroes(at, bytes.length);
          else {
            await guest.write(at, bytes);
            written.push({ at, bytes });
          }
        }
        await guest.flush();
        const entries = file.log().length;
        for (const one of written) promised.push({ ...one, entries, until: Infinity });
      }
      log = file.log();
    }
    const before = new MemoryStorage({ name: "other" });
    await before.write(0, readFileSync(join(clean, "other")));
    let n = 0;
    for await (const { state, where, from, upTo } of crashes(before, log)) {
      const found = await contentsOf("other", state);
      await examine(state, where, "other", undefined);
      for (const { at, bytes, entries, until } of promised) {
        if (entries > from || until < upTo) continue;
        const same = Buffer.compare(bytes, found.subarray(at, at + bytes.length)) === 0;
        expect(same, `${where}: what was written at ${at} is lost`).toBe(true);
      }
      if (n++ % 40 === 0) await examineByQemu(state, where);
    }
  });

  function refill(name: string): void {
    for (const file of readdirSync(work)) rmSync(join(work, file));
    for (const file of readdirSync(clean)) copyFileSync(join(clean, file), join(work, file));
    copyFileSync(join(clean, name), image);
  }

  /**
   * What the guest sees on the image `name`, with `state` in the place of the one that lost power, and the
   * others as they are in `from`.
   */
  async function contentsOf(name: string, state?: MemoryStorage, from = work): Promise<Uint8Array> {
    const storageOf = (file: string): MemoryStorage =>
      state?.name === file
        ? state.clone(file)
        : MemoryStorage.from(readFileSync(join(from, file)), file);
    const disk = await openDisk(storageOf(name), {
      writable: false,
      format: "qcow2",
      codecs: nodeCodecs,
      references: (reference) => Promise.resolve(storageOf(reference.name)),
    });
    const bytes = new Uint8Array(Math.min(disk.size, 2 * MiB));
    await disk.read(0, bytes);
    await disk.close();
    return bytes;
  }

  async function examine(
    state: MemoryStorage,
    where: string,
    name: string,
    expected: Uint8Array | undefined,
  ): Promise<void> {
    totals.states++;
    const options = { writable: false, format: "qcow2", codecs: nodeCodecs, references: "ignore" };
    const disk = await openDisk(state.clone(name), options as never);
    const { corruptions, checkErrors, problems } = await disk.image.check!({});
    const texts = problems.filter(({ kind }) => kind !== "leak").map(({ message }) => message);
    expect(corruptions + checkErrors, [where, ...texts].join("\n")).toBe(0);
    await disk.close();
    if (expected) expectEqual(await contentsOf(name, state), expected, 0);
  }

  async function examineByQemu(state: MemoryStorage, where: string): Promise<void> {
    totals.byQemu++;
    const file = join(work, "crashed");
    writeFileSync(file, state.toBytes());
    const { status, stdout, stderr } = await qemuImg.attempt(["check", "-f", "qcow2", file]);
    expect([0, 3], `${where}: ${stdout}${stderr}`).toContain(status);
  }
});

/** A disk as the power may have left it. */
interface Crash {
  readonly state: MemoryStorage;
  readonly where: string;
  /** Entries of the log that have certainly been carried out, and those that may have been. */
  readonly from: number;
  readonly upTo: number;
}

/** All prefixes of the log; and between two flushes, samples of sectors that have got as far as the disk. */
async function* crashes(before: MemoryStorage, log: readonly Recorded[]): AsyncGenerator<Crash> {
  const next = generator(log.length);
  const { name } = before;
  const prefix = before.clone(name);
  let stable = { entries: 0, state: before.clone(name) };
  for (let n = 0; n <= log.length; n++) {
    if (n > 0) await applyRecorded(log[n - 1]!, prefix);
    yield { state: prefix, where: `after ${n} of ${log.length}`, from: stable.entries, upTo: n };
    if (n < log.length && log[n]!.kind !== "flush") continue;
    const samples = n - stable.entries > 1 ? 5 * inject("effort") : 0;
    for (let i = 0; i < samples; i++) {
      const state = stable.state.clone(name);
      const keep = 1 + next(99);
      for (const entry of log.slice(stable.entries, n)) {
        for (const piece of sectorsOf(entry))
          if (next(100) < keep) await applyRecorded(piece, state);
      }
      const where = `sample ${i} of the entries ${stable.entries} to ${n}`;
      yield { state, where, from: stable.entries, upTo: n };
    }
    totals.flushes++;
    stable = { entries: n + 1, state: prefix.clone(name) };
  }
}

function sectorsOf(entry: Recorded): Recorded[] {
  if (entry.kind !== "write") return [entry];
  const sectors: Recorded[] = [];
  for (let at = 0; at < entry.bytes.length; at += 512) {
    const bytes = entry.bytes.subarray(at, at + 512);
    sectors.push({ kind: "write", offset: entry.offset + at, bytes });
  }
  return sectors;
}
