/** `rebase -c`, which qemu-img 7.2 does not have: what is copied into the image is compressed. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { map, rebase } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { runOurs } from "./harness.ts";

const home = mkdtempSync(join(tmpdir(), "platter-rebase-c-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));
let count = 0;

describePeer(["qemu-img@7.2", "qemu-io"], "rebase -c", (qemuImg, qemuIo) => {
  const make = async (overlayOptions: string): Promise<string> => {
    const cwd = join(home, `case${count++}`);
    mkdirSync(cwd);
    const io = (file: string, ...commands: string[]) =>
      qemuIo.run([...commands.flatMap((command) => ["-c", command]), file], { cwd });
    await qemuImg.run(["create", "-q", "-f", "qcow2", "old.qcow2", "1M"], { cwd });
    await qemuImg.run(["create", "-q", "-f", "qcow2", "new.qcow2", "700k"], { cwd });
    await io("old.qcow2", "write -q -P 1 0 600k", "write -q -P 2 900k 30k");
    await io("new.qcow2", "write -q -P 1 0 200k", "write -q -P 3 640k 60k");
    const backing = ["-b", "old.qcow2", "-F", "qcow2", "-o", overlayOptions];
    await qemuImg.run(["create", "-q", "-f", "qcow2", ...backing, "top.qcow2", "1100k"], { cwd });
    await io("top.qcow2", "write -q -P 4 100k 20k", "write -q -z 300k 70k");
    await qemuImg.run(["convert", "-O", "raw", "top.qcow2", "before.raw"], { cwd });
    return cwd;
  };
  const compressed = async (file: string): Promise<number> => {
    let bytes = 0;
    for await (const entry of map({ name: file })) {
      if (entry.depth === 0 && entry.compressed) bytes += entry.length;
    }
    return bytes;
  };

  const cases = [
    ["cluster_size=65536", ["-b", "new.qcow2", "-F", "qcow2"]],
    ["cluster_size=65536", ["-b", ""]],
    ["cluster_size=4096,compression_type=zstd", ["-b", "new.qcow2", "-F", "qcow2"]],
    ["cluster_size=65536,extended_l2=on", ["-b", "new.qcow2", "-F", "qcow2"]],
    ["cluster_size=65536,extended_l2=on", ["-b", ""]],
    ["cluster_size=2M", ["-b", ""]],
  ] as const;
  it.each(cases)("%s %o: contents stay, and are compressed", async (options, backing) => {
    const cwd = await make(options);
    const file = join(cwd, "top.qcow2");
    const { code, stdout, stderr } = await runOurs(["rebase", "-c", ...backing, file]);
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: "", stderr: "" });
    await qemuImg.run(["check", "-q", "top.qcow2"], { cwd });
    await qemuImg.run(["compare", "before.raw", "top.qcow2"], { cwd });
    // In a cluster of 2 MiB, everything shares the one that the image has already.
    if (options !== "cluster_size=2M") expect(await compressed(file)).toBeGreaterThan(200_000);
  });

  it("is refused where nothing can be compressed, and with -u", async () => {
    const cwd = await make("data_file=data.raw");
    const file = join(cwd, "top.qcow2");
    await expect(rebase({ name: file, compress: true }, {})).rejects.toMatchObject({
      code: "E_UNSUPPORTED",
    });
    await qemuImg.run(["compare", "before.raw", "top.qcow2"], { cwd });
    const { code, stderr } = await runOurs(["rebase", "-u", "-c", "-b", "", file]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: "qemu-img: Cannot use -c and -u together\n",
    });
  });
});
