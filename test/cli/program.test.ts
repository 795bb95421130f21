import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hasPeer, type Outcome, peer } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-program-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const theirs = join(directory, "theirs");
const ours = join(directory, "ours");
const link = join(directory, "qemu-img");

/** Runs our program, called by the name qemu-img. */
function program(words: readonly string[]): Outcome {
  const { stdout, stderr, status } = spawnSync(process.execPath, [link, ...words], {
    encoding: "utf8",
    cwd: ours,
    timeout: 60_000,
  });
  return { stdout, stderr, code: status };
}

/** Images that are there on both sides, made by the peer. */
const images = [
  "create x.raw 1M",
  "create -f qcow2 -b x.raw -F raw over.qcow2 2M",
  "create -f qcow2 -u -b nope -F raw unsafe.qcow2 1M",
  "create -f qcow2 -o compat=0.10 old.qcow2 1M",
  "create -f qcow2 -o preallocation=metadata p.qcow2 1M",
  "create -f raw -o preallocation=falloc f.raw 1M",
  "create -f raw x1.raw 512",
  "create -f qcow2 s.qcow2 2M",
  "create -f qcow2 x.qcow2 1M",
  "create -f qcow2 -o extended_l2=on e.qcow2 1M",
  "create -f qcow2 -o extended_l2=on,preallocation=metadata -b x.raw -F raw eo.qcow2 2M",
  "create -f qcow2 -o extended_l2=on,preallocation=metadata,cluster_size=32k ep.qcow2 1M",
];

beforeAll(() => {
  if (!hasPeer) return;
  symlinkSync(resolve("bin/platter.js"), link);
  for (const side of [theirs, ours]) {
    mkdirSync(side);
    for (const line of images) {
      const { code, stderr } = peer(line.split(" "), side);
      if (code !== 0) throw new Error(stderr);
    }
  }
});

