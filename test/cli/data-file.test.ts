/**
 * Images with external data files: the same lines run by qemu-img and by our program of that name,
 * one after the other, in two directories. Output, exit code and all files are compared after each.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hasPeer, peer, type Outcome } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-data-file-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const theirs = join(directory, "theirs");
const ours = join(directory, "ours");
const link = join(directory, "qemu-img");

function program(name: string, words: readonly string[], cwd: string): Outcome {
  const { stdout, stderr, status } = spawnSync(process.execPath, [name, ...words], {
    encoding: "utf8",
    cwd,
    timeout: 60_000,
  });
  return { stdout, stderr, code: status };
}

/** Contents of all files below `path`, by name. */
function files(path: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const name = join(entry.parentPath, entry.name);
    found[name.slice(path.length + 1)] = createHash("sha256")
      .update(readFileSync(name))
      .digest("hex");
  }
  return found;
}

/** "du" of files is the host's business. */
const steady = ({ stdout, ...rest }: Outcome): Outcome => ({
  ...rest,
  stdout: stdout.replaceAll(/^disk size: .*$|"actual-size": \d+/gm, "(size)"),
});

beforeAll(() => {
  symlinkSync(resolve("bin/platter.js"), link);
  for (const side of [theirs, ours]) mkdirSync(join(side, "sub"), { recursive: true });
});

/** Runs a program that is neither on both sides: qemu-io, or a change of files. */
function onBothSides(command: string, ...words: readonly string[]): void {
  for (const cwd of [theirs, ours]) {
    const { status, stderr } = spawnSync(command, words, { cwd, encoding: "utf8" });
    expect(stderr, command).toBe("");
    expect(status, command).toBe(0);
  }
}

const io = (image: string, ...commands: readonly string[]): void =>
  onBothSides("qemu-io", ...commands.flatMap((command) => ["-c", command]), image);

/** Runs each line on both sides. */
function expectSameLines(lines: readonly string[], from = "."): void {
  for (const line of lines) {
    const words = line.split(" ");
    const expected = steady(peer(words, join(theirs, from)));
    expect(steady(program(link, words, join(ours, from))), line).toEqual(expected);
    expect(files(ours), line).toEqual(files(theirs));
  }
}

