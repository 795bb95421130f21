/** External data files through the library, beside QEMU: resizing, writing both ways, locks, names. */
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { create, open, type Preallocation } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { KiB, MiB, errorOf, expectSameView, fileDifference, temporaryDirectory } from "./kit.ts";

const directory = temporaryDirectory();
const follow = { references: "follow", writable: true } as const;

describePeer(["qemu-img@7.2", "qemu-io"], "external data files", (qemuImg, qemuIo) => {
  /** Two directories, in which the same is done. */
  const pair = (name: string): { readonly ours: string; readonly theirs: string } => {
    const ours = join(directory, name, "ours");
    const theirs = join(directory, name, "theirs");
    for (const side of [ours, theirs]) mkdirSync(side, { recursive: true });
    return { ours, theirs };
  };

  async function expectSameFiles(
    { ours, theirs }: ReturnType<typeof pair>,
    after = "",
  ): Promise<void> {
    for (const file of ["a.qcow2", "d.raw"]) {
      expect(
        await fileDifference(join(ours, file), join(theirs, file)),
        `${file} ${after}`,
      ).toBeUndefined();
    }
  }

  type Step = readonly [size: number, mode: Preallocation];
  const grown: Step[] = [
    [3 * MiB, "off"],
    [5 * MiB + 512, "metadata"],
    [6 * MiB, "falloc"],
    [7 * MiB + 64 * KiB, "full"],
    [2 * MiB + 1024, "off"],
    [100 * KiB, "off"],
    [4 * MiB, "off"],
  ];
  test.each([
    ["64 KiB", 65_536, false],
    ["512 bytes", 512, false],
    ["64 KiB, raw", 65_536, true],
    ["4 KiB, raw", 4096, true],
  ])("resizing as qemu-img does, byte for byte: clusters of %s", async (name, cluster, raw) => {
    const sides = pair(`resize ${name}`);
    const values = { data_file: "d.raw", data_file_raw: raw, cluster_size: cluster };
    await create({
      name: join(sides.ours, "a.qcow2"),
      format: "qcow2",
      size: MiB,
      formatOptions: values,
    });
    const options = `data_file=d.raw,data_file_raw=${raw ? "on" : "off"},cluster_size=${cluster}`;
    await qemuImg.run(["create", "-f", "qcow2", "-o", options, "a.qcow2", "1M"], {
      cwd: sides.theirs,
    });
    for (const cwd of [sides.ours, sides.theirs]) {
      const writes = ["-c", "write -P 1 0 100k", "-c", "write -P 2 700k 324k"];
      await qemuIo.run([...writes, "a.qcow2"], { cwd });
    }
    let exact = true;
    for (const [size, preallocation] of grown) {
      const shrinks = size < statSync(join(sides.theirs, "d.raw")).size;
      const line = ["resize", ...(shrinks ? ["--shrink"] : []), `--preallocation=${preallocation}`];
      await qemuImg.run([...line, "a.qcow2", String(size)], { cwd: sides.theirs });
      const disk = await open(join(sides.ours, "a.qcow2"), follow);
      await disk.resize(size, { preallocation });
      await disk.close();
      const found = statSync(join(sides.ours, "d.raw")).size;
      expect(found, `data file after resizing to ${size}`).toBe(
        statSync(join(sides.theirs, "d.raw")).size,
      );
      await qemuImg.run(["check", "a.qcow2"], { cwd: sides.ours });
      const { stdout } = await qemuImg.run(["map", "--output=json", "a.qcow2"], {
        cwd: sides.ours,
      });
      const theirs = await qemuImg.run(["map", "--output=json", "a.qcow2"], { cwd: sides.theirs });
      expect(JSON.parse(stdout)).toEqual(JSON.parse(theirs.stdout));
      // Where clusters that shrinking has freed are used again is another matter.
      exact &&= !shrinks || cluster > 512;
      if (exact) await expectSameFiles(sides, `after resizing to ${size}, ${preallocation}`);
    }
  });

  test.each([false, true])("the same guest writes make the same files: raw %s", async (raw) => {
    const sides = pair(`writes ${raw}`);
    const options = `data_file=d.raw,data_file_raw=${raw ? "on" : "off"}`;
    for (const cwd of [sides.ours, sides.theirs]) {
      await qemuImg.run(["create", "-f", "qcow2", "-o", options, "a.qcow2", "4195328"], { cwd });
    }
    const commands = [
      "write -P 1 0 64k",
      "write -P 2 100k 200k",
      "write -P 3 3000k 10k",
      "write -P 4 4194304 1024",
      "write -z 0 64k",
      "write -z -u 128k 64k",
      "write -z 192k 128k",
      "write -P 5 10k 300k",
      "discard 256k 64k",
    ];
    await qemuIo.run([...commands.flatMap((one) => ["-c", one]), "-d", "unmap", "a.qcow2"], {
      cwd: sides.theirs,
    });
    const disk = await open(join(sides.ours, "a.qcow2"), follow);
    const fill = (at: number, length: number, byte: number) =>
      disk.write(at, new Uint8Array(length).fill(byte));
    await fill(0, 64 * KiB, 1);
    await fill(100 * KiB, 200 * KiB, 2);
    await fill(3000 * KiB, 10 * KiB, 3);
    await fill(4 * MiB, 1024, 4);
    await disk.writeZeroes(0, 64 * KiB, { unmap: false });
    await disk.writeZeroes(128 * KiB, 64 * KiB, { unmap: true });
    await disk.writeZeroes(192 * KiB, 128 * KiB, { unmap: false });
    await fill(10 * KiB, 300 * KiB, 5);
    await disk.discard(256 * KiB, 64 * KiB);
    await disk.close();
    await expectSameFiles(sides);
    process.chdir(sides.ours);
    try {
      await expectSameView(qemuImg, "a.qcow2");
    } finally {
      process.chdir("/");
    }
  });

  test("over a backing image, with subclusters", async () => {
    const { ours } = pair("overlay");
    const cwd = ours;
    await qemuImg.run(["create", "-f", "raw", "b.raw", "1M"], { cwd });
    await qemuIo.run(["-f", "raw", "-c", "write -P 9 0 1M", "b.raw"], { cwd });
    const options = "data_file=d.raw,extended_l2=on,cluster_size=128k";
    const line = ["create", "-f", "qcow2", "-b", "b.raw", "-F", "raw", "-o", options, "a.qcow2"];
    await qemuImg.run(line, { cwd });
    const disk = await open(join(cwd, "a.qcow2"), follow);
    await disk.write(5000, new Uint8Array(3000).fill(1));
    await disk.write(300 * KiB, new Uint8Array(100 * KiB).fill(2));
    await disk.discard(256 * KiB, 128 * KiB);
    await disk.writeZeroes(700 * KiB, 8 * KiB);
    const expected = new Uint8Array(MiB);
    await disk.read(0, expected);
    await disk.close();
    expect([expected[4999], expected[5000], expected[8000], expected[300 * KiB]]).toEqual([
      9, 1, 9, 0,
    ]);
    await qemuImg.run(["check", "a.qcow2"], { cwd });
    await qemuImg.run(["convert", "-O", "raw", "a.qcow2", "out.raw"], { cwd });
    expect(Buffer.compare(readFileSync(join(cwd, "out.raw")), expected)).toBe(0);
  });

  test("the data file is locked as the image is", async () => {
    const { ours } = pair("locks");
    const image = join(ours, "a.qcow2");
    await create({
      name: image,
      format: "qcow2",
      size: MiB,
      formatOptions: { data_file: "d.raw" },
    });
    const disk = await open(image, follow);
    const refused = await qemuIo.attempt(["-f", "raw", "-c", "write 0 512", "d.raw"], {
      cwd: ours,
    });
    expect(refused.stderr).toContain('Failed to get "write" lock');
    expect((await errorOf(open(join(ours, "d.raw"), { writable: true }))).code).toBe("E_LOCKED");
    await disk.close();
    await qemuIo.run(["-f", "raw", "-c", "write 0 512", "d.raw"], { cwd: ours });
    const reader = await open(image, { references: "follow" });
    expect((await errorOf(open(image, follow))).code).toBe("E_LOCKED");
    const shared = await qemuIo.attempt(["-f", "raw", "-c", "write 0 512", "d.raw"], { cwd: ours });
    expect(shared.stderr).toContain("lock");
    await reader.close();
  });
});