describe.skipIf(!hasPeer)("our program and qemu-img, side by side", () => {
  it.each([
    "create -q -f qcow2 -b x.raw -F raw over.qcow2",
    "create -f qcow2 -b x.raw over2.qcow2",
    "create -f qcow2 y",
    "create -f qcow2 -b nope -F raw y 1M",
    "create -f qcow2 -u -b nope -F raw y",
    "create -f qcow2 -o extended_l2=on e1.qcow2 1M",
    "create -f qcow2 -o extended_l2=on,cluster_size=8k y 1M",
    "create -f qcow2 -o extended_l2=on,compat=0.10 y 1M",
    "create -f qcow2 -o extended_l2=maybe y 1M",
    "create -f qcow2 -o extended_l2=off,preallocation=metadata -b x.raw -F raw y",
    "create -f qcow2 -o extended_l2=on,preallocation=falloc -b x.raw -F raw e2.qcow2",
    "info eo.qcow2",
    "info --output=json e.qcow2",
    "map e.qcow2",
    "map --output=json e.qcow2",
    "map --output=json ep.qcow2",
    "map --output=json eo.qcow2",
    "check e.qcow2",
    "check --output=json ep.qcow2",
    "compare e.qcow2 ep.qcow2",
    "compare -s e.qcow2 ep.qcow2",
    "compare eo.qcow2 f.raw",
    "convert -O qcow2 -o extended_l2=on f.raw e3.qcow2",
    "convert -O qcow2 -o extended_l2=on,preallocation=full -B x.raw -F raw eo.qcow2 e4.qcow2",
    "convert -c -O qcow2 -o extended_l2=on,compression_type=zstd x.raw e5.qcow2",
    "convert -O qcow2 -o extended_l2=on,cluster_size=4k f.raw y",
    "convert -O raw ep.qcow2 e6.raw",
    "create -f qcow2 -u -b nope y 1M",
    "create -f foo y 1M",
    "create -f raw -b x.raw y 1M",
    "create -f qcow2 -o cluster_size y 1M",
    "create -f qcow2 -o size=2M s.qcow2 3M",
    "create -f qcow2 -o lazy_refcounts=maybe y 1M",
    "create -f qcow2 -o refcount_bits=x y 1M",
    "create -f qcow2 -o cluster_size=18446744073709551616 y 1M",
    "create -f qcow2 -o refcount_bits=18446744073709551616 y 1M",
    "create missing/x 1M",
    "create /tmp 1M",
    "create -f qcow2 -b over.qcow2 -F qcow2 over.qcow2",
    "create -f raw -o help",
    "create -f raw -o help x",
    "info x.raw",
    "info x.qcow2",
    "info --output=json over.qcow2",
    "info --backing-chain over.qcow2",
    "info --backing-chain --output=json over.qcow2",
    "info /tmp",
    "info -f qcow2 x1.raw",
    "info foo:x",
    "info old.qcow2",
    "info unsafe.qcow2",
    "map over.qcow2",
    "map --output=json over.qcow2",
    "map unsafe.qcow2",
    "map p.qcow2",
    "map --output=json p.qcow2",
    "check x.raw",
    "check x.qcow2",
    "check --output=json p.qcow2",
    "check p.qcow2",
    "check -f qcow2 x1.raw",
    "compare x1.raw x1.raw",
    "compare f.raw p.qcow2",
    "compare f.raw s.qcow2",
    "compare -s f.raw s.qcow2",
    "compare -f qcow2 x1.raw x1.raw",
    "convert -O qcow2 f.raw c.qcow2",
    "convert -O foo f.raw y",
    "convert -c f.raw y",
    "convert -B x.raw f.raw y",
    "convert -O qcow2 -o backing_file=x.raw f.raw y",
    "convert -O qcow2 -F raw f.raw y",
    "convert -O qcow2 -o foo=1 f.raw y",
    "convert f.raw f.raw",
    "convert f.raw f.raw two.raw",
    "convert -O qcow2 -B f.raw -F raw f.raw f.raw y",
    "convert -f qcow2 f.raw y",
    "create x.raw 1M",
    "create -f qcow2 x.qcow2 1M",
    "create -f qcow2 -b x.raw -F raw over.qcow2 2M",
    "create -f qcow2 -u -b nope -F raw unsafe.qcow2 1M",
    "create -f qcow2 -o cluster_size=3k y 1M",
    "create -f qcow2 -o cluster_size=4k,refcount_bits=1,lazy_refcounts=on,compat=1.1 z.qcow2 1.5G",
    "create -f qcow2 -o size=2M s.qcow2",
    "create -f qcow2 -o refcount_bits=3 y 1M",
    "create -f qcow2 -o refcount_bits=0x10 n.qcow2 1M",
    "create -f qcow2 -o preallocation=metadata p.qcow2 1M",
    "create -f qcow2 -o preallocation=x y 1M",
    "create -f qcow2 -o compat=0.10 old.qcow2 1M",
    "create -f qcow2 -o compat=x y 1M",
    "create -f qcow2 -o compression_type=zstd zs.qcow2 1M",
    "create -f qcow2 -o compression_type=foo y 1M",
    "create -f qcow2 -o nocow=on nc.qcow2 1M",
    "create -f raw -o preallocation=falloc f.raw 1M",
    "create -f raw -o preallocation=x y 1M",
    "create -f qcow2 missing/x 1M",
    "create -f qcow2 /tmp 1M",
    "create -f qcow2 -b x.raw -F foo y",
    "create x.raw 0",
    "create -f qcow2 y 7E",
    "create y 7E",
    "create x1.raw 1",
    "create -f qcow2 x1.qcow2 1025",
    "info nope",
    "info -f foo x.raw",
    "info --backing-chain unsafe.qcow2",
    "map x1.raw",
    "map nope",
    "check nope",
    "check unsafe.qcow2",
    "compare x1.raw x1.qcow2",
    "compare -s x1.raw x1.qcow2",
    "compare nope x1.raw",
    "compare -F foo x1.raw x1.raw",
    "convert -n f.raw nope",
    "convert nope y",
    "convert -O qcow2 -o cluster_size=3k f.raw y",
    "convert -p -O qcow2 -o cluster_size=3k f.raw y",
    "convert -O qcow2 -B nope -F raw f.raw y",
    "convert f.raw missing/y",
    "convert f.raw /tmp",
  ])("%s", (line) => {
    const words = line.split(" ");
    expect(program(words)).toEqual(peer(words, theirs));
  });
});
