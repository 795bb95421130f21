import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type {
  CheckResult,
  Commands,
  ConvertOptions,
  CreateOptions,
  ImageInfo,
  InfoOptions,
} from "../../src/cli/contract.ts";
import { faceOf } from "../../src/cli/main.ts";
import { allCommands, commandNames } from "../../src/cli/table.ts";
import { VERSION } from "../../src/cli/version.ts";
import { PlatterError } from "../../src/errors.ts";
import { FakeEnvironment, run } from "./harness.ts";

const image: ImageInfo = {
  filename: "disk.qcow2",
  format: "qcow2",
  virtualSize: 2 ** 30,
  allocatedSize: 200704,
  clusterSize: 65536,
  dirty: false,
  backingFilename: "evil\x1b[2J\nname",
  fullBackingFilename: "dir/evil\x1b[2J\nname",
  backingFormat: "raw",
  snapshots: [],
  encrypted: false,
  formatSpecific: { compat: "1.1", "lazy-refcounts": false },
};

const report: CheckResult = {
  filename: "disk.qcow2",
  format: "qcow2",
  imageEndOffset: 2 ** 20,
  totalClusters: 16,
  allocatedClusters: 4,
  fragmentedClusters: 1,
  compressedClusters: 0,
  corruptions: 0,
  leaks: 0,
  checkErrors: 0,
  problems: [],
  problemsOmitted: 0,
};

const info = async (): Promise<ImageInfo[]> => [image];

/** A convert that waits until it is cancelled. */
const endless: Commands["convert"] = async (_options, { signal }) =>
  new Promise((_resolve, reject) => {
    signal?.addEventListener("abort", () => {
      reject(new PlatterError("E_ABORTED", "The operation was cancelled."));
    });
  });

describe("the face", () => {
  it.each<[string, string]>([
    ["/usr/bin/qemu-img", "qemu"],
    ["qemu-img", "qemu"],
    ["C:\\bin\\qemu-img.cmd", "qemu"],
    ["/usr/bin/platter", "platter"],
    ["/repo/bin/platter.js", "platter"],
    ["/qemu-img/platter", "platter"],
    ["", "platter"],
  ])("of %s is %s", (path, face) => {
    expect(faceOf(path)).toBe(face);
  });
});

describe("help", () => {
  it("without arguments is help and exit code 1", async () => {
    const { stdout, stderr, code } = await run("platter", []);
    expect({ stdout, code }).toEqual({ stdout: "", code: 1 });
    for (const name of commandNames) expect(stderr).toContain(`  ${name} `);
  });

  it("lists commands and formats in both faces", async () => {
    for (const program of ["platter", "qemu-img"] as const) {
      const { stdout, code } = await run(program, ["--help"]);
      expect(code).toBe(0);
      const commands = await allCommands(program === "platter" ? "platter" : "qemu");
      for (const { name } of commands) expect(stdout).toContain(`  ${name} `);
      expect(stdout).toContain("qcow2 raw");
    }
  });

  it("of each command shows every option and an example", async () => {
    for (const command of await allCommands("platter")) {
      const { stdout, code } = await run("platter", [command.name, "--help"]);
      expect(code).toBe(0);
      expect(stdout).toContain(`platter ${command.examples[0]?.line}`);
      for (const { short, long, friendly, face, refused } of command.options) {
        if (refused === true || face === "qemu") continue;
        if (short !== undefined) expect(stdout).toMatch(new RegExp(`^ .*-${short}\\b`, "m"));
        for (const name of [long, friendly]) {
          if (name !== undefined) expect(stdout).toContain(`--${name}`);
        }
      }
      expect(await run("platter", ["help", command.name])).toEqual({ stdout, stderr: "", code });
    }
  });

  it("names the versions", async () => {
    expect((await run("platter", ["-V"])).stdout).toBe(`platter ${VERSION}\n`);
    expect((await run("qemu-img", ["--version"])).stdout).toBe(
      `qemu-img version 7.2.22 (platter-img ${VERSION})\n`,
    );
    const manifest: unknown = JSON.parse(readFileSync("package.json", "utf8"));
    expect(manifest).toMatchObject({ version: VERSION });
  });
});

