/** `rebase` beside `qemu-img rebase`: words, exit codes, and all bytes of all files. */
import { describe, expect, it } from "vitest";
import { hasPeer, run } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** QEMU prints how far it is more or less often. */
const mask = (text: string): string => text.replaceAll(/ {4}\([\d.]+\/100%\)\r/g, "");

const chain = [
  "create -q -f qcow2 base.q 8M",
  "io base.q write -P 1 0 300k; write -P 2 5M 200k",
  "create -q -f raw other.r 6M",
  "io other.r write -P 1 0 200k; write -P 7 2M 100k; write -P 2 5M 100k",
  "create -q -f qcow2 -b base.q -F qcow2 mid.q 9M",
  "io mid.q write -P 3 100k 64k; write -z 5M 64k; write -P 8 8900k 20k",
  "create -q -f qcow2 -b mid.q -F qcow2 top.q 10M",
  "io top.q write -P 4 1M 100k; write -P 5 5200k 10k",
];

const long = "x".repeat(1100);

describe.skipIf(!hasPeer)("rebase", () => {
  it.each([
    "rebase",
    "rebase a b",
    "rebase top.q",
    "rebase nope",
    "rebase -u nope",
    "rebase -b base.q -F qcow2 nope",
    "rebase -b nope -F raw top.q",
    "rebase -b base.q top.q",
    "rebase -u -b base.q top.q",
    "rebase -b base.q -F foo top.q",
    "rebase -b base.q -F qcow2 top.q",
    "rebase -b ./base.q -F qcow2 top.q",
    "rebase -b mid.q -F qcow2 top.q",
    "rebase -b other.r -F raw top.q",
    "rebase -b other.r -F raw mid.q",
    "rebase -p -b other.r -F raw top.q",
    "rebase -q -b other.r -F raw top.q",
    "rebase -b '' top.q",
    "rebase -b '' base.q",
    "rebase -b other.r -F raw base.q",
    "rebase -u -b nope -F raw top.q",
    "rebase -u -b other.r -F raw top.q",
    "rebase -u -b '' top.q",
    "rebase -u top.q",
    "rebase -u -F raw top.q",
    `rebase -u -b ${long} -F raw top.q`,
    "rebase -f qcow2 -b other.r -F raw top.q",
    "rebase -f raw -b base.q -F qcow2 other.r",
    "rebase -t foo -b base.q -F qcow2 top.q",
    "rebase -T foo -b base.q -F qcow2 top.q",
    "rebase -t none -T none -b other.r -F raw top.q",
    "rebase -U -u -b base.q -F qcow2 top.q",
    "rebase --image-opts -u -b base.q -F qcow2 driver=qcow2,file.filename=top.q",
    "rebase --image-opts -f qcow2 -b base.q -F qcow2 top.q",
    "rebase --foo top.q",
  ])("%s", async (line) => {
    await expectSideBySide([...chain, line, "info --output=json top.q", "check -q top.q"], {
      mask: (text) => mask(text).replaceAll(/"actual-size": \d+/g, ""),
    });
  });

  const overlays = [
    "cluster_size=64k",
    "cluster_size=64k,compat=0.10",
    "cluster_size=512",
    "cluster_size=4k",
    "cluster_size=1M",
    "extended_l2=on",
  ];
  for (const overlay of overlays) {
    it.each([
      ["a longer one", "-f raw", 9],
      ["a shorter one", "-f raw", 3],
      ["a qcow2 image", "-f qcow2 -o cluster_size=4k", 6],
    ])(`from base to %s, with ${overlay}`, async (_title, options, size) => {
      const format = options.includes("raw") ? "raw" : "qcow2";
      await expectSideBySide([
        "create -q -f qcow2 base 6M",
        "io base write -P 1 0 300k; write -P 2 5M 200k; write -P 3 5900k 100k",
        `create -q ${options} other ${size}M`,
        `io other write -P 1 0 200k; write -P 4 1M 300k; write -P 5 ${size - 1}M 1M`,
        `create -q -f qcow2 -o ${overlay} -b base -F qcow2 top 8M`,
        "io top write -P 6 100k 64k; write -P 7 3M 100k",
        `rebase -b other -F ${format} top`,
        "check -q top",
        "rebase -b base -F qcow2 top",
        // With tiny clusters the new refcount blocks come to lie elsewhere.
        `${overlay === "cluster_size=512" ? "~" : ""}rebase -b '' top`,
        "check -q top",
      ]);
    });
  }

  it("finds a header too small for the name", async () => {
    await expectSideBySide([
      "create -q -f qcow2 -o cluster_size=512 s.q 1M",
      `rebase -u -b ${"x".repeat(500)} -F raw s.q`,
      "check -q s.q",
    ]);
  });
});

describe("platter rebase", () => {
  it("says what it is based on now", async () => {
    const rebase = async ({ name }: { readonly name: string }) => ({
      filename: name,
      backing: { name: "new.q", format: "qcow2" },
      copied: 2 ** 20,
    });
    const words = ["rebase", "-b", "new.q", "-F", "qcow2", "top.q"];
    const { stdout } = await run("platter", words, { rebase });
    expect(stdout).toBe("top.q is based on new.q now; 1 MiB copied into it\n");
    const json = await run("platter", [...words, "--json"], { rebase });
    expect(JSON.parse(json.stdout)).toMatchObject({ copied: 2 ** 20 });
  });
});
