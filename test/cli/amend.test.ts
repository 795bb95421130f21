/** `amend`, side by side with qemu-img. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { hasPeer, peer, runOurs } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

const mask = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "DATE")
    .replaceAll(/("actual-size":|disk size:) .*/g, "$1");

const filled =
  "io a.qcow2 write -P 1 0 1M; write -P 2 4100k 300k; write -z 2M 192k; write -z -u 3M 64k";

const scripts: Readonly<Record<string, readonly string[]>> = {
  help: [
    "create -q -f qcow2 a.qcow2 1M",
    "create -q -f raw r.raw 1M",
    "amend",
    "amend a.qcow2",
    "amend -o compat=1.1",
    "amend -o compat=1.1 a.qcow2 r.raw",
    "amend -f qcow2 -o help",
    "amend -f qcow2 -o ?",
    "amend -f qcow2 -o help a.qcow2",
    "amend -o help a.qcow2",
    "amend -o compat=0.10,help a.qcow2",
  ],
  "what cannot be": [
    "create -q -f qcow2 a.qcow2 1M",
    "create -q -f raw r.raw 1M",
    "amend -f raw -o size=2M r.raw",
    ...[
      "compat=2",
      "cluster_size=4k",
      "preallocation=metadata",
      "compression_type=zstd",
      "extended_l2=on",
      "encryption=on",
      "encrypt.format=luks",
      "nonsense=1",
      "backing_file=x",
      "backing_fmt=raw",
      "backing_file=x,backing_fmt=raw",
      "data_file=x",
      "data_file_raw=on",
      "encrypt.state=active",
      "encrypt.new-secret=x",
      "refcount_bits=0",
      "refcount_bits=7",
      "refcount_bits=128",
      "refcount_bits=x",
      "lazy_refcounts=maybe",
      "size=x",
      "size=",
      "lazy_refcounts=on,compat=0.10",
      "cluster_size=4k,nonsense=1",
    ].map((option) => `amend -f qcow2 -o ${option} a.qcow2`),
    "amend -t nonsense -f qcow2 -o compat=1.1 a.qcow2",
    "amend -f qcow2 --image-opts -o compat=1.1 driver=qcow2,file.filename=a.qcow2",
    "amend -o compat=1.1 missing.qcow2",
    "info a.qcow2",
  ],
  "versions, there and back": [
    "create -q -f qcow2 a.qcow2 9M",
    filled,
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "check a.qcow2",
    "info a.qcow2",
    "io a.qcow2 write -P 5 2M 64k",
    "amend -o compat=v3 a.qcow2",
    "check a.qcow2",
    "info a.qcow2",
    "amend -o compat=v3 a.qcow2",
    "amend -p -o compat=v2 a.qcow2",
    "amend -p -o compat= a.qcow2",
    "amend --image-opts -q -o compat=1.1,lazy_refcounts=on driver=qcow2,file.filename=a.qcow2",
    "info a.qcow2",
    "amend -t none -o lazy_refcounts=off a.qcow2",
    "info a.qcow2",
  ],
  "down to version 2 over a backing file": [
    "create -q -f raw base.raw 9M",
    "io base.raw write -P 9 0 9M",
    "create -q -f qcow2 -b base.raw -F raw a.qcow2 9M",
    filled,
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "check a.qcow2",
    "info a.qcow2",
    "amend -f qcow2 -o backing_file=base.raw,backing_fmt=raw a.qcow2",
    "amend -f qcow2 -o backing_file=base.raw a.qcow2",
    "amend -f qcow2 -o compat=1.1 a.qcow2",
    "check a.qcow2",
  ],
  "refcounts of all widths": [
    "create -q -f qcow2 a.qcow2 9M",
    filled,
    ...[8, 64, 32, 4, 16, 16].flatMap((bits) => [
      `amend -f qcow2 -o refcount_bits=${bits} a.qcow2`,
      "check a.qcow2",
    ]),
    "io a.qcow2 write -P 7 6M 1M",
    "check a.qcow2",
  ],
  "refcounts of small clusters, in a table that grows": [
    "create -q -f qcow2 -o cluster_size=512 a.qcow2 9M",
    filled,
    "amend -f qcow2 -o refcount_bits=64 a.qcow2",
    "check a.qcow2",
    "amend -f qcow2 -o refcount_bits=1 a.qcow2",
    "check a.qcow2",
    "amend -f qcow2 -o refcount_bits=16,compat=0.10 a.qcow2",
    "check a.qcow2",
    "~amend -f qcow2 -o refcount_bits=64,compat=1.1 a.qcow2",
    "check a.qcow2",
  ],
  "refcounts that do not fit": [
    "create -q -f qcow2 -o cluster_size=4k a.qcow2 9M",
    filled,
    "snapshot -c one a.qcow2",
    "snapshot -c two a.qcow2",
    "amend -f qcow2 -o refcount_bits=2 a.qcow2",
    "check a.qcow2",
    "amend -f qcow2 -o refcount_bits=1 a.qcow2",
    "amend -f qcow2 -o refcount_bits=4 a.qcow2",
    "check a.qcow2",
  ],
  "with snapshots": [
    "create -q -f qcow2 a.qcow2 9M",
    filled,
    "snapshot -c one a.qcow2",
    "io a.qcow2 write -P 3 512k 1M; write -z 6M 128k",
    "snapshot -c two a.qcow2",
    "io a.qcow2 write -P 4 1M 64k",
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "check a.qcow2",
    "convert -l one -O raw a.qcow2 one.raw",
    "amend -f qcow2 -o compat=1.1 a.qcow2",
    "check a.qcow2",
    "amend -f qcow2 -o size=10M a.qcow2",
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "check a.qcow2",
  ],
  bitmaps: [
    "create -q -f qcow2 a.qcow2 1M",
    "bitmap --add a.qcow2 b",
    "amend -f qcow2 -o refcount_bits=8 a.qcow2",
    "info a.qcow2",
    "amend -f qcow2 -o refcount_bits=16 a.qcow2",
  ],
  size: [
    "create -q -f qcow2 a.qcow2 9M",
    filled,
    "amend -f qcow2 -o size=20M a.qcow2",
    "amend -f qcow2 -o size=0 a.qcow2",
    "amend -f qcow2 -o size=4M,compat=0.10 a.qcow2",
    "check a.qcow2",
    "info a.qcow2",
  ],
  "data files": [
    "create -q -f qcow2 -o data_file=d.raw,data_file_raw=on a.qcow2 1M",
    "io a.qcow2 write -P 1 0 1M",
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "amend -f qcow2 -o data_file_raw=off a.qcow2",
    "info a.qcow2",
    "amend -f qcow2 -o data_file_raw=on a.qcow2",
    "amend -f qcow2 -o data_file=e.raw a.qcow2",
    "amend -f qcow2 -o compat=1.1 a.qcow2",
  ],
  "features that version 2 does not know": [
    "create -q -f qcow2 -o extended_l2=on a.qcow2 1M",
    "amend -f qcow2 -o compat=0.10 a.qcow2",
    "create -q -f qcow2 -o compression_type=zstd b.qcow2 1M",
    "amend -f qcow2 -o compat=0.10 b.qcow2",
    "info b.qcow2",
    "create -q -f qcow2 -o compression_type=zstd z.qcow2 1M",
    "io z.qcow2 write -c -P 5 0 64k",
    "amend -f qcow2 -o compat=0.10 z.qcow2",
    "create -q -f qcow2 -o refcount_bits=8 c.qcow2 1M",
    "amend -f qcow2 -o compat=0.10 c.qcow2",
    "amend -f qcow2 -o compat=0.10,refcount_bits=16 c.qcow2",
    "info c.qcow2",
  ],
};

describe.skipIf(!hasPeer)("amend, beside qemu-img", () => {
  for (const [name, script] of Object.entries(scripts)) {
    it(name, () => expectSideBySide(script, { mask }), 120_000);
  }
});

describe.skipIf(!hasPeer)("amend, where qemu-img leaves something behind", () => {
  it("removes bitmaps on the way to version 2, which cannot have any", async () => {
    const directory = mkdtempSync(join(tmpdir(), "platter-amend-"));
    try {
      const file = join(directory, "a.qcow2");
      peer(["create", "-q", "-f", "qcow2", file, "1M"]);
      peer(["bitmap", "--add", file, "b"]);
      const words = ["amend", "-f", "qcow2", "-o", "compat=0.10", file];
      expect((await runOurs(words)).code).toBe(0);
      const { stdout, stderr, code } = peer(["check", file]);
      expect({ stderr, code }, stdout).toEqual({ stderr: "", code: 0 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