describe("the table", () => {
  it("has no option twice", async () => {
    for (const { options } of await allCommands("platter")) {
      const names = options.flatMap(({ short, long, friendly }) =>
        [short, ...new Set([long, friendly])].filter((name) => name !== undefined),
      );
      expect(names).toEqual([...new Set(names)]);
      expect(names).not.toContain("h");
      const ids = options.map(({ id }) => id);
      expect(ids).toEqual([...new Set(ids)]);
    }
  });

  it("keeps platter's own commands out of qemu-img's face", async () => {
    const outcome = await run("qemu-img", ["du", "x"]);
    expect(outcome.stderr).toContain("qemu-img: Command not found: du");
    expect(outcome.code).toBe(1);
    expect((await run("qemu-img", ["--help"])).stdout).not.toContain("  du ");
  });

  it("keeps platter's own options out of qemu-img's face", async () => {
    for (const words of [
      ["info", "--json", "x"],
      ["convert", "--progress=json", "x", "y"],
    ]) {
      const { stderr, code } = await run("qemu-img", words);
      expect(stderr).toContain(`unrecognized option '${words[1]}'`);
      expect(code).toBe(1);
    }
  });

  it.each(["-T foo info x"])("refuses %s with one line", async (line) => {
    for (const program of ["platter", "qemu-img"] as const) {
      if (program === "platter" && line.startsWith("-T")) continue;
      const { stdout, stderr, code } = await run(program, line.split(" "));
      expect(stderr).toMatch(/^\S+: \S+( \([^)]*\))? is not supported by this version\.?\n$/);
      expect({ stdout, code }).toEqual({ stdout: "", code: 1 });
    }
  });
});

describe("options reach the commands", () => {
  it("of create", async () => {
    let seen: CreateOptions | undefined;
    const create: Commands["create"] = async (options) => {
      seen = options;
      return { name: options.name, format: options.format, size: 1, options: [] };
    };
    const words = "create x -q 1.5G -fqcow2 -bbase -F raw -u -o cluster_size=4096";
    await run("qemu-img", words.split(" "), { create });
    expect(seen).toMatchObject({
      name: "x",
      format: "qcow2",
      size: 1610612736,
      backing: { name: "base", format: "raw" },
      unsafe: true,
      formatOptions: { cluster_size: 4096 },
    });
    await run("qemu-img", ["create", "-fqcow2", "-o", "size=512,backing_file=b,,c", "x"], {
      create,
    });
    expect(seen).toMatchObject({ size: 512, backing: { name: "b,c" }, formatOptions: {} });
    expect(seen?.formatOptions).toEqual({});
    await run("qemu-img", ["create", "x", "9007199254740993"], { create });
    expect(seen?.size).toBe(9007199254741504);
  });

  it("of convert", async () => {
    let seen: ConvertOptions | undefined;
    const convert: Commands["convert"] = async (options) => {
      seen = options;
      return { target: "y", format: "raw", size: 1 };
    };
    const words = "convert -f raw -O qcow2 -c -B base -F qcow2 -S 8k -U -W -m 4 -t none a b";
    expect(await run("qemu-img", words.split(" "), { convert })).toEqual({
      stdout: "",
      stderr: "",
      code: 0,
    });
    expect(seen).toMatchObject({
      sources: ["a"],
      target: "b",
      sourceFormat: "raw",
      targetFormat: "qcow2",
      targetOptions: {},
      compress: true,
      bitmaps: false,
      skipBrokenBitmaps: false,
      backing: { name: "base", format: "qcow2" },
      sparseSize: 8192,
      createTarget: true,
      targetIsZero: false,
      shared: true,
      sync: true,
      direct: true,
      writethrough: false,
      imageOpts: false,
    });
    await run("qemu-img", ["convert", "-n", "--target-is-zero", "a", "b", "c"], { convert });
    expect(seen).toMatchObject({
      sources: ["a", "b"],
      target: "c",
      targetFormat: "raw",
      createTarget: false,
      targetIsZero: true,
      sync: false,
    });
    for (const [mode, sync] of [
      ["unsafe", false],
      ["writeback", true],
      ["writethrough", true],
      ["directsync", true],
      ["off", true],
    ] as const) {
      await run("qemu-img", ["convert", "-t", mode, "a", "b"], { convert });
      expect({ mode, sync: seen?.sync }).toEqual({ mode, sync });
    }
  });

  it("of info, by platter's long names too", async () => {
    const seen: InfoOptions[] = [];
    const commands: Partial<Commands> = {
      info: async (options) => {
        seen.push(options);
        return [image];
      },
    };
    await run("platter", ["info", "--format=qcow2", "--backing", "-U", "x"], commands);
    expect(seen).toMatchObject([
      { name: "x", format: "qcow2", backingChain: true, shared: true, imageOpts: false },
    ]);
  });
});

