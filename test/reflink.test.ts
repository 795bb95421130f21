/** `convert --reflink` on a real filesystem that shares blocks: XFS in a file. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, statfsSync, truncateSync, writeFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it, test } from "vitest";
import { runOurs } from "./cli/harness.ts";
import { describePeer } from "./peers.ts";

const MiB = 2 ** 20;

const directory = mkdtempSync(join(tmpdir(), "platter-reflink-"));
const mountPoint = join(directory, "mnt");
const run = (program: string, ...words: string[]): boolean =>
  spawnSync(program, words, { stdio: "ignore" }).status === 0;

/** Only root may mount, and not in every container. */
function mountXfs(): boolean {
  const file = join(directory, "xfs.img");
  writeFileSync(file, "");
  truncateSync(file, 320 * MiB);
  mkdirSync(mountPoint);
  return (
    run("mkfs.xfs", "-q", "-m", "reflink=1", file) && run("mount", "-o", "loop", file, mountPoint)
  );
}

/** Space that is used, once what is on its way has arrived. */
function used(): number {
  run("sync", "-f", mountPoint);
  const { blocks, bfree, bsize } = statfsSync(mountPoint);
  return (blocks - bfree) * bsize;
}

describePeer(["qemu-img", "mkfs.xfs", "mount"], "convert --reflink", (qemuImg) => {
  const isMounted = mountXfs();
  afterAll(() => {
    if (isMounted) run("umount", mountPoint);
    rmSync(directory, { recursive: true });
  });
  if (!isMounted) {
    test.skip("a filesystem in a file cannot be mounted here", () => undefined);
    return;
  }
  const at = (name: string): string => join(mountPoint, name);
  writeFileSync(at("a.raw"), randomBytes(24 * MiB));
  truncateSync(at("a.raw"), 64 * MiB);
  run("qemu-img", "convert", "-O", "qcow2", at("a.raw"), at("a.qcow2"));
  writeFileSync(at("text.raw"), "compressible ".repeat(MiB));
  run("qemu-img", "convert", "-c", "-O", "qcow2", at("text.raw"), at("packed.qcow2"));

  it.each([
    ["a.raw", "raw"],
    ["a.raw", "qcow2"],
    ["a.qcow2", "raw"],
    ["a.qcow2", "qcow2"],
  ])("of %s to %s takes no space", async (source, format) => {
    const target = at(`${source}.${format}`);
    const before = used();
    const line = ["convert", "--reflink=always", "-O", format, at(source), target];
    expect(await runOurs(line, { program: "platter" })).toMatchObject({ code: 0 });
    expect(used() - before).toBeLessThan(2 * MiB);
    await qemuImg.run(["compare", at(source), target]);
    if (format === "qcow2") await qemuImg.run(["check", target]);
  });

  it("says what cannot be shared, or copies it", async () => {
    const line = ["-O", "raw", at("packed.qcow2"), at("new.raw")];
    expect(
      await runOurs(["convert", "--reflink=always", ...line], { program: "platter" }),
    ).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^platter: .*cannot be shared with the source.*\n$/) as string,
    });
    expect(
      await runOurs(["convert", "--reflink=auto", ...line], { program: "platter" }),
    ).toMatchObject({ code: 0 });
    await qemuImg.run(["compare", at("text.raw"), at("new.raw")]);
  });
});
