import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { NewStorage } from "../storage/index.ts";
import { errno } from "./errno.ts";
import { systemLibc } from "./libc.ts";
import { fileProvider } from "./provider.ts";

const root = mkdtempSync(join(tmpdir(), "platter-create-"));
afterAll(() => rmSync(root, { recursive: true }));

let directory = root;
let count = 0;
beforeEach(() => {
  directory = join(root, `d${count++}`);
  mkdirSync(directory);
});

const { libc } = systemLibc();
const isRoot = process.getuid?.() === 0;
const inside = (name: string): string => join(directory, name);
const names = (): string[] => readdirSync(directory).toSorted();
const content = new Uint8Array([1, 2, 3]);

/** Writes the content, then ends in the given way with the storage closed. */
async function finish(made: NewStorage, ending: "publish" | "discard"): Promise<void> {
  await made.storage.write(0, content);
  await made[ending]();
  await made.storage.close();
}

describe.each([
  ["with libc", libc ?? null],
  ["without libc", null],
])("%s", (_, port) => {
  const provider = fileProvider({ libc: port });

  test("a new file has its name at once, and loses it when discarded", async () => {
    const made = await provider.create(inside("new"));
    expect(names()).toEqual(["new"]);
    await finish(made, "discard");
    expect(names()).toEqual([]);
    await finish(await provider.create(inside("new")), "publish");
    expect(readFileSync(inside("new"))).toEqual(Buffer.from(content));
  });

  test("a staged file gets its name when published", async () => {
    const made = await provider.create(inside("new"), { staged: true });
    expect(names()).toEqual([expect.stringMatching(/^\.new\.platter-[0-9a-f]{12}$/)]);
    expect(made.storage.name).toBe(inside("new"));
    await finish(made, "publish");
    await made.discard();
    expect(names()).toEqual(["new"]);
    await finish(await provider.create(inside("other"), { staged: true }), "discard");
    expect(names()).toEqual(["new"]);
  });

  test("a staged file does not replace what appeared meanwhile", async () => {
    const made = await provider.create(inside("new"), { staged: true });
    writeFileSync(inside("new"), "theirs");
    await expect(made.publish()).rejects.toMatchObject({ code: "E_EXISTS" });
    await made.discard();
    await made.storage.close();
    expect(names()).toEqual(["new"]);
    expect(readFileSync(inside("new"), "utf8")).toBe("theirs");
  });

  test("an existing file stays until its successor is published, and hands on its mode", async () => {
    writeFileSync(inside("old"), "old content");
    chmodSync(inside("old"), 0o600);
    if (isRoot) chownSync(inside("old"), 12, 34);
    await finish(await provider.create(inside("old")), "discard");
    expect(readFileSync(inside("old"), "utf8")).toBe("old content");
    const made = await provider.create(inside("old"));
    expect(readFileSync(inside("old"), "utf8")).toBe("old content");
    await finish(made, "publish");
    expect(readFileSync(inside("old"))).toEqual(Buffer.from(content));
    expect(names()).toEqual(["old"]);
    const stats = statSync(inside("old"));
    expect(stats.mode & 0o777).toBe(0o600);
    if (isRoot) expect([stats.uid, stats.gid]).toEqual([12, 34]);
  });

  test("a file with a second name is written in place", async () => {
    writeFileSync(inside("one"), "old content");
    linkSync(inside("one"), inside("two"));
    await finish(await provider.create(inside("one")), "publish");
    expect(readFileSync(inside("two"))).toEqual(Buffer.from(content));
    await finish(await provider.create(inside("one")), "discard");
    expect(statSync(inside("two")).size).toBe(0);
    expect(names()).toEqual(["one", "two"]);
  });

  test("symbolic links are followed, also to nothing", async () => {
    mkdirSync(inside("sub"));
    symlinkSync("sub/real", inside("link"));
    await finish(await provider.create(inside("link")), "publish");
    expect(readFileSync(inside("sub/real"))).toEqual(Buffer.from(content));
    const made = await provider.create(inside("link"));
    expect(readdirSync(inside("sub"))).toHaveLength(2);
    await finish(made, "publish");
    expect(lstatSync(inside("link")).isSymbolicLink()).toBe(true);
    expect(readdirSync(inside("sub"))).toEqual(["real"]);
    symlinkSync("loop", inside("loop"));
    await expect(provider.create(inside("loop"))).rejects.toMatchObject({
      details: { qemu: `Could not create '${inside("loop")}': Too many levels of symbolic links` },
    });
  });

  test.each([
    [".", "E_IS_DIRECTORY", "Is a directory"],
    ["none/new", "E_NOT_FOUND", "No such file or directory"],
    ["x".repeat(300), "E_INVALID_ARGUMENT", "File name too long"],
  ])("%s cannot be created, staged or not", async (name, code, words) => {
    const path = `${directory}/${name}`;
    for (const staged of [false, true]) {
      await expect(provider.create(path, { staged })).rejects.toMatchObject({
        code,
        details: { qemu: `Could not create '${path}': ${words}` },
      });
    }
    expect(names()).toEqual([]);
  });

  test("the longest possible name can be staged", async () => {
    const name = "ä".repeat(127);
    await finish(await provider.create(inside(name), { staged: true }), "publish");
    expect(names()).toEqual([name]);
  });

  test("exists, open and resolve speak of the same names", async () => {
    writeFileSync(inside("a:b"), content);
    expect(await provider.exists(`file:${inside("a:b")}`)).toBe(true);
    expect(await provider.exists(inside("c"))).toBe(false);
    const file = await provider.open(provider.resolve("./a:b", inside("x")), { writable: false });
    expect(file.size).toBe(3);
    await file.close();
    await expect(
      provider.open("host_device:" + inside("a:b"), { writable: false }),
    ).rejects.toThrow(/not a block device/);
  });
});

