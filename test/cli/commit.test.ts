/** `commit` beside `qemu-img commit`: words, exit codes, and all bytes of all files. */
import { describe, expect, it } from "vitest";
import { hasPeer, run } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** QEMU prints how far it is more or less often. */
const mask = (text: string): string => text.replaceAll(/ {4}\([\d.]+\/100%\)\r/g, "");

const chain = [
  "create -q -f qcow2 base.q 8M",
  "io base.q write -P 1 0 300k; write -P 2 5M 200k",
  "create -q -f qcow2 -b base.q -F qcow2 mid.q",
  "io mid.q write -P 3 100k 64k; write -z 5M 64k",
  "create -q -f qcow2 -b mid.q -F qcow2 top.q",
  "io top.q write -P 4 1M 1000k; write -z 128k 64k; write -P 5 5200k 10k",
];

describe.skipIf(!hasPeer)("commit", () => {
  it.each([
    "commit",
    "commit a b",
    "commit nope",
    "commit base.q",
    "commit -b nope top.q",
    "commit -b top.q top.q",
    "commit -t foo top.q",
    "commit -t none top.q",
    "commit -t writethrough top.q",
    "commit -r x top.q",
    "commit -r 100M top.q",
    "commit -q top.q",
    "commit -p top.q",
    "commit -d top.q",
    "commit -b base.q top.q",
    "commit -b base.q mid.q",
    "commit -b ./base.q top.q",
    "commit -b base.q -d top.q",
    "commit -f qcow2 top.q",
    "commit -f raw top.q",
    "commit --image-opts driver=qcow2,file.filename=top.q",
    "commit --image-opts -f qcow2 top.q",
    "commit --foo top.q",
  ])("%s", async (line) => {
    await expectSideBySide(
      // Clusters that the commit frees in the base are taken again at once there, and later here.
      [...chain, `~${line}`, "check -q top.q", "check -q mid.q", "check -q base.q"],
      { mask },
    );
  });

  const bases = [
    "-f raw",
    "-f qcow2",
    "-f qcow2 -o compat=0.10",
    "-f qcow2 -o cluster_size=512",
    "-f qcow2 -o cluster_size=4k",
    "-f qcow2 -o cluster_size=1M",
    "-f qcow2 -o extended_l2=on",
    "-f qcow2 -o preallocation=metadata",
  ];
  const overlays = ["", "-o cluster_size=4k", "-o cluster_size=2M", "-o extended_l2=on"];
  for (const base of bases) {
    for (const overlay of overlays) {
      it(`from "${overlay}" into "${base}"`, async () => {
        const format = base.includes("raw") ? "raw" : "qcow2";
        await expectSideBySide([
          `create -q ${base} base 6M`,
          `io base write -P 1 0 300k; write -P 2 5M 200k`,
          `create -q -f qcow2 ${overlay} -b base -F ${format} top 9M`.replaceAll("  ", " "),
          "io top write -P 3 100k 64k; write -P 4 3M 1500k; write -z 5M 64k; write -P 5 8M 64k",
          // From here on guests see the same; where QEMU puts it depends on what is in flight.
          "~commit top",
          "check -q top",
          "io top write -P 6 0 64k; read -P 4 3M 1500k",
          "commit top",
        ]);
      });
    }
  }

  it("of an overlay with compressed clusters, and of one that is smaller", async () => {
    await expectSideBySide([
      "create -q -f qcow2 base 6M",
      "io base write -P 1 0 6M",
      "create -q -f qcow2 -b base -F qcow2 top 2M",
      "io top write -c -P 3 0 64k; write -c -P 4 1M 64k",
      "~commit top",
      "check -q top",
      "io base read -P 3 0 64k; read -P 1 2M 4M",
    ]);
  });
});

describe("platter commit", () => {
  it("says where everything is now", async () => {
    const commit = async ({ name }: { readonly name: string }) => ({
      filename: name,
      base: "base.qcow2",
      size: 2 ** 30,
      emptied: true,
    });
    const { stdout } = await run("platter", ["commit", "top.qcow2"], { commit });
    expect(stdout).toBe("base.qcow2 holds it all now, 1 GiB; top.qcow2 is empty\n");
    const json = await run("platter", ["commit", "--json", "top.qcow2"], { commit });
    expect(JSON.parse(json.stdout)).toMatchObject({ base: "base.qcow2", emptied: true });
  });
});
