/**
 * What the documentation shows is what happens: the README's console sessions are run and their
 * output compared, and its programs and the snippets of docs/library.md are compiled and run.
 */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { create } from "../src/index.ts";

/** A fenced block of a page. */
interface Block {
  readonly language: string;
  readonly text: string;
}

const page = (name: string): string => readFileSync(resolve(name), "utf8");

const blocks = (text: string): Block[] =>
  [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = "", body = ""]) => ({
    language,
    text: body,
  }));

const readme = blocks(page("README.md"));
const inReadme = (language: string): string[] =>
  readme.filter((block) => block.language === language).map(({ text }) => text);

const directory = mkdtempSync(join(tmpdir(), "platter-readme-"));
afterAll(() => rmSync(directory, { recursive: true }));
const bin = join(directory, "bin");
const session = join(directory, "session");
const project = join(directory, "project");

// Users get our package by its name; here it is this checkout as it has been built.
beforeAll(() => {
  if (!existsSync("dist/index.js")) throw new Error("dist/ is missing: npm run build makes it");
  for (const made of [bin, session, project]) mkdirSync(made);
  for (const name of ["platter", "qemu-img"])
    symlinkSync(resolve("bin/platter.js"), join(bin, name));
  const modules = join(project, "node_modules");
  mkdirSync(modules);
  symlinkSync(resolve("."), join(modules, "platter-img"));
  symlinkSync(resolve("node_modules/@types"), join(modules, "@types"));
});

/** Type checks programs in the project, as strictly as our own; returns what the compiler says. */
async function typeCheck(programs: ReadonlyMap<string, string>): Promise<string> {
  const { compilerOptions } = JSON.parse(page("tsconfig.json")) as { compilerOptions: object };
  const folder = mkdtempSync(join(project, "check-"));
  const options = { ...compilerOptions, noUnusedLocals: false, noUnusedParameters: false };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options }));
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  for (const [name, text] of programs) await writeFile(join(folder, name), text);
  return new Promise((done) => {
    execFile(
      "tsc",
      ["-p", folder, "--pretty", "false"],
      { env: environment() },
      (_, stdout, stderr) => done(stdout + stderr),
    );
  });
}

const environment = (): NodeJS.ProcessEnv => ({
  ...process.env,
  LC_ALL: "C",
  PATH: [bin, dirname(process.execPath), resolve("node_modules/.bin"), process.env["PATH"]].join(
    delimiter,
  ),
});

/** Runs a command as a user's shell would; both outputs in one. */
function shell(command: string): string {
  const { stdout } = spawnSync("bash", ["-c", `${command} 2>&1`], {
    cwd: session,
    encoding: "utf8",
    env: environment(),
  });
  return stdout;
}

/** Without what depends on the machine: the time it took, and the blocks of its filesystem. */
const settled = (output: string): string =>
  output
    .replaceAll(/ in \d+:\d\d$/gm, "")
    .replaceAll(/^( *On disk +|disk size: )[\d.]+ \w+$/gm, "$1some");

describe("README.md", () => {
  test("its console sessions", () => {
    const commands = inReadme("console").flatMap((text) =>
      text.split(/^\$ /m).filter((step) => step !== ""),
    );
    expect(commands.length).toBeGreaterThan(8);
    for (const step of commands) {
      const [command = "", ...output] = step.split("\n");
      expect(settled(shell(command)), command).toBe(settled(output.join("\n")));
    }
  });

  test("its library example is short, compiles, and prints what the page says", async () => {
    const [example = ""] = inReadme("ts");
    const lines = example.split("\n").filter((line) => line.trim() !== "");
    expect(lines.length).toBeLessThanOrEqual(15);
    expect(await typeCheck(new Map([["example.ts", example]]))).toBe("");
    await writeFile(join(project, "example.ts"), example);
    const { stdout, stderr } = spawnSync(process.execPath, ["example.ts"], {
      cwd: project,
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    expect(stdout).toBe(inReadme("text")[0]);
    const head = readFileSync(join(project, "head.raw"));
    expect(head.length).toBe(2 ** 21);
    expect(head.toString("latin1", 2 ** 20, 2 ** 20 + 12)).toBe("hello, guest");
  });

  test("its browser example compiles and reads a File", async () => {
    const [, example = ""] = inReadme("ts");
    expect(await typeCheck(new Map([["example.ts", example]]))).toBe("");
    await writeFile(join(project, "browser.ts"), example);
    const { bootSector } = (await import(join(project, "browser.ts"))) as {
      bootSector(file: File): Promise<Uint8Array>;
    };
    const bytes = new Uint8Array(4096).fill(7, 0, 512);
    expect(await bootSector(new File([bytes], "disk.raw"))).toEqual(bytes.subarray(0, 512));
  });

  test("its commands are those of package.json", () => {
    const { scripts } = JSON.parse(page("package.json")) as { scripts: Record<string, string> };
    expect(scripts).toHaveProperty("test");
    expect(inReadme("sh")).toEqual(["npm ci && npx platter lab\n", "npm ci && npm test\n"]);
  });
});

describe("docs/library.md", () => {
  const snippets = blocks(page("docs/library.md")).filter(({ language }) => language === "ts");
  const [shared] = snippets;
  // One that imports stands by itself; the others go on from the page's first.
  const programs = snippets.map(({ text }, i) =>
    i === 0 || /^import /m.test(text) ? text : `${shared?.text}\n{\n${text}\n}\n`,
  );

  test("every snippet compiles", async () => {
    expect(programs.length).toBeGreaterThan(10);
    const files = programs.map((text, i) => [`snippet-${i + 1}.ts`, text] as const);
    expect(await typeCheck(new Map(files))).toBe("");
  });

  // What asks a server, or declares what the reader has, can only be compiled.
  const runnable = programs.flatMap((text, i) =>
    /https:|declare const/.test(text) ? [] : [[i + 1, text] as const],
  );
  test.each(runnable)("snippet %i runs", async (number, text) => {
    const folder = join(project, `run-${number}`);
    mkdirSync(join(folder, "images"), { recursive: true });
    const image = { format: "qcow2", size: 2 ** 30 };
    await create({ ...image, name: join(folder, "disk.qcow2") });
    await create({ ...image, name: join(folder, "images/debian-12.qcow2") });
    await create({
      ...image,
      name: join(folder, "upload.qcow2"),
      backing: { name: "debian-12.qcow2", format: "qcow2" },
      unsafe: true,
    });
    await writeFile(join(folder, "disk.img"), new Uint8Array(4096));
    await writeFile(join(folder, "partition.ext4"), new Uint8Array(2 ** 20 + 5).fill(1));
    await writeFile(join(folder, "program.ts"), text);
    const { status, stderr } = spawnSync(process.execPath, ["program.ts"], {
      cwd: folder,
      encoding: "utf8",
    });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("links between pages", () => {
  test.each(["README.md", "CONTRIBUTING.md", "docs/library.md", "docs/architecture.md"])(
    "%s",
    (name) => {
      const links = [...page(name).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map(([, to = ""]) => to);
      for (const to of links) expect(existsSync(resolve(dirname(name), to)), to).toBe(true);
    },
  );

  test("every file that docs/architecture.md names exists", () => {
    const named = [...page("docs/architecture.md").matchAll(/`((?:src|test|tools)\/[\w./-]+)`/g)];
    expect(named.length).toBeGreaterThan(20);
    for (const [, file = ""] of named) expect(existsSync(resolve(file)), file).toBe(true);
  });
});