describe.skipIf(libc === undefined)("locks while creating", () => {
  const provider = fileProvider();

  test("a file that somebody uses is not replaced", async () => {
    writeFileSync(inside("used"), "old content");
    const user = await provider.open(inside("used"), { writable: false });
    await expect(provider.create(inside("used"))).rejects.toMatchObject({
      code: "E_LOCKED",
      details: {
        qemu: `Failed to get "write" lock\nIs another process using the image [${inside("used")}]?`,
      },
    });
    await user.close();
    expect(names()).toEqual(["used"]);
  });

  test("both the old and the new file are held until the end", async () => {
    writeFileSync(inside("held"), "old content");
    const reading = { writable: false } as const;
    const made = await provider.create(inside("held"));
    await expect(provider.open(inside("held"), reading)).rejects.toThrow(/another program/);
    await made.publish();
    await expect(provider.open(inside("held"), reading)).rejects.toThrow(/another program/);
    await made.storage.close();
    await (await provider.open(inside("held"), reading)).close();
  });
});

test.skipIf(libc === undefined)("attributes are tried as QEMU tries them", async () => {
  const FS_IOC_FSSETXATTR = 0x401c5820;
  const FS_IOC_SETFLAGS = 0x40086602;
  const seen: [number, number][] = [];
  const refusing = {
    ...libc!,
    ioctl: (_fd: number, request: number, argument: Uint8Array) => {
      const view = new DataView(argument.buffer);
      if (request === FS_IOC_FSSETXATTR) seen.push([request, view.getUint32(4, true)]);
      if (request === FS_IOC_SETFLAGS) seen.push([request, view.getUint32(0, true)]);
      return seen.length > 0 && request === FS_IOC_FSSETXATTR ? -errno("EOPNOTSUPP") : 0;
    },
  };
  const warnings: string[] = [];
  const provider = fileProvider({ libc: refusing, onWarning: (text) => warnings.push(text) });
  await finish(await provider.create(inside("a"), { nocow: true }), "publish");
  expect(seen).toEqual([
    [FS_IOC_SETFLAGS, 0x800000],
    [FS_IOC_FSSETXATTR, 1048576],
  ]);
  expect(warnings).toEqual([]);
  await finish(await provider.create(inside("b"), { extentSizeHint: 65536 }), "publish");
  expect(seen[2]).toEqual([FS_IOC_FSSETXATTR, 65536]);
  expect(warnings).toEqual(["Failed to set extent size hint: Operation not supported"]);
  expect(existsSync(inside("b"))).toBe(true);
});
