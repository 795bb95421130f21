/**
 * A disk that is full: every command that writes works in a tmpfs, and on a real ext4, with room for a little, then for a
 * little more, until it succeeds. Each time that it does not, it says so in one line, what it had made
 * is gone, and what was there before is consistent and shows the guest the same.
 */
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { open } from "../../src/index.ts";
import { describePeer, type Peer } from "../peers.ts";
import { KiB, noise } from "../qcow2/kit.ts";
import { copyTree, expectOneError, imageMaker, runOurs } from "./kit.ts";
import { openSmallDisk, SmallDisk, SmallExt4 } from "./small-disk.ts";

/** A command line, and which of the images show the guest the same also when it fails. */
interface Scenario {
  readonly line: string;
  /** Images whose contents may have changed when it fails. */
  readonly changes?: readonly string[];
  /** It needs no space. */
  readonly free?: boolean;
}

const scenarios: readonly Scenario[] = [
  ...["off", "metadata", "falloc", "full"].flatMap((mode) => [
    { line: `create -f qcow2 -o preallocation=${mode},cluster_size=4k new 2M` },
    { line: `create -f qcow2 -o preallocation=${mode},extended_l2=on new 2M` },
    { line: `create -f qcow2 -o preallocation=${mode},data_file=new.raw,data_file_raw=on new 2M` },
  ]),
  ...["off", "falloc", "full"].map((mode) => ({
    line: `create -f raw -o preallocation=${mode} new 2M`,
  })),
  { line: "create -f qcow2 -b top -F qcow2 new" },
  ...["top", "other"].flatMap((source) => [
    { line: `convert -O qcow2 ${source} new` },
    { line: `convert -O raw ${source} new` },
    { line: `convert -c -O qcow2 ${source} new` },
    { line: `convert -c -O qcow2 -o compression_type=zstd ${source} new` },
    { line: `convert -O qcow2 -o preallocation=falloc ${source} new` },
    { line: `convert -O raw -o preallocation=full ${source} new` },
  ]),
  { line: "convert --bitmaps -O qcow2 top new" },
  { line: "convert -O qcow2 -B base -F qcow2 top new" },
  { line: "convert -O qcow2 top other" },
  { line: "convert -O raw top raw" },
  { line: "convert -n -O qcow2 top empty", changes: ["empty"] },
  { line: "convert -n -c -O qcow2 top empty", changes: ["empty"] },
  { line: "convert -n -O raw top raw", changes: ["raw"] },
  { line: "dd if=top of=new -f qcow2 -O qcow2 bs=64k" },
  { line: "dd if=top of=new -f qcow2 -O raw bs=64k" },
  ...["off", "metadata", "falloc", "full"].map((mode) => ({
    line: `resize --preallocation=${mode} other +2M`,
  })),
  ...["falloc", "full"].map((mode) => ({
    line: `resize -f raw --preallocation=${mode} raw +2M`,
  })),
  { line: "resize other 1T" },
  { line: "resize --shrink other 1M", free: true, changes: ["other"] },
  { line: "resize --shrink snapped 1M", free: true, changes: ["snapped"] },
  { line: "snapshot -c s1 snapped" },
  { line: "snapshot -a s0 snapped", changes: ["snapped"] },
  { line: "snapshot -d s0 snapped" },
  { line: "commit top", changes: ["base"] },
  { line: "commit -d top", changes: ["base"] },
  { line: "rebase -b other -F qcow2 top" },
  { line: "rebase -b '' top" },
  { line: "rebase -u -b other -F qcow2 top", changes: ["top"] },
  { line: "amend -o refcount_bits=64 other" },
  { line: "amend -o compat=0.10 zeroed", free: true },
  { line: "bitmap --add -g 512 top b2" },
  { line: "bitmap --merge b0 top b1" },
  { line: "bitmap --clear top b0" },
  { line: "bitmap --remove top b0" },
  { line: "check -r leaks leaking", free: true },
  { line: "check -r all broken" },
];

/** Stands for "anything may be there". */
const unknown = -1;

const totals = { runs: 0, full: 0 };

afterAll(() => {
  process.stdout.write(`full disk: ${totals.runs} runs, ${totals.full} without enough space\n`);
});

const kinds = [
  ["tmpfs", openSmallDisk("tmpfs", SmallDisk), 6],
  ["ext4", openSmallDisk("ext4 on a loop device", SmallExt4), 2],
] as const;
for (const [kind, small, steps] of kinds) {
  // Only root may mount one.
  if (small === undefined) test.skip(`a full ${kind} cannot be mounted here`);
  else {
    afterAll(() => small.remove());
    describePeer(["qemu-img", "qemu-io"], `a full disk (${kind})`, (qemuImg, qemuIo) =>
      onFullDisk(small, steps, qemuImg, qemuIo),
    );
  }
}