describe("platter's output", () => {
  it("aligns, and escapes what comes from images", async () => {
    const { stdout } = await run("platter", ["info", "x"], { info });
    expect(stdout).toBe(
      [
        "disk.qcow2",
        "  Format          qcow2",
        "  Size            1 GiB (1073741824 bytes)",
        "  On disk         196 KiB",
        "  Cluster         64 KiB",
        String.raw`  Based on        evil\x1b[2J\nname (raw)`,
        String.raw`                  at dir/evil\x1b[2J\nname`,
        "  Compat          1.1",
        "  Lazy refcounts  no",
        "",
      ].join("\n"),
    );
  });

  it("has colours only on a terminal that wants them", async () => {
    const colours = async (terminal: boolean, variables = {}): Promise<boolean> => {
      const environment = new FakeEnvironment(terminal, variables);
      return (await run("platter", ["info", "x"], { info }, environment)).stdout.includes(
        "\x1b[1m",
      );
    };
    expect(await colours(true)).toBe(true);
    expect(await colours(false)).toBe(false);
    expect(await colours(true, { NO_COLOR: "1" })).toBe(false);
    expect(await colours(true, { NO_COLOR: "" })).toBe(true);
    expect(await colours(true, { TERM: "dumb" })).toBe(false);
  });

  it("qemu-img's face escapes on a terminal only", async () => {
    const plain = await run("qemu-img", ["info", "x"], { info });
    expect(plain.stdout).toContain("evil\x1b[2J\nname");
    const shown = await run("qemu-img", ["info", "x"], { info }, new FakeEnvironment(true));
    expect(shown.stdout).not.toContain("\x1b");
    expect(shown.stdout).toContain(String.raw`evil\x1b[2J\nname`);
  });

  it("is JSON with --json, for every command", async () => {
    const commands: Partial<Commands> = {
      info,
      listBitmaps: async () => [
        { name: "b", granularity: 65536, enabled: true, inconsistent: false, dirtyBytes: 512 },
      ],
      amend: async ({ name }) => ({ filename: name, format: "qcow2", values: { compat: "1.1" } }),
      bench: async () => ({ requests: 1, bytes: 4096, seconds: 1 }),
      check: async () => report,
      rebase: async ({ name }) => ({ filename: name, backing: undefined, copied: 512 }),
      commit: async ({ name }) => ({ filename: name, base: "y", size: 512, emptied: true }),
      resize: async ({ name }) => ({ filename: name, format: "raw", oldSize: 512, newSize: 1024 }),
      snapshot: async ({ name }) => ({ filename: name, format: "qcow2", snapshots: [] }),
      dd: async ({ target }) => ({
        target,
        format: "raw",
        copied: 1,
        size: 512,
        skippedAll: false,
      }),
      measure: async () => ({ required: 1, fullyAllocated: 2 }),
      compare: async () => ({ identical: true, sizeDiffers: false, commonSize: 1 }),
      convert: async () => ({ target: "y", format: "raw", size: 2 ** 62 }),
      audit: async () => ({ files: [], verdict: "safe" }),
      du: async () => ({ images: [], volumes: [] }),
      explain: async ({ name }) => ({
        filename: name,
        format: "raw",
        virtualSize: 512,
        clusterSize: undefined,
        fileLength: 512,
        allocated: 4096,
        parts: [{ part: "data", bytes: 512, allocated: 512 }],
        overhead: 3584,
        fileStrip: ["data"],
        diskStrip: [4],
        fields: [],
      }),
      create: async ({ name }) => ({ name, format: "raw", size: 512, options: [["size", 512]] }),
      map: async function* () {
        const entry = { length: 1, depth: 0, compressed: false, filename: "x" };
        yield { ...entry, start: 0, present: true, zero: false, data: true, offset: 0 };
        yield { ...entry, start: 1, present: false, zero: true, data: false };
      },
    };
    const words = {
      compare: ["x", "y"],
      convert: ["x", "y"],
      amend: ["-o", "compat=1.1", "x"],
      create: ["x", "1"],
      resize: ["x", "1"],
      dd: ["if=x", "of=y"],
    };
    for (const name of commandNames) {
      // The lab takes its time (test/lab.test.ts), guests need a QEMU (test/vm), and a script for a shell is no JSON.
      if (["lab", "completion", "install", "vm"].includes(name)) continue;
      const operands = Object.entries(words).find(([key]) => key === name)?.[1] ?? ["x"];
      const { stdout, stderr, code } = await run(
        "platter",
        [name, "--json", ...(name === "rebase" ? ["-u"] : []), ...operands],
        commands,
      );
      expect({ name, stderr, code }).toEqual({ name, stderr: "", code: 0 });
      expect(object(JSON.parse(stdout))).not.toEqual({});
    }
    const { stdout } = await run("platter", ["convert", "--json", "x", "y"], commands);
    expect(stdout).toContain('"virtual-size": 4611686018427387904');
  });

  it("of check gives the verdict and qemu-img's exit codes", async () => {
    const outcome = async (change: Partial<CheckResult>) =>
      run("platter", ["check", "x"], { check: async () => ({ ...report, ...change }) });
    expect((await outcome({})).stdout).toContain("No errors.");
    expect(await outcome({ leaks: 2 })).toMatchObject({ code: 3 });
    expect(await outcome({ leaks: 2, corruptions: 1 })).toMatchObject({ code: 2 });
    expect(await outcome({ checkErrors: 1, corruptions: 1 })).toMatchObject({ code: 1 });
    const failed = await run("qemu-img", ["check", "x"], {
      check: async () => ({ ...report, checkErrors: 1 }),
    });
    expect(failed.stderr).toBe("qemu-img: Check failed\n");
    expect(failed.stdout).toContain("\n1 internal errors have occurred during the check.\n");
  });

  it("tells how far a conversion is, as lines of JSON", async () => {
    const { stderr, stdout } = await run("platter", ["convert", "--progress=json", "x", "y"], {
      convert: async (_options, { onProgress }) => {
        onProgress?.({ done: 5, total: 10 });
        return { target: "y", format: "raw", size: 10 };
      },
    });
    expect(
      stderr
        .split("\n")
        .filter(Boolean)
        .map((line) => object(JSON.parse(line))),
    ).toMatchObject([
      { event: "progress", done: 5, total: 10 },
      { event: "done", done: 10, total: 10 },
    ]);
    expect(stdout).toBe("Wrote y: raw, 10 B\n");
  });
});

