/**
 * Two programs at one image: what a running qemu-storage-daemon holds for writing is refused by us in
 * QEMU's words, and what we hold is refused by QEMU's programs.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { PlatterError, check, compare, convert, info, map, open } from "../src/index.ts";
import { describePeer, type Outcome, type Peer, type RunningPeer } from "./peers.ts";

const MiB = 1024 * 1024;

const directory = mkdtempSync(join(tmpdir(), "platter-daemon-"));
const ours = join(directory, "bin-qemu-img", "qemu-img");
const path = (name: string): string => join(directory, name);
afterAll(() => rmSync(directory, { recursive: true }));

/** Our program under the name qemu-img. */
function runOurs(words: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(process.execPath, [ours, ...words], {
    encoding: "utf8",
    cwd: directory,
    timeout: 60_000,
  });
  return { status, stdout, stderr };
}

/** A daemon that has the image open for writing, behind an NBD export; up when this resolves. */
async function hold(daemon: Peer, image: string): Promise<RunningPeer> {
  const args = [
    ["--blockdev", `driver=file,node-name=file,filename=${image}`],
    ["--blockdev", "driver=qcow2,node-name=disk,file=file"],
    ["--nbd-server", `addr.type=unix,addr.path=${path("nbd.sock")}`],
    ["--export", "type=nbd,id=export,node-name=disk,writable=on"],
    ["--chardev", "stdio,id=monitor"],
    ["--monitor", "chardev=monitor"],
  ];
  const running = daemon.start(args.flat(), { cwd: directory });
  let said = "";
  running.process.stderr?.on("data", (text: Buffer) => (said += text.toString()));
  // The monitor greets when everything before it on the command line has been done.
  const greeting = once(running.process.stdout!, "data");
  const end = once(running.process, "exit").then(() => {
    throw new Error(`qemu-storage-daemon ended: ${said}`);
  });
  end.catch(() => undefined);
  await Promise.race([greeting, end]);
  return running;
}

/** QEMU's words of the E_LOCKED that `task` ends with. */
async function refusal(task: () => Promise<unknown>): Promise<string | undefined> {
  try {
    await task();
  } catch (error) {
    if (error instanceof PlatterError && error.code === "E_LOCKED") return error.details.qemu;
    throw error;
  }
  return undefined;
}

const hint = (image: string): string => `Is another process using the image [${image}]?`;

