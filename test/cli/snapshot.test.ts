/** `snapshot` and what images with snapshots are to the other commands, side by side with qemu-img. */
import { describe, it } from "vitest";
import { hasPeer } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** Dates, and what files take on the host, are nobody's promise. */
const mask = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "DATE")
    .replaceAll(/("date-n?sec": )\d+/g, "$1N")
    .replaceAll(/("actual-size":|disk size:) .*/g, "$1");

const scripts: Readonly<Record<string, readonly string[]>> = {
  "make, list, delete": [
    "create -q -f qcow2 a.qcow2 10M",
    "snapshot -l a.qcow2",
    "snapshot a.qcow2",
    "snapshot -c empty a.qcow2",
    "io a.qcow2 write -P 1 0 1M; write -P 2 3M 128k",
    "snapshot -c first a.qcow2",
    "snapshot -c again a.qcow2",
    "check a.qcow2",
    "check --output=json a.qcow2",
    "snapshot -l a.qcow2",
    "info a.qcow2",
    "info --output=json a.qcow2",
    "map --output=json a.qcow2",
    "io a.qcow2 write -P 3 512k 1M; discard 3M 64k; write -z 0 64k",
    "check a.qcow2",
    "snapshot -c second a.qcow2",
    "snapshot -d first a.qcow2",
    "check a.qcow2",
    "snapshot -d empty a.qcow2",
    "snapshot -d again a.qcow2",
    "snapshot -d second a.qcow2",
    "check a.qcow2",
    "snapshot -l a.qcow2",
  ],
  apply: [
    "create -q -f qcow2 a.qcow2 10M",
    "io a.qcow2 write -P 1 0 1M",
    "snapshot -c one a.qcow2",
    "io a.qcow2 write -P 2 512k 1M; write -P 4 8M 64k",
    "snapshot -c two a.qcow2",
    "io a.qcow2 write -P 3 0 3M",
    "snapshot -a one a.qcow2",
    "check a.qcow2",
    "convert -O raw a.qcow2 a.raw",
    "io a.qcow2 write -P 5 0 64k",
    "snapshot -a 2 a.qcow2",
    "check a.qcow2",
    "snapshot -a two a.qcow2",
    "snapshot -d one a.qcow2",
    "snapshot -d two a.qcow2",
    "check a.qcow2",
  ],
  errors: [
    "create -q -f qcow2 a.qcow2 1M",
    "create -q -f raw r.raw 1M",
    "snapshot -c same a.qcow2",
    "snapshot -c same a.qcow2",
    "snapshot -l a.qcow2",
    "snapshot -d 2 a.qcow2",
    "snapshot -d same a.qcow2",
    "snapshot -l a.qcow2",
    "snapshot -a nope a.qcow2",
    "snapshot -d nope a.qcow2",
    "snapshot",
    "snapshot a.qcow2 r.raw",
    "snapshot -l -c x a.qcow2",
    "snapshot -c x -c y a.qcow2",
    "snapshot -c",
    "snapshot -l missing.qcow2",
    "snapshot -U -c x a.qcow2",
    "snapshot -U -l a.qcow2",
    "snapshot -q -c x a.qcow2",
    "snapshot --image-opts -c y driver=qcow2,file.filename=a.qcow2",
    "snapshot --image-opts -l driver=qcow2,file.filename=a.qcow2",
    "snapshot -c x r.raw",
    "snapshot -l r.raw",
    "snapshot --image-opts -a x driver=raw,file.filename=r.raw",
    "snapshot -d x r.raw",
    "snapshot -c '' a.qcow2",
    "snapshot -l a.qcow2",
    "snapshot -d '' a.qcow2",
    "create -q -f qcow2 -o data_file=d.raw d.qcow2 1M",
    "snapshot -c x d.qcow2",
    "create -q -f qcow2 -o refcount_bits=1 one.qcow2 1M",
    "snapshot -c empty one.qcow2",
    "io one.qcow2 write -P 1 0 64k",
    "~snapshot -c full one.qcow2",
  ],
  "with sources of convert, measure and compare": [
    "create -q -f qcow2 a.qcow2 10M",
    "io a.qcow2 write -P 1 0 1M; write -P 7 9M 64k",
    "snapshot -c one a.qcow2",
    "io a.qcow2 write -P 2 512k 1M; write -z 9M 64k",
    "snapshot -c two a.qcow2",
    "convert -l one -O raw a.qcow2 one.raw",
    "convert -l 2 -O raw a.qcow2 two.raw",
    "convert -l snapshot.name=one -O raw a.qcow2 three.raw",
    "convert -l snapshot.id=2 -O raw a.qcow2 four.raw",
    "convert -l snapshot.id=2,snapshot.name=two -O raw a.qcow2 five.raw",
    "convert -l snapshot.id=1,snapshot.name=two -O raw a.qcow2 six.raw",
    "convert -l nope -O raw a.qcow2 six.raw",
    "convert -l snapshot.what=1 -O raw a.qcow2 six.raw",
    "convert -l one -O raw a.qcow2 a.qcow2 six.raw",
    "convert -l one -O raw one.raw six.raw",
    "measure -l one -O qcow2 a.qcow2",
    "measure -l two -O raw a.qcow2",
    "measure -l nope -O raw a.qcow2",
    "measure -l x -O raw one.raw",
    "~convert -O qcow2 a.qcow2 b.qcow2",
    "snapshot -l b.qcow2",
  ],
};

const shapes: Readonly<Record<string, string>> = {
  "version 2": "compat=0.10",
  "small clusters": "cluster_size=512",
  "clusters of 4k, refcounts of 8 bits": "cluster_size=4k,refcount_bits=8",
  "refcounts of 64 bits": "refcount_bits=64",
  "large clusters": "cluster_size=2M",
  "extended L2": "extended_l2=on,cluster_size=16k",
  "preallocated metadata": "preallocation=metadata",
  zstd: "compression_type=zstd",
};

describe.skipIf(!hasPeer)("snapshot, beside qemu-img", () => {
  for (const [name, script] of Object.entries(scripts)) {
    it(name, () => expectSideBySide(script, { mask }), 120_000);
  }

  for (const [name, options] of Object.entries(shapes)) {
    it(`images with ${name}`, async () => {
      await expectSideBySide(
        [
          `create -q -f qcow2 -o ${options} a.qcow2 9M`,
          "io a.qcow2 write -P 1 0 1M; write -P 2 4100k 300k",
          "snapshot -c one a.qcow2",
          "io a.qcow2 write -P 3 100k 700k; write -P 4 8M 1M; discard 4M 256k",
          "snapshot -c two a.qcow2",
          "io a.qcow2 write -P 5 0 64k; write -z 4100k 100k; write -P 6 5M 3k",
          "check a.qcow2",
          "snapshot -c three a.qcow2",
          "snapshot -d two a.qcow2",
          "check a.qcow2",
          "snapshot -a one a.qcow2",
          "io a.qcow2 write -P 7 512k 64k",
          "snapshot -a three a.qcow2",
          "check a.qcow2",
          "snapshot -d one a.qcow2",
          "snapshot -d three a.qcow2",
          "check a.qcow2",
        ],
        { mask },
      );
    }, 120_000);
  }
});