function object(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}

describe("errors", () => {
  const fail =
    (error: unknown): Commands["info"] =>
    async () => {
      throw error;
    };
  const locked = new PlatterError("E_LOCKED", "x.qcow2 is open in another program.\x1b[2J", {
    file: "x.qcow2",
    qemu: "Could not open 'x.qcow2': Failed to get shared \"write\" lock",
  });

  it("are in each face's words", async () => {
    expect(await run("platter", ["info", "x"], { info: fail(locked) })).toEqual({
      stdout: "",
      stderr: "platter: x.qcow2 is open in another program.\\x1b[2J\n",
      code: 1,
    });
    expect((await run("qemu-img", ["info", "x"], { info: fail(locked) })).stderr).toBe(
      "qemu-img: Could not open 'x.qcow2': Failed to get shared \"write\" lock\n",
    );
    const own = new PlatterError("E_LIMIT", "x: the table is too large.");
    expect((await run("qemu-img", ["info", "x"], { info: fail(own) })).stderr).toBe(
      "qemu-img: x: the table is too large.\n",
    );
  });

  it("are JSON with --json, those in the command line too", async () => {
    const { stderr } = await run("platter", ["info", "--json", "x"], { info: fail(locked) });
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: "E_LOCKED", file: "x.qcow2" } });
    const usage = await run("platter", ["info", "--json", "--foo", "x"]);
    expect(JSON.parse(usage.stderr)).toMatchObject({ error: { code: "E_INVALID_ARGUMENT" } });
  });

  it("that are bugs ask for a report and show no stack unless asked", async () => {
    const bug = fail(new TypeError("x is undefined"));
    const { stderr, code } = await run("platter", ["info", "x"], { info: bug });
    expect(stderr).toMatch(
      /^platter: This is a bug in Platter, please report it.*x is undefined\n$/,
    );
    expect(code).toBe(1);
    const environment = new FakeEnvironment(false, { PLATTER_DEBUG: "1" });
    expect((await run("platter", ["info", "x"], { info: bug }, environment)).stderr).toContain(
      "\n    at ",
    );
  });

  it("suggest the nearest command and option", async () => {
    expect((await run("platter", ["ifno"])).stderr).toContain("Did you mean info?");
    expect((await run("platter", ["info", "--jsno", "x"])).stderr).toContain(
      "Did you mean --json?",
    );
    expect((await run("platter", ["info", "--bcking-chain", "x"])).stderr).toContain(
      "Try `platter info --help`.",
    );
    expect((await run("platter", ["info", "--fo", "x"])).stderr).toContain(
      "could be --format or --force-share",
    );
  });

  it("of compare have codes of their own", async () => {
    const broken = new PlatterError("E_IO", "x cannot be read.");
    const compare =
      (isOpen: boolean): Commands["compare"] =>
      async (_options, { onProgress }) => {
        if (isOpen) onProgress?.({ done: 0, total: 1 });
        throw broken;
      };
    expect(await run("qemu-img", ["compare", "x", "y"], { compare: compare(false) })).toMatchObject(
      {
        code: 2,
      },
    );
    expect(await run("qemu-img", ["compare", "x", "y"], { compare: compare(true) })).toMatchObject({
      code: 4,
    });
  });

  it("warnings go to stderr", async () => {
    const commands: Partial<Commands> = {
      info: async (_options, { onWarning }) => {
        onWarning?.("strange\nimage");
        return [image];
      },
    };
    expect((await run("platter", ["info", "x"], commands)).stderr).toBe(
      "platter: warning: strange\\nimage\n",
    );
  });
});

