/**
 * A server that stops answering, behind a FUSE mount: with --timeout every command ends with one error, though
 * threads of it hang in the kernel, where nothing can end them.
 */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { open, PlatterError } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "../qcow2/kit.ts";
import { ServedFile } from "./nbdkit.ts";

const program = join(import.meta.dirname, "../../bin/platter.js");

/** Runs our program; rejects when it has not ended after ten times the timeout. */
function platter(
  words: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = {},
  signal?: NodeJS.Signals,
): Promise<{ code: number | null; stderr: string; stdout: string }> {
  const child = spawn(process.execPath, [program, ...words], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (data: Buffer) => (stdout += data.toString()));
  child.stderr.on("data", (data: Buffer) => {
    // Once it says how far it is, it is in the middle of its work.
    if (signal !== undefined && stderr === "") child.kill(signal);
    stderr += data.toString();
  });
  return new Promise((resolve, reject) => {
    const limit = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${words.join(" ")} hangs: ${stderr}`));
    }, 20_000);
    // Its end counts: what it leaves behind in the kernel may keep the pipes open.
    child.once("exit", (code) => {
      clearTimeout(limit);
      resolve({ code, stdout, stderr });
    });
  });
}

describePeer(
  ["qemu-img", "qemu-io", "nbdkit", "nbdfuse"],
  "a server that stops answering",
  (qemuImg, qemuIo) => {
    const directory = temporaryDirectory();
    const image = join(directory, "image");
    let number = 0;

    async function served(): Promise<ServedFile> {
      await qemuImg.run(["create", "-q", "-f", "qcow2", image, "16M"]);
      await qemuIo.run(["-c", "write -P 1 0 4M", image]);
      return ServedFile.start(directory, `disk${++number}`, image, "pread");
    }

    test.each([
      ["server", "info DISK", 1],
      ["server", "check DISK", 1],
      ["server", "map DISK", 1],
      ["server", "convert -O qcow2 DISK new", 1],
      ["server", "compare DISK image", 2],
      ["server", "snapshot -c s DISK", 1],
      ["server", "convert -n -O qcow2 image DISK", 1],
      ["mount", "info DISK", 1],
      ["mount", "convert -O raw DISK new", 1],
      ["mount", "resize DISK 32M", 1],
    ] as const)("stopped %s: %s", async (which, line, exit) => {
      await using file = await served();
      const words = line.split(" ").map((word) => (word === "DISK" ? file.mount : word));
      file.stop(which, true);
      const { code, stderr } = await platter([...words, "--timeout", "0.5"], directory);
      expect(stderr).toMatch(/^platter: [^\n]*no answer (from a file )?within 0\.5 s[^\n]*\n$/);
      expect(code).toBe(exit);
      expect(existsSync(join(directory, "new"))).toBe(false);
      expect(readdirSync(directory).filter((name) => name.includes(".platter-"))).toEqual([]);
      file.stop(which, false);
    });

    test("that answers slowly, but in time, is no error", async () => {
      await using file = await served();
      file.stop("server", true);
      setTimeout(() => file.stop("server", false), 1000);
      const { code, stdout, stderr } = await platter(
        ["info", "--timeout=15", "--json", file.mount],
        directory,
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain('"virtual-size": 16777216');
    });

    test("as JSON", async () => {
      await using file = await served();
      file.stop("server", true);
      const { code, stderr } = await platter(
        ["info", "--json", "--timeout", "0.5", file.mount],
        directory,
      );
      expect(code).toBe(1);
      expect(JSON.parse(stderr)).toMatchObject({ error: { code: "E_TIMEOUT" } });
    });

    test("in the library, the promise is rejected", async () => {
      await using file = await served();
      await using disk = await open(file.mount, { format: "qcow2", timeout: 300 });
      file.stop("server", true);
      const error: unknown = await disk
        .read(1 << 20, new Uint8Array(65536))
        .catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(PlatterError);
      expect(error).toMatchObject({ code: "E_TIMEOUT", details: { file: file.mount } });
      file.stop("server", false);
    });
  },
);

const disk = join(temporaryDirectory(), "disk");
beforeAll(() => writeFileSync(disk, new Uint8Array(1 << 20).fill(1)));

test.each(["0", "-1", "x", "1e3", "", "1000001"])("--timeout=%s is refused", async (value) => {
  const { code, stderr } = await platter(["info", `--timeout=${value}`, "none"], ".");
  expect(code).toBe(1);
  expect(stderr).toContain(
    `--timeout takes a number of seconds above 0 and up to a million, not "${value}".`,
  );
});

test("a call that blocks the main thread is noticed by who watches", async () => {
  // As a call of lseek or fcntl would, whose answer does not come.
  const block = "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0)";
  const script = `if (process.env.PLATTER_WATCHED) setTimeout(() => ${block}, 300)`;
  const preload = `--import=data:text/javascript,${encodeURIComponent(script)}`;
  const words = ["bench", "-c", "100000000", "--timeout", "0.5", "-f", "raw", disk];
  const { code, stderr } = await platter(words, ".", { NODE_OPTIONS: preload });
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr:
      "platter: no answer from a file within 0.5 s, from a call that cannot be interrupted: the disk or server behind it has stopped.\n",
  });
});

test.each([
  ["SIGTERM", 143],
  ["SIGINT", 130],
] as const)("%s goes to the child", async (signal, exit) => {
  const made = `${disk}.${signal}`;
  const words = ["convert", "-r", "100k", "--progress=json", "--timeout", "5", disk, made];
  const { code, stderr } = await platter(words, ".", {}, signal);
  expect(code).toBe(exit);
  expect(stderr.split("\n").at(-2)).toBe("platter: interrupted.");
  expect(readdirSync(dirname(disk))).toEqual(["disk"]);
});

test("the exit code and the messages are the command's own", async () => {
  const found = await platter(["info", "--timeout", "5", join(program, "none")], ".");
  expect(found.code).toBe(1);
  expect(found.stderr).toMatch(/^platter: .*none.*\n$/);
  const compared = await platter(["compare", "--timeout", "5", program, import.meta.filename], ".");
  expect(compared.code).toBe(1);
  expect(compared.stdout).not.toBe("");
});
