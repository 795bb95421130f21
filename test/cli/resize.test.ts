/** `resize` beside `qemu-img resize`. */
import { describe, expect, it } from "vitest";
import { hasPeer, run } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

describe.skipIf(!hasPeer)("resize", () => {
  it.each([
    "resize",
    "resize x.q",
    "resize -q",
    "resize -q 1M",
    "resize x.q 1M 2M",
    "resize x.q foo",
    "resize x.q +",
    "resize x.q -",
    "resize x.q ''",
    "resize x.q +-1M",
    "resize x.q 99999999999999999999",
    "resize x.q 0",
    "resize x.q +0",
    "resize --shrink x.q -100M",
    "resize --shrink x.q 0",
    "resize x.q 1M",
    "resize x.q -1M",
    "resize x.q 1000",
    "resize x.q +1",
    "resize --preallocation=foo x.q 20M",
    "resize --preallocation=metadata x.q 10M",
    "resize --preallocation=metadata x.q 1M",
    "resize --shrink --preallocation=falloc x.q 1M",
    "resize -f raw --preallocation=metadata x.r 20M",
    "resize x.q 1E",
    "resize nope 1M",
    "resize -f nope x.q 1M",
    "resize -f qcow2 x.r 1M",
    "resize --image-opts driver=qcow2,file.filename=x.q 20M",
    "resize --image-opts -f qcow2 x 20M",
    "resize --object secret,id=a,data=b x.q 20M",
    "resize x.r 20M",
    "resize -f raw x.r 20M",
    "resize -f raw --preallocation=falloc x.r 20M",
    "resize -f raw --preallocation=full x.r 11M",
    "resize -f raw --shrink x.r 1000",
    "resize -f raw x.r +24",
    "resize -f raw x.r 5M",
    "resize -q x.q 20M",
    "resize --foo x.q 20M",
  ])("%s", async (line) => {
    await expectSideBySide([
      "create -q -f qcow2 x.q 10M",
      "create -q -f raw x.r 10M",
      "io x.q write -P 1 0 200k; write -P 2 9M 64k",
      line,
    ]);
  });

  const layouts = [
    "cluster_size=64k",
    "cluster_size=512",
    "cluster_size=4k,refcount_bits=1",
    "cluster_size=2M,refcount_bits=64",
    "cluster_size=64k,compat=0.10",
    "cluster_size=64k,extended_l2=on",
  ];
  for (const layout of layouts) {
    it(`grows ${layout} to the same bytes`, async () => {
      await expectSideBySide([
        `create -q -f qcow2 -o ${layout} x.q 3000k`,
        "io x.q write -P 1 0 200k; write -P 2 2990k 10k",
        "resize x.q 10M",
        "io x.q write -P 3 9M 64k",
        "resize x.q +100M",
        "resize x.q +512",
        "check x.q",
      ]);
    });

    it.each(["metadata", "falloc", "full"])(
      `grows ${layout} with preallocation=%s`,
      async (mode) => {
        await expectSideBySide([
          `create -q -f qcow2 -o ${layout} x.q 4M`,
          "io x.q write -P 1 0 200k",
          `resize --preallocation=${mode} x.q 10M`,
          "io x.q write -P 3 9M 64k",
          `resize --preallocation=${mode} x.q +6M`,
          // The cluster that the old end cuts through stays where it is here, and moves there.
          "~resize x.q +1000k",
          `~resize --preallocation=${mode} x.q +6M`,
          "check -q x.q",
        ]);
      },
    );

    it(`shrinks ${layout} to the same bytes`, async () => {
      await expectSideBySide([
        `create -q -f qcow2 -o ${layout} x.q 40M`,
        "io x.q write -P 1 0 200k; write -P 2 10M 1M; write -P 3 30M 1M; write -P 4 39M 1M",
        "resize --shrink x.q 36M",
        "resize --shrink x.q 12M",
        "resize --shrink x.q 2M",
        "resize x.q 20M",
        "io x.q write -P 5 3M 300k",
        "check x.q",
      ]);
    });
  }

  it("has a backing file's data not show in what is added", async () => {
    await expectSideBySide([
      "create -q -f raw base.r 8M",
      "io base.r write -P 9 0 8M",
      "create -q -f qcow2 -b base.r -F raw x.q 3M",
      "io x.q write -P 1 1M 64k",
      "resize x.q 6M",
      "resize x.q 20M",
      "io x.q read -P 0 3M 5M",
    ]);
  });
});

describe("platter resize", () => {
  it("says what was and what is, and refuses to delete unasked", async () => {
    const resize = async ({ name }: { readonly name: string }) => ({
      filename: name,
      format: "qcow2",
      oldSize: 2 ** 30,
      newSize: 2 ** 31,
    });
    const { stdout, code } = await run("platter", ["resize", "x", "+1G"], { resize });
    expect({ stdout, code }).toEqual({ stdout: "x: 1 GiB, now 2 GiB\n", code: 0 });
    const json = await run("platter", ["resize", "--json", "x", "2G"], { resize });
    expect(JSON.parse(json.stdout)).toEqual({
      filename: "x",
      format: "qcow2",
      "old-size": 2 ** 30,
      "virtual-size": 2 ** 31,
    });
    const wrong = await run("platter", ["resize", "x", "huge"], { resize });
    expect(wrong).toMatchObject({ code: 1, stdout: "" });
    expect(wrong.stderr).toContain('"huge" is no size: say 20G, +10G or -1M.');
  });
});
