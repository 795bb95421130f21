/** Hostile images through the commands, trusted and not, with strace as the witness of what was opened. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { hostileImages, isNaming } from "./all.ts";
import { hasStrace, makeSound, runAll, type Opened } from "./kit.ts";
import type { Ran } from "./run.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-hostile-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const images = join(directory, "images");
const paths = ["sound", "luks-sound", ...hostileImages.map(({ name }) => name)].map((name) =>
  join(images, name),
);

beforeAll(async () => {
  mkdirSync(images);
  const sound = await makeSound(directory);
  writeFileSync(join(images, "sound"), sound.qcow2);
  writeFileSync(join(images, "luks-sound"), sound.luks);
  for (const { name, from = "qcow2", make } of hostileImages) {
    writeFileSync(join(images, name), make(sound[from]));
  }
});

/** The exit codes that a command has, of which none is 130: being interrupted because it hangs. */
const codes: Readonly<Record<string, readonly number[]>> = {
  check: [0, 1, 2, 3, 63],
  audit: [0, 1, 2],
};

it("are at least 150, each with a name of its own and a field", () => {
  expect(hostileImages.length).toBeGreaterThanOrEqual(350);
  expect(new Set(hostileImages.map(({ name }) => name)).size).toBe(hostileImages.length);
  expect(hostileImages.filter(({ field }) => field === "")).toEqual([]);
});

describe.skipIf(!hasStrace).each(["untrusted", "trusting"] as const)(
  `${hostileImages.length} hostile images, %s`,
  (mode) => {
    let lines: readonly Ran[] = [];
    let opened: Opened = new Map();

    beforeAll(() => {
      ({ lines, opened } = runAll(mode, paths));
    }, 250_000);

    it("were all run", () => {
      expect(lines).toHaveLength(paths.length * 7);
      expect([...opened.keys()]).toEqual(paths);
    });

    it("are made of images that are in order", () => {
      const failed = lines.filter(({ image, code }) => /^(luks-)?sound$/.test(image) && code !== 0);
      // LUKS has no tables to check, and says nothing of the disk in it.
      const found = failed.map(({ image, command, code }) => `${image} ${command} ${code}`);
      expect(found).toEqual(["luks-sound check 63", "luks-sound audit 2"]);
    });

    it("end with an exit code of the command's", () => {
      const others = lines.filter(
        ({ command, code }) => !(codes[command] ?? [0, 1]).includes(code),
      );
      expect(others).toEqual([]);
    });

    it("have one line to say when they fail, and none else but warnings", () => {
      const isError = /^platter: (?!warning)[^\n]+\n$/;
      const isWarning = /^(platter: warning: [^\n]+\n)*$/;
      const others = lines.filter(({ command, code, stdout, stderr }) => {
        const isReport = (command === "check" || command === "audit") && stdout !== "";
        const fails = code !== 0 && !isReport;
        const error = stderr.replace(/^(platter: warning: [^\n]+\n)+/, "");
        return fails ? !isError.test(error) : !isWarning.test(stderr);
      });
      expect(others).toEqual([]);
    });

    it("print no stack, and nothing that a terminal obeys", () => {
      const others = lines.filter(
        ({ stdout, stderr }) =>
          /\n\s+at |This is a bug/.test(stderr) ||
          /[^\n\P{Cc}]|[\u200e\u200f\u2028-\u202e\u2066-\u2069]|^FORGED/mu.test(stdout + stderr),
      );
      expect(others).toEqual([]);
    });

    it("do not make the process grow", () => {
      expect(lines.at(-1)!.peak).toBeLessThan(450_000);
    });

    it("have nothing opened but themselves and the target", () => {
      const others = [...opened].flatMap(([image, files]) => {
        const name = image.slice(images.length + 1);
        if (mode === "trusting" && isNaming(name)) return [];
        const own = [image, `${images}.out`];
        return files.filter((file) => !own.includes(file)).map((file) => `${name}: ${file}`);
      });
      expect(others).toEqual([]);
      expect([...opened].filter(([image, files]) => !files.includes(image))).toEqual([]);
    });

    it("are never safe for audit when info refuses them, or when they name a file", () => {
      const refused = lines.filter(({ command, code }) => command === "info" && code !== 0);
      expect(refused.length).toBeGreaterThan(100);
      const suspect = new Set(refused.map(({ image }) => image));
      for (const { name } of hostileImages) if (isNaming(name)) suspect.add(name);
      const safe = lines.filter(
        ({ image, command, code }) => command === "audit" && code === 0 && suspect.has(image),
      );
      expect(safe).toEqual([]);
    });
  },
);

describe("platter info", () => {
  let lines: readonly Ran[] = [];

  beforeAll(() => {
    const runner = join(import.meta.dirname, "run.ts");
    const options = { encoding: "utf8", maxBuffer: 2 ** 27 } as const;
    const program = [runner, "trusting", "info", ...paths];
    const output = execFileSync(process.execPath, program, options).trim();
    lines = output.split("\n").map((line) => JSON.parse(line) as Ran);
  }, 60_000);

  it("takes less than a second of the processor for each", () => {
    expect(lines).toHaveLength(paths.length);
    expect(lines.filter(({ milliseconds }) => milliseconds > 1000)).toEqual([]);
  });

  it("takes less than 200 MB for all of them in one process", () => {
    expect(lines.at(-1)!.peak).toBeLessThan(200_000);
  });
});