describe.skipIf(!hasPeer)("data files, side by side", () => {
  test("refused, leaving nothing behind", () => {
    expectSameLines([
      "create -f qcow2 -o data_file=d.raw,compat=0.10 a.qcow2 1M",
      "create -f qcow2 -o data_file_raw=on a.qcow2 1M",
      "create -f qcow2 -o data_file=missing/d a.qcow2 1M",
      "create -f qcow2 -o data_file= a.qcow2 1M",
      "create -f qcow2 -o data_file=/tmp a.qcow2 1M",
      "create -f qcow2 -o data_file=d.raw,cluster_size=3k a.qcow2 1M",
      "create -f qcow2 -o data_file=d.raw,data_file_raw=maybe a.qcow2 1M",
      "create -f raw -o data_file=d a.raw 1M",
    ]);
  });

  test("created, written by QEMU, and looked at", () => {
    expectSameLines([
      "create -f raw b.raw 1M",
      "create -f qcow2 -b b.raw -F raw -o data_file=d.raw,data_file_raw=on a.qcow2",
      "create -f qcow2 -b b.raw -F raw -o data_file=o.raw o.qcow2",
      "create -f qcow2 -o data_file_raw=off plain.qcow2 1M",
      "create -f qcow2 -o data_file=r.raw,data_file_raw=on r.qcow2 1M",
      "create -f qcow2 -o data_file=d.raw,lazy_refcounts=on,refcount_bits=1 a.qcow2 1M",
    ]);
    io(
      "a.qcow2",
      "write -P 1 0 100k",
      "write -P 2 300k 64k",
      "write -z 512k 64k",
      "write -P 3 640k 64k",
      "write -z 640k 64k",
    );
    expectSameLines([
      "info a.qcow2",
      "info --output=json a.qcow2",
      "info --backing-chain o.qcow2",
      "info r.qcow2",
      "map a.qcow2",
      "map --output=json a.qcow2",
      "map -U a.qcow2",
      "map o.qcow2",
      "map --output=json r.qcow2",
      "map --output=json -s 64k -l 300k a.qcow2",
      "map --image-opts driver=qcow2,file.filename=a.qcow2",
      "map --image-opts driver=qcow2,file.filename=a.qcow2,data-file.filename=d.raw,data-file.driver=file",
      "map --image-opts driver=qcow2,file.filename=o.qcow2,backing=",
      "map --image-opts driver=qcow2,file.filename=plain.qcow2,data-file.filename=d.raw",
      "check a.qcow2",
      "check --output=json a.qcow2",
      "check r.qcow2",
      "compare a.qcow2 d.raw",
      "compare a.qcow2 b.raw",
      "compare -s a.qcow2 b.raw",
      "compare r.qcow2 r.raw",
    ]);
  });

  test("converted from and to", () => {
    expectSameLines([
      "convert -O raw a.qcow2 out.raw",
      "convert -O qcow2 a.qcow2 out.qcow2",
      "convert -O qcow2 -o data_file=c.raw a.qcow2 c.qcow2",
      "convert -O qcow2 -o data_file=c2.raw,data_file_raw=on,cluster_size=4k a.qcow2 c2.qcow2",
      "convert -n -O qcow2 a.qcow2 c.qcow2",
      "convert -n -O qcow2 a.qcow2 o.qcow2",
      "compare a.qcow2 o.qcow2",
      "convert -O qcow2 -o data_file=c3.raw,preallocation=falloc -W a.qcow2 c3.qcow2",
      "convert -n -c -O qcow2 a.qcow2 c.qcow2",
      "convert -O qcow2 -o data_file_raw=on a.qcow2 x.qcow2",
      "convert -O qcow2 -o data_file=missing/x a.qcow2 x.qcow2",
      "convert -O qcow2 -o data_file=d.raw a.qcow2 x.qcow2",
      "convert -O qcow2 -o data_file=x.raw -S 0 b.raw x.qcow2",
      "convert -O qcow2 -B b.raw -F raw -o data_file=xb.raw o.qcow2 xb.qcow2",
      "measure -O qcow2 -o data_file=m.raw a.qcow2",
      "measure -O qcow2 -o data_file=m.raw,data_file_raw=on --size 1M",
      "measure -O raw a.qcow2",
      "dd if=a.qcow2 of=dd.raw bs=64k count=3",
    ]);
  });

  test("with bitmaps, and in another directory", () => {
    expectSameLines([
      "bitmap --add a.qcow2 bm",
      "info a.qcow2",
      "create -f qcow2 -o data_file=sub/s.raw sub/s.qcow2 1M",
      "map sub/s.qcow2",
      "info sub/s.qcow2",
    ]);
    expectSameLines(
      ["map s.qcow2", "info s.qcow2", "check s.qcow2", "convert -O raw s.qcow2 t"],
      "sub",
    );
  });

  test("missing, a directory, or cut", () => {
    onBothSides("mv", "d.raw", "e.raw");
    expectSameLines([
      "info a.qcow2",
      "map a.qcow2",
      "check a.qcow2",
      "compare a.qcow2 b.raw",
      "convert -O raw a.qcow2 t.raw",
      "bitmap --add a.qcow2 bm2",
    ]);
    onBothSides("mkdir", "d.raw");
    expectSameLines(["map a.qcow2"]);
    onBothSides("rmdir", "d.raw");
    onBothSides("cp", "e.raw", "d.raw");
    onBothSides("truncate", "-s", "1000", "d.raw");
    expectSameLines(["map a.qcow2", "check a.qcow2"]);
  });

  test("committed, rebased and resized", () => {
    expectSameLines(["create -q -f qcow2 -o data_file=base.raw base.qcow2 1M"]);
    io("base.qcow2", "write -P 1 0 300k");
    expectSameLines(["create -q -f qcow2 -b base.qcow2 -F qcow2 -o data_file=top.raw top.qcow2"]);
    io("top.qcow2", "write -P 2 100k 300k");
    expectSameLines(["create -q -f qcow2 -b top.qcow2 -F qcow2 toptop.qcow2"]);
    io("toptop.qcow2", "write -P 3 200k 300k");
    expectSameLines([
      "map --output=json toptop.qcow2",
      "info --backing-chain toptop.qcow2",
      "commit toptop.qcow2",
      "compare top.qcow2 toptop.qcow2",
      "commit -d top.qcow2",
      "commit top.qcow2",
      "map --output=json base.qcow2",
      "check base.qcow2",
      "check top.qcow2",
      "create -q -f qcow2 -o data_file=other.raw other.qcow2 1M",
    ]);
    io("other.qcow2", "write -P 1 0 300k");
    expectSameLines([
      "rebase -b other.qcow2 -F qcow2 toptop.qcow2",
      "rebase -u -b base.qcow2 -F qcow2 toptop.qcow2",
      "rebase -b other.qcow2 -F qcow2 top.qcow2",
      "resize top.qcow2 2M",
      "resize --shrink top.qcow2 100k",
      "resize --preallocation=falloc top.qcow2 3M",
      "resize top.qcow2 -1M",
      "check top.qcow2",
    ]);
  });

  const entry = (image: string, index: number, bytes: string): void =>
    onBothSides(
      "bash",
      "-c",
      `printf '${bytes}' | dd of=${image} bs=1 seek=$((0x40000 + 8 * ${index})) conv=notrunc status=none`,
    );

  test.each([
    ["a cluster without the copied flag", "\\x00\\x00\\x00\\x00\\x00\\x01\\x00\\x00"],
    ["a cluster in another place", "\\x80\\x00\\x00\\x00\\x00\\x05\\x00\\x00"],
    ["a cluster at offset 0", "\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x00"],
    ["an unaligned cluster", "\\x80\\x00\\x00\\x00\\x00\\x01\\x02\\x00"],
    ["a compressed cluster", "\\x40\\x00\\x00\\x00\\x00\\x01\\x02\\x00"],
    ["zeros at offset 0", "\\x80\\x00\\x00\\x00\\x00\\x00\\x00\\x01"],
  ])("check of %s", (_what, bytes) => {
    expectSameLines(["create -f qcow2 -o data_file=h.raw h.qcow2 1M"]);
    io("h.qcow2", "write -P 1 0 256k");
    entry("h.qcow2", 1, bytes);
    expectSameLines(["check h.qcow2", "check --output=json h.qcow2"]);
  });

  const sizes = ["512", "4k", "64k"];
  const combinations = sizes.flatMap((cluster) =>
    ["off", "metadata", "falloc", "full"].flatMap((mode) =>
      ["on", "off"].map((raw) => [cluster, mode, raw] as const),
    ),
  );
  test.each(combinations)("byte for byte: clusters of %s, preallocation %s, raw %s", (...row) => {
    const [cluster, mode, raw] = row;
    const options = `data_file=p.raw,data_file_raw=${raw},preallocation=${mode},cluster_size=${cluster}`;
    expectSameLines([
      `create -f qcow2 -o ${options} p.qcow2 3000320`,
      `create -q -f qcow2 -o ${options},extended_l2=on,cluster_size=32k p.qcow2 3000320`,
      "map --output=json p.qcow2",
    ]);
  });
});