describe("signals", () => {
  it.each<["SIGINT" | "SIGTERM", number]>([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ])("%s cancels, and the second one ends at once", async (name, code) => {
    const environment = new FakeEnvironment();
    const convert: Commands["convert"] = async (options, context) => {
      const work = endless(options, context);
      environment.signal(name);
      expect(environment.exits).toEqual([]);
      environment.signal(name);
      expect(environment.exits).toEqual([code]);
      return work;
    };
    const outcome = await run("qemu-img", ["convert", "x", "y"], { convert }, environment);
    expect(outcome).toEqual({ stdout: "", stderr: "", code });
    expect(environment.listeners()).toBe(0);
  });

  it("SIGUSR1 prints the progress once", async () => {
    const environment = new FakeEnvironment();
    const convert: Commands["convert"] = async (_options, { onProgress }) => {
      onProgress?.({ done: 1, total: 8 });
      environment.signal("SIGUSR1");
      return { target: "y", format: "raw", size: 8 };
    };
    const outcome = await run("qemu-img", ["convert", "x", "y"], { convert }, environment);
    expect(outcome).toEqual({ stdout: "", stderr: "    (12.50/100%)\n", code: 0 });
  });
});

describe("the started program", () => {
  const directory = mkdtempSync(join(tmpdir(), "platter-bin-"));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));
  const binary = resolve("bin/platter.js");
  const start = (node: string, words: string[]) => {
    const { stdout, stderr, status } = spawnSync(node, words, { encoding: "utf8" });
    return { stdout, stderr, code: status };
  };

  it("is platter, and qemu-img through a link", () => {
    expect(start(process.execPath, [binary, "--version"])).toMatchObject({
      stdout: `platter ${VERSION}\n`,
      code: 0,
    });
    const link = join(directory, "qemu-img");
    symlinkSync(binary, link);
    expect(start(process.execPath, [link, "--version"])).toMatchObject({
      stdout: `qemu-img version 7.2.22 (platter-img ${VERSION})\n`,
      code: 0,
    });
    expect(start(process.execPath, [link, "foo"])).toEqual({
      stdout: "",
      stderr: "qemu-img: Command not found: foo\nTry 'qemu-img --help' for more information\n",
      code: 1,
    });
  });

  it("ends quietly when nobody reads", () => {
    const script = `"${process.execPath}" "${binary}" --help | head -c 1`;
    expect(start("/bin/sh", ["-c", script])).toEqual({ stdout: "p", stderr: "", code: 0 });
  });

  it.skipIf(!existsSync("/dev/full"))("says when its output cannot be written", () => {
    const script = `"${process.execPath}" "${binary}" --help > /dev/full`;
    const { stderr, code } = start("/bin/sh", ["-c", script]);
    expect(stderr).toMatch(/^platter: The output cannot be written: ENOSPC.*\n$/);
    expect(code).toBe(1);
  });

  const [major = 0, minor = 0] = start("/usr/bin/node", ["--version"])
    .stdout?.slice(1)
    .split(".")
    .map(Number) ?? [99];
  it.skipIf(major > 22 || (major === 22 && minor >= 18))(
    "tells an old Node that it is too old",
    () => {
      const { stdout, stderr, code } = start("/usr/bin/node", [binary, "--help"]);
      expect(stderr).toMatch(/^platter: Node\.js 22\.18 or later is needed, this is \S+\.\n$/);
      expect({ stdout, code }).toEqual({ stdout: "", code: 1 });
    },
  );
});