describePeer(
  ["qemu-storage-daemon@7.2", "qemu-img@7.2", "qemu-io@7.2"],
  "an image that somebody has open for writing",
  (daemon, qemuImg, qemuIo) => {
    const image = path("disk.qcow2");
    const other = path("other.qcow2");

    beforeAll(async () => {
      const bin = join(directory, "bin-qemu-img");
      await mkdir(bin);
      symlinkSync(resolve("bin/platter.js"), ours);
      for (const name of [image, other]) {
        await qemuImg.run(["create", "-q", "-f", "qcow2", name, "8M"]);
        await qemuIo.run(["-c", "write -P 7 1M 1M", name]);
      }
    });

    describe("qemu-storage-daemon has it", () => {
      let running: RunningPeer;
      beforeAll(async () => {
        running = await hold(daemon, image);
      });
      afterAll(() => running[Symbol.asyncDispose]());

      test("the library refuses to open it, to read and to write", async () => {
        expect(await refusal(() => open(image))).toBe(
          `Failed to get shared "write" lock\n${hint(image)}`,
        );
        expect(await refusal(() => open(image, { writable: true }))).toBe(
          `Failed to get "write" lock\n${hint(image)}`,
        );
      });

      test.each<[string, () => Promise<unknown>]>([
        ["info", () => info({ name: image })],
        ["check", () => check({ name: image })],
        ["compare", () => compare({ first: other, second: image })],
        [
          "convert",
          () => convert({ sources: [image], target: path("target"), targetFormat: "raw" }),
        ],
        ["map", () => map({ name: image }).next()],
      ])("the library's %s refuses", async (_, task) => {
        expect(await refusal(task)).toBe(
          `Could not open '${image}': Failed to get shared "write" lock\n${hint(image)}`,
        );
      });

      test.each([
        "info disk.qcow2",
        "info --output=json disk.qcow2",
        "check disk.qcow2",
        "map disk.qcow2",
        "compare disk.qcow2 other.qcow2",
        "compare other.qcow2 disk.qcow2",
        "convert -O raw disk.qcow2 target",
        "convert -O qcow2 other.qcow2 disk.qcow2",
        "convert -n -O qcow2 other.qcow2 disk.qcow2",
        "create -q -f qcow2 disk.qcow2 1M",
      ])("qemu-img %s: our program refuses in QEMU's words", async (line) => {
        const words = line.split(" ");
        const theirs = await qemuImg.attempt(words, { cwd: directory });
        expect(theirs.status).not.toBe(0);
        expect(theirs.stderr).toContain(hint("disk.qcow2"));
        expect(runOurs(words)).toEqual(theirs);
      });

      test("a refused target has not been touched", async () => {
        await using disk = await open(image, { lock: "shared" });
        const bytes = new Uint8Array(3);
        await disk.read(MiB - 1, bytes);
        expect(bytes).toEqual(new Uint8Array([0, 7, 7]));
        await expect(readFile(path("target"))).rejects.toThrow("ENOENT");
      });

      test.each([
        "info -U disk.qcow2",
        "check -U disk.qcow2",
        "map -U --output=json disk.qcow2",
        "compare -U other.qcow2 disk.qcow2",
      ])("qemu-img %s: works, and says what QEMU's does", async (line) => {
        const words = line.split(" ");
        const theirs = await qemuImg.run(words, { cwd: directory });
        expect(runOurs(words)).toEqual(theirs);
      });

      test("the library works when it may share", async () => {
        await convert({
          sources: [image],
          target: path("shared.raw"),
          targetFormat: "raw",
          shared: true,
        });
        const bytes = await readFile(path("shared.raw"));
        expect([bytes[MiB - 1], bytes[MiB], bytes[2 * MiB]]).toEqual([0, 7, 0]);
        expect(await check({ name: image, shared: true })).toMatchObject({ corruptions: 0 });
        expect(await info({ name: image, shared: true })).toMatchObject([{ format: "qcow2" }]);
      });
    });

    test("when the daemon has ended, we may", async () => {
      {
        await using running = await hold(daemon, image);
        expect(await refusal(() => open(image))).toBeDefined();
        expect(running.process.exitCode).toBeNull();
      }
      await using disk = await open(image, { writable: true });
      await disk.write(0, new Uint8Array([1]));
    });

    test("a daemon may not have what we have open for writing, until we close it", async () => {
      const disk = await open(image, { writable: true });
      await expect(hold(daemon, image)).rejects.toThrow('Failed to get "write" lock');
      await disk.close();
      await using running = await hold(daemon, image);
      expect(running.process.exitCode).toBeNull();
    });

    test.each<[string, boolean, () => Promise<Outcome>, string]>([
      ["info", true, () => qemuImg.attempt(["info", image]), 'shared "write"'],
      ["check", true, () => qemuImg.attempt(["check", image]), 'shared "write"'],
      ["resize", true, () => qemuImg.attempt(["resize", image, "16M"]), '"write"'],
      ["qemu-io", true, () => qemuIo.attempt(["-c", "write 0 512", image]), '"write"'],
      [
        "qemu-io -r",
        true,
        () => qemuIo.attempt(["-r", "-c", "read 0 512", image]),
        'shared "write"',
      ],
      ["resize", false, () => qemuImg.attempt(["resize", image, "16M"]), '"write"'],
      ["qemu-io", false, () => qemuIo.attempt(["-c", "write 0 512", image]), '"write"'],
    ])(
      "we have it: %s is refused, and works when we have closed it (writable: %s)",
      async (_, writable, attempt, lock) => {
        const disk = await open(image, { writable });
        const refused = await attempt();
        await disk.close();
        expect(refused.status).toBe(1);
        expect(refused.stdout + refused.stderr).toContain(
          `Failed to get ${lock} lock\n${hint(image)}`,
        );
        expect(await attempt()).toMatchObject({ status: 0, stderr: "" });
      },
    );

    test("what we convert into is ours alone, and no image before it is finished", async () => {
      const target = path("target.qcow2");
      const seen: string[] = [];
      const ask = (words: readonly string[]): void => {
        const { status, stderr } = spawnSync(qemuImg.path, words, { encoding: "utf8" });
        seen.push(`${status} ${stderr}`);
      };
      await convert(
        { sources: [other], target, targetFormat: "qcow2" },
        {
          onProgress({ done, total }) {
            if (done === total || seen.length > 0) return;
            ask(["check", target]);
            ask(["info", "-U", target]);
          },
        },
      );
      const could = `1 qemu-img: Could not open '${target}': `;
      expect(seen).toEqual([
        `${could}Failed to get shared "write" lock\n${hint(target)}\n`,
        `${could}Unsupported qcow2 feature(s): unfinished: still being written\n`,
      ]);
      await qemuImg.run(["check", "-q", target]);
    });

    test("a raw image, which QEMU locks by other rules", async () => {
      const raw = path("disk.raw");
      await writeFile(raw, new Uint8Array(MiB));
      const words = ["info", "-f", "raw", raw];
      const disk = await open(raw, { writable: true, format: "raw" });
      const described = await qemuImg.attempt(words);
      const refused = await qemuIo.attempt(["-f", "raw", "-c", "write 0 512", raw]);
      await disk.close();
      expect(described).toEqual(runOurs(words));
      expect(refused.stdout + refused.stderr).toContain('Failed to get "write" lock');
    });
  },
);