describe.skipIf(!hasPeer)("what we do otherwise", () => {
  const both = join(directory, "mine");
  const run = (line: string, name = link, cwd = both): Outcome =>
    program(name, line.split(" "), cwd);
  const platter = resolve("bin/platter.js");

  beforeAll(() => {
    mkdirSync(join(both, "sub"), { recursive: true });
    run("create -q -f qcow2 -o data_file=d.raw a.qcow2 1M");
    spawnSync("qemu-io", ["-c", "write -P 1 0 64k", "a.qcow2"], { cwd: both });
  });

  test("a conversion that fails removes both files", () => {
    const before = files(both);
    expect(Object.keys(before)).toEqual(["a.qcow2", "d.raw"]);
    const line = "convert -c -O qcow2 -o data_file=cc.raw a.qcow2 cc.qcow2";
    expect(run(line)).toMatchObject({
      code: 1,
      stderr: "qemu-img: error while writing at byte 0: Operation not supported\n",
    });
    expect(files(both)).toEqual(before);
  });

  test("a creation that fails leaves what was there", () => {
    const before = files(both);
    expect(run("create -q -f qcow2 -o data_file=d.raw,cluster_size=3k a.qcow2 1M").code).toBe(1);
    expect(files(both)).toEqual(before);
  });

  test("an image or its base is not taken for its data file", () => {
    const before = files(both);
    for (const line of [
      "create -f qcow2 -o data_file=n.qcow2 n.qcow2 1M",
      "create -f qcow2 -o data_file=a.qcow2 -b a.qcow2 -F qcow2 n.qcow2",
      "create -f qcow2 -o data_file=d.raw -b a.qcow2 -F qcow2 n.qcow2",
    ]) {
      expect(run(line).code, line).toBe(1);
    }
    expect(files(both)).toEqual(before);
  });

  test("a data file that is kept", () => {
    expect(run("create -q -f raw k.raw 1M").code).toBe(0);
    expect(
      spawnSync("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", "k.raw"], { cwd: both }).status,
    ).toBe(0);
    const options = "data_file=k.raw,data_file_raw=on,keep_data_file=on";
    expect(run(`create -f qcow2 -o ${options} k.qcow2 1M`)).toMatchObject({ code: 0, stderr: "" });
    expect(peer(["compare", "k.qcow2", "k.raw"], both).code).toBe(0);
    expect(peer(["map", "k.qcow2"], both).stdout).toContain("0x100000");
    expect(run("create -f qcow2 -o keep_data_file=on k.qcow2 1M").code).toBe(1);
    expect(run("create -f qcow2 -o help", platter).stdout).toContain("keep_data_file");
    expect(run("create -f qcow2 -o help").stdout).not.toContain("keep_data_file");
  });

  test("for platter the name in an image is relative to the image", () => {
    expect(run("create -f qcow2 -o data_file=s.raw sub/s.qcow2 1M", platter)).toMatchObject({
      code: 0,
    });
    expect(Object.keys(files(both))).toContain("sub/s.raw");
    expect(run("map --json sub/s.qcow2", platter)).toMatchObject({ code: 0 });
    expect(run("map sub/s.qcow2")).toMatchObject({
      code: 1,
      stderr:
        "qemu-img: Could not open 'sub/s.qcow2': Could not open 's.raw': No such file or directory\n",
    });
  });
});
