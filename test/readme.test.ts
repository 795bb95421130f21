/** The README and docs/library.md keep their promises: their programs run, their output is real. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { create } from "../src/index.ts";

const run = promisify(execFile);
const root = mkdtempSync(join(tmpdir(), "platter-readme-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** The contents of the code blocks of a page in that language. */
const blocks = (page: string, language: string): string[] =>
  [...readFileSync(page, "utf8").matchAll(new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "gs"))].map(
    ([, code]) => code!,
  );

/** Runs a program of ours as it stands, but for where it gets Platter from; in a directory of its own. */
async function runProgram(code: string, directory: string): Promise<string> {
  await mkdir(directory, { recursive: true });
  const program = join(directory, "program.ts");
  const from = (entry: string): string => JSON.stringify(resolve("src", entry));
  writeFileSync(
    program,
    code
      .replaceAll('"platter-img/core"', from("core.ts"))
      .replaceAll('"platter-img"', from("index.ts")),
  );
  const { stdout } = await run(process.execPath, [program], { cwd: directory });
  return stdout;
}

describe("README.md", () => {
  it("has a program of at most 15 lines that works", async () => {
    const [code] = blocks("README.md", "ts");
    expect(code!.trim().split("\n").filter(Boolean).length).toBeLessThanOrEqual(15);
    const output = await runProgram(code!, join(root, "readme"));
    // 300,000 bytes from 1 MiB on: five clusters; then the mebibyte of zeros.
    expect(output).toBe("1048576 327680 data\n8388608 1048576 zeros\n");
  });

  it("shows what the commands print", async () => {
    const directory = join(root, "console");
    await mkdir(directory);
    const [, program] = [blocks("README.md", "console"), blocks("README.md", "ts")[0]!] as const;
    const [first, second] = blocks("README.md", "console");
    await expectOutput(first!, directory);
    await runProgram(program.replace(/^await create.*$/m, ""), directory);
    await expectOutput(second!, directory);
  });
});

/** Runs the `$ npx platter` lines of a console block and compares what they print. */
async function expectOutput(block: string, directory: string): Promise<void> {
  for (const part of block.split(/^\$ /m).filter(Boolean)) {
    const [command, ...lines] = part.trimEnd().split("\n");
    const words = command!.replace(/^npx platter /, "").split(" ");
    const { stdout } = await run(process.execPath, [resolve("bin/platter.js"), ...words], {
      cwd: directory,
    });
    // How much the host allocates, and how long it takes, is its own affair.
    const settle = (text: string): string =>
      text
        .trimEnd()
        .replace(/On disk .*/, "On disk")
        .replace(/ in \d.*/, "");
    expect(settle(stdout), command).toBe(settle(lines.join("\n")));
  }
}

describe("docs/library.md", () => {
  it.each(blocks("docs/library.md", "ts").map((code, i) => [i + 1, code] as const))(
    "program %d works",
    async (number, code) => {
      const directory = join(root, `library-${number}`);
      await mkdir(directory);
      const base = { format: "qcow2", size: 2 ** 30 };
      await create({ ...base, name: join(directory, "disk.qcow2") });
      await create({
        ...base,
        name: join(directory, "overlay.qcow2"),
        backing: { name: "disk.qcow2", format: "qcow2" },
      });
      await expect(runProgram(code, directory)).resolves.toBeTypeOf("string");
    },
  );
});
