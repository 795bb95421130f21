/** `measure` over random sizes, sources and option sets, beside qemu-img: equal to the byte. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, inject, it } from "vitest";
import { measure } from "../../src/index.ts";
import { formatServices } from "../../src/cli/format-services.ts";
import { describePeer } from "../peers.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-measure-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const sources = ["empty.q", "filled.q", "small.q", "old.q", "meta.q", "overlay.q", "some.raw"];

const optionSet = fc.record(
  {
    cluster_size: fc.constantFrom("512", "4k", "16k", "64k", "256k", "2M"),
    refcount_bits: fc.constantFrom("1", "2", "4", "8", "16", "32", "64"),
    extended_l2: fc.constantFrom("on", "off"),
    preallocation: fc.constantFrom("off", "metadata", "falloc", "full"),
    compat: fc.constantFrom("0.10", "1.1", "v2", "v3"),
    backing_file: fc.constant("base"),
    lazy_refcounts: fc.constantFrom("on", "off"),
    compression_type: fc.constantFrom("zlib", "zstd"),
    data_file: fc.constant("data"),
  },
  { requiredKeys: [] },
);

const sizes = fc.oneof(
  fc.nat(10_000_000),
  fc.nat(2 ** 31 - 1).map((n) => n * 4096),
  fc.constantFrom(0, 1, 512, 65_536, 2 ** 30, 2 ** 40, 2 ** 46),
);

const what = fc.oneof(
  sizes.map((size) => ({ size, source: undefined })),
  fc.constantFrom(...sources).map((source) => ({ size: undefined, source })),
);

describePeer("qemu-img@7.2", "measure, to the byte", (qemuImg) => {
  it("of random sets of options", async () => {
    const at = (name: string): string => join(directory, name);
    const run = (line: string) => qemuImg.run(line.split(" "), { cwd: directory });
    await run("create -f qcow2 empty.q 100M");
    await run("create -f qcow2 -o cluster_size=4k small.q 10M");
    await run("create -f qcow2 -o compat=0.10 old.q 10M");
    await run("create -f qcow2 -o preallocation=metadata meta.q 10M");
    await run("create -f raw some.raw 5M");
    await run("bench -w -f raw -c 7 -s 3000 -S 600k some.raw");
    await run("bench -w -f qcow2 -c 9 -s 5000 -S 333k small.q");
    await run("bench -w -f qcow2 -c 50 -s 5000 -S 1333k empty.q");
    await run("convert -c -O qcow2 small.q filled.q");
    await run("create -f qcow2 -b small.q -F qcow2 overlay.q");
    await run("bench -w -f qcow2 -c 3 -s 70000 -o 1M -S 2M overlay.q");

    const property = async (
      set: Readonly<Record<string, string | undefined>>,
      { size, source }: { size: number | undefined; source: string | undefined },
    ): Promise<void> => {
      const pairs = Object.entries(set).map(([key, value]) => [key, String(value)] as const);
      const list = pairs.map(([key, value]) => `${key}=${value}`).join(",");
      const options = list === "" ? [] : ["-o", list];
      const subject = source === undefined ? ["--size", String(size)] : [at(source)];
      const theirs = await qemuImg.attempt(
        ["measure", "--output=json", "-O", "qcow2", ...options, ...subject],
        {},
      );
      const ours = await measure({
        targetFormat: "qcow2",
        targetOptions: formatServices.parse("qcow2", pairs),
        ...(source === undefined ? { size } : { source: { name: at(source) } }),
      }).then(
        ({ required, fullyAllocated, bitmaps }) => ({
          required,
          "fully-allocated": fullyAllocated,
          ...(bitmaps !== undefined && { bitmaps }),
        }),
        (error: { details: { qemu: string } }) => `qemu-img: ${error.details.qemu}\n`,
      );
      const expected: unknown = theirs.status === 0 ? JSON.parse(theirs.stdout) : theirs.stderr;
      expect(ours).toEqual(expected);
    };
    await fc.assert(fc.asyncProperty(optionSet, what, property), {
      numRuns: 250 * inject("effort"),
    });
  });
});
