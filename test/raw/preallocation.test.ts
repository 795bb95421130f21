/** What raw preallocation takes up, beside qemu-img. */
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { create } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { KiB, MiB, allocated, errorOf, fileDifference, temporaryDirectory } from "../qcow2/kit.ts";

describePeer("qemu-img@7.2", "raw preallocation beside qemu-img", (qemuImg) => {
  const directory = temporaryDirectory();
  const [ours, theirs] = [join(directory, "ours"), join(directory, "theirs")];
  const sizes = [0, 512, 4096, MiB + 512, 16 * MiB];

  it.each(["off", "falloc", "full"])(
    "preallocation=%s: length and space",
    async (preallocation) => {
      for (const size of sizes) {
        const told = `preallocation=${preallocation}`;
        await qemuImg.run(["create", "-q", "-f", "raw", "-o", told, theirs, String(size)]);
        await create({ name: ours, format: "raw", size, formatOptions: { preallocation } });
        expect(await fileDifference(ours, theirs)).toBeUndefined();
        // Where the filesystem keeps its own tables is not ours to say.
        const difference = Math.abs(allocated(ours) - allocated(theirs));
        expect(difference, `${told} size=${size}`).toBeLessThanOrEqual(8 * KiB);
        rmSync(ours);
        rmSync(theirs);
      }
    },
  );

  it("preallocation=metadata is refused in QEMU's words, and nothing is made", async () => {
    const told = ["-o", "preallocation=metadata"];
    const { stderr } = await qemuImg.attempt(["create", "-q", "-f", "raw", ...told, ours, "1M"]);
    // qemu-img leaves an empty file behind.
    rmSync(ours, { force: true });
    const formatOptions = { preallocation: "metadata" };
    const error = await errorOf(create({ name: ours, format: "raw", size: MiB, formatOptions }));
    expect(`qemu-img: ${error.details.qemu}`).toBe(stderr.trimEnd());
    expect(() => statSync(ours)).toThrow("ENOENT");
  });
});
