import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import manifest from "../package.json" with { type: "json" };

const execute = promisify(execFile);
const checkout = join(import.meta.dirname, "..");
let project: string;
let files: string[];

/** What `npm pack --json` says of the package it made: newer npm by name, older in an array. */
type Packed = Record<string, { filename: string; files: { path: string }[] }>;

// The package as users get it, in a project that has nothing else but what it depends on.
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "platter-package-"));
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", project];
  const { stdout } = await execute("npm", args, { cwd: checkout });
  const [packed] = Object.values(JSON.parse(stdout) as Packed);
  if (packed === undefined) throw new Error(`npm pack made nothing: ${stdout}`);
  files = packed.files.map(({ path }) => path);
  const modules = join(project, "node_modules");
  mkdirSync(join(modules, manifest.name), { recursive: true });
  const tarball = join(project, packed.filename);
  await execute("tar", [
    "xzf",
    tarball,
    "--strip-components=1",
    "-C",
    join(modules, manifest.name),
  ]);
  for (const name of Object.keys(manifest.dependencies)) {
    symlinkSync(join(checkout, "node_modules", name), join(modules, name));
  }
});
afterAll(() => {
  rmSync(project, { recursive: true });
});

describe("the package", () => {
  it("holds the build, the program and nothing of the tools", () => {
    expect(files).toContain("dist/index.js");
    expect(files).toContain("dist/core.d.ts");
    const others = files.filter((file) => !/^(dist|bin)\/[^.]*\.(d\.ts|js)$/.test(file));
    expect(others.filter((file) => !/^(README\.md|LICENSE|package\.json)$/.test(file))).toEqual([]);
  });

  it("depends on no tool of this checkout", () => {
    const shipped = { ...manifest.dependencies, ...manifest.optionalDependencies };
    const tools = Object.keys(manifest.devDependencies);
    expect(Object.keys(shipped).filter((name) => tools.includes(name))).toEqual([]);
  });

  it.each([manifest.name, `${manifest.name}/core`])("%s can be imported", async (entry) => {
    const program = `import { PlatterError } from "${entry}"; console.log(PlatterError.name);`;
    const args = ["--input-type=module", "-e", program];
    const { stdout } = await execute(process.execPath, args, { cwd: project });
    expect(stdout).toBe("PlatterError\n");
  });

  it("has one error class for both entries", async () => {
    const program = `
      import * as node from "${manifest.name}";
      import * as core from "${manifest.name}/core";
      console.log(node.PlatterError === core.PlatterError);`;
    const args = ["--input-type=module", "-e", program];
    const { stdout } = await execute(process.execPath, args, { cwd: project });
    expect(stdout).toBe("true\n");
  });
});