function onFullDisk(disk: SmallDisk | SmallExt4, share: number, qemuImg: Peer, qemuIo: Peer): void {
  const clean = mkdtempSync(join(tmpdir(), "platter-full-"));
  const work = join(disk.directory, "work");
  const cwd = { cwd: work };

  beforeAll(async () => {
    const here = { cwd: clean };
    const { create, write } = imageMaker(qemuImg, qemuIo, clean);
    await create("base");
    await create("top", "-b", "base", "-F", "qcow2");
    for (const name of ["other", "snapped", "zeroed", "empty", "leaking", "broken"]) {
      await create(name);
    }
    await qemuImg.run(["create", "-q", "-f", "raw", "raw", "2M"], here);
    await write("base", "write -P 1 0 1M");
    await write("top", "write -P 2 512k 640k", "write -P 3 1900k 64k");
    await write("other", "write -P 4 0 1M");
    await write("snapped", "write -P 5 0 1M");
    await write("zeroed", "write -P 6 0 1M", "write -z 100k 200k");
    await write("leaking", "write -P 7 0 1M");
    await write("broken", "write -P 8 0 1M");
    await qemuImg.run(["snapshot", "-c", "s0", "snapped"], here);
    await write("snapped", "write -P 6 256k 512k");
    for (const name of ["b0", "b1"]) await qemuImg.run(["bitmap", "--add", "top", name], here);
    await write("top", "write -P 9 600k 300k");
    // Counted, and nothing refers to it; and no refcounts at all.
    patch(join(clean, "leaking"), 2 * 4096 + 2 * 1200, [0, 1, 0, 1, 0, 1]);
    patch(join(clean, "broken"), 4096, [0, 0, 0, 0, 0, 0, 0, 0]);
  });

  afterAll(() => {
    rmSync(clean, { recursive: true });
  });

  test.for(scenarios)("$line", async ({ line, changes = [], free = false }) => {
    const before = refill();
    const enough = await runOurs(line, work);
    expect(enough.code, enough.stderr).toBe(0);
    // At the most, it has taken this: some of what it takes, it gives back.
    const steps = share * inject("effort");
    const step = Math.max(1, Math.ceil((disk.used - before) / 4096 / steps)) * 4096;
    let failed = 0;
    let room = 0;
    for (; ; room += step) {
      refill();
      disk.leave(room);
      totals.runs++;
      const outcome = await runOurs(line, work);
      disk.leave(disk.all);
      const where = `${room} bytes left: ${outcome.stderr}`;
      if (outcome.code !== 0) {
        failed++;
        expectOneError(outcome, /No space left on device|no space left/);
        expect(readdirSync(work).toSorted(), where).toEqual(readdirSync(clean).toSorted());
      }
      await examine(outcome.code === 0 ? readdirSync(clean) : changes, where);
      if (outcome.code === 0) break;
    }
    totals.full += failed;
    if (free) expect(failed).toBe(0);
    else expect(failed).toBeGreaterThan(0);
  });

  test("a guest writes", async () => {
    let failed = 0;
    for (let room = 0; room < 700 * KiB; room += 28 * KiB) {
      refill();
      disk.leave(room);
      totals.runs++;
      const guest = await open(join(work, "other"), { writable: true });
      const expected = new Int16Array(guest.size).fill(4, 0, 1024 * KiB);
      const errors: unknown[] = [];
      const attempt = (task: Promise<void>) => task.catch((error: unknown) => errors.push(error));
      for (let at = 900 * KiB; at < 1400 * KiB; at += 50 * KiB) {
        const data = noise(30 * KiB, at);
        const before = errors.length;
        await attempt(guest.write(at, data));
        await attempt(guest.flush());
        // What failed may have been written in part.
        if (errors.length === before) expected.set(data, at);
        else expected.fill(unknown, at, at + data.length);
      }
      await attempt(guest.close());
      for (const error of errors) expect(error).toMatchObject({ code: "E_NO_SPACE" });
      if (errors.length > 0) failed++;
      disk.leave(disk.all);
      const { status, stdout } = await qemuImg.attempt(["check", "other"], cwd);
      expect([0, 3], `${room} bytes left: ${stdout}`).toContain(status);
      const after = await open(join(work, "other"));
      const found = new Uint8Array(after.size);
      await after.read(0, found);
      await after.close();
      const wrong = expected.findIndex((byte, i) => byte !== unknown && byte !== found[i]);
      expect(wrong, `${room} bytes left: byte ${wrong} is ${found[wrong]}`).toBe(-1);
    }
    totals.full += failed;
    expect(failed).toBeGreaterThan(3);
  });

  test.each(["convert -n -O qcow2 top empty", "commit top"])(
    "%s says what has been written in part",
    async (line) => {
      refill();
      disk.leave(64 * KiB);
      const outcome = await runOurs(line, work, "platter");
      expectOneError(
        outcome,
        /No space left on device.* (empty|base) may have been written in part/,
      );
    },
  );

  /** The directory as it was, and room for anything; returns the bytes in use. */
  function refill(): number {
    disk.leave(disk.all);
    copyTree(clean, work);
    return disk.used;
  }

  /** Whether the file is the one that was there before, with the same files behind it. */
  function isSame(name: string): boolean {
    const files = name === "top" ? ["top", "base", "other"] : [name];
    return files.every((file) =>
      readFileSync(join(clean, file)).equals(readFileSync(join(work, file))),
    );
  }

  /** Nothing is corrupt, and the guest sees what it saw, but in the images that may `differ`. */
  async function examine(differ: readonly string[], where: string): Promise<void> {
    const untouched = readdirSync(clean).filter((name) => isSame(name));
    for (const name of readdirSync(work)) {
      if (name === "raw" || name.startsWith("new") || name === "broken") continue;
      if (untouched.includes(name)) continue;
      const { status, stdout, stderr } = await qemuImg.attempt(["check", name], cwd);
      expect([0, 3], `${where}: ${name}: ${stdout}${stderr}`).toContain(status);
    }
    for (const name of readdirSync(clean)) {
      if (differ.includes(name) || untouched.includes(name)) continue;
      const theirs = join(clean, name);
      const { status, stdout, stderr } = await qemuImg.attempt(["compare", theirs, name], cwd);
      expect(status, `${where}: ${name}: ${stdout}${stderr}`).toBe(0);
      expect(stdout, where).not.toContain("size mismatch");
    }
  }
}

function patch(file: string, offset: number, bytes: readonly number[]): void {
  const descriptor = openSync(file, "r+");
  writeSync(descriptor, Uint8Array.from(bytes), 0, bytes.length, offset);
  closeSync(descriptor);
}
