/** Hostile images through the commands, with strace as the witness of what was opened. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { create, open } from "../../src/index.ts";
import { hostileImages } from "./all.ts";
import { canary } from "./images.ts";
import { luksPassword } from "./luks.ts";

interface Line {
  readonly file?: string;
  readonly command?: string;
  readonly error?: { readonly name: string; readonly code?: string; readonly message: string };
  readonly verdict?: string;
  readonly peak?: number;
}

const hasStrace = spawnSync("strace", ["-V"]).status === 0;

describe.skipIf(!hasStrace)(`${hostileImages.length} hostile images`, () => {
  const directory = mkdtempSync(join(tmpdir(), "platter-hostile-"));
  const images = join(directory, "images");
  let lines: Line[] = [];
  let trace = "";
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  beforeAll(async () => {
    mkdirSync(images);
    const sound = join(directory, "sound");
    await create({ name: sound, format: "qcow2", size: 2 ** 20 });
    {
      await using disk = await open(sound, { writable: true });
      await disk.write(0, new Uint8Array(65_536).fill(7));
    }
    const luks = join(directory, "luks");
    const formatOptions = { "key-secret": "s", "iter-time": 10, "cipher-alg": "aes-128" };
    const secrets = async (): Promise<Uint8Array> => new TextEncoder().encode(luksPassword);
    await create({ name: luks, format: "luks", size: 2 ** 16, formatOptions }, { secrets });
    const soundOnes = { qcow2: readFileSync(sound), luks: readFileSync(luks) };
    writeFileSync(join(images, "sound"), soundOnes.qcow2);
    writeFileSync(join(images, "luks-sound"), soundOnes.luks);
    for (const { name, from = "qcow2", make } of hostileImages) {
      writeFileSync(join(images, name), make(soundOnes[from]));
    }
    const log = join(directory, "strace");
    const words = ["-f", "-e", "trace=open,openat,openat2,connect,socket", "-o", log];
    const program = [process.execPath, join(import.meta.dirname, "run.ts"), images];
    const options = { encoding: "utf8", timeout: 240_000, maxBuffer: 2 ** 26 } as const;
    const output = execFileSync("strace", [...words, ...program], options);
    lines = output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Line);
    trace = readFileSync(log, "utf8");
  }, 250_000);

  it("are at least 150, each with a name of its own, and all were run", () => {
    expect(hostileImages.length).toBeGreaterThanOrEqual(300);
    expect(new Set(hostileImages.map(({ name }) => name)).size).toBe(hostileImages.length);
    expect(lines).toHaveLength((hostileImages.length + 2) * 6 + 1);
  });

  it("are made of images that are in order", () => {
    const sound = lines.filter(({ file }) => file === "sound" || file === "luks-sound");
    const failed = sound.filter(({ error }) => error !== undefined);
    expect(sound).toHaveLength(12);
    // LUKS has no tables to check.
    expect(failed.map(({ command, error }) => `${command} ${error?.code}`)).toEqual([
      "check E_UNSUPPORTED",
    ]);
  });

  it("end in a result or a PlatterError of one line", () => {
    const others = lines.filter(
      ({ error }) =>
        error !== undefined && (error.name !== "PlatterError" || /\n\s+at /.test(error.message)),
    );
    expect(others).toEqual([]);
  });

  it("do not make the process grow", () => {
    expect(lines.at(-1)!.peak).toBeLessThan(400_000);
  });

  it("have no file, socket or device opened that they name", () => {
    expect(trace).toContain(join(images, "backing-name-0"));
    for (const name of [canary, "/dev/zero", "/proc/self/mem", "connect(", "socket("]) {
      expect(trace).not.toContain(name);
    }
  });

  it("are never safe for audit when info refuses them", () => {
    const refused = new Set(
      lines
        .filter(({ command, error }) => command === "info" && error !== undefined)
        .map(({ file }) => file),
    );
    expect(refused.size).toBeGreaterThan(50);
    const safe = lines.filter(({ file, verdict }) => verdict === "safe" && refused.has(file));
    expect(safe).toEqual([]);
  });

  it("that name other files are not safe", () => {
    const naming = lines.filter(
      ({ file, command }) => command === "audit" && /^(backing|data-file)-name-/.test(file ?? ""),
    );
    expect(naming.length).toBe(19);
    for (const { verdict } of naming) expect(verdict).toBe("unsafe");
  });
});
