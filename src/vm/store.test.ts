import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { listGuests } from "./guests.ts";
import { guest, guests } from "./machine.test-kit.ts";
import { GuestStore, stateDirectory } from "./store.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-store-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const home = join(directory, "vm");
beforeEach(() => rmSync(home, { recursive: true, force: true }));
const store = new GuestStore(home);

describe("the state directory", () => {
  it.each([
    [{ XDG_STATE_HOME: "/state", HOME: "/home/a" }, "/state/platter/vm"],
    [{ XDG_STATE_HOME: "relative", HOME: "/home/a" }, "/home/a/.local/state/platter/vm"],
    [{ HOME: "/home/a" }, "/home/a/.local/state/platter/vm"],
  ])("follows the rules of XDG: %j", (variables, path) => {
    expect(stateDirectory(variables)).toBe(path);
  });
});

describe("a store of guests", () => {
  it.each(guests("/tmp/x"))("reads what it wrote: $title", async ({ machine }) => {
    await store.reserve(machine.name);
    await store.write({ machine, madeDisks: ["/made"] });
    // What is undefined is not written, and is undefined again.
    expect(await store.read("demo")).toEqual({ machine, madeDisks: ["/made"] });
    expect(statSync(home).mode & 0o777).toBe(0o700);
  });

  it("gives a name to one guest", async () => {
    await store.reserve("demo");
    await expect(store.reserve("demo")).rejects.toMatchObject({ code: "E_EXISTS" });
    expect(await store.has("demo")).toBe(true);
    await store.remove("demo");
    expect(await store.names()).toEqual([]);
  });

  it("knows no guest that is not there, nor a name that is a path", async () => {
    await expect(store.read("other")).rejects.toMatchObject({ code: "E_NOT_FOUND" });
    expect(() => store.paths("../x")).toThrow("cannot be a guest's name");
    const deep = new GuestStore(join(directory, "x".repeat(100)));
    expect(() => deep.paths("demo")).toThrow("too long for a socket");
  });

  it.each<[string, (text: string) => string]>([
    ["no JSON", () => "{"],
    ["a list", () => "[]"],
    ["another version", (text) => text.replace('"platterGuest": 1', '"platterGuest": 2')],
    ["another name", (text) => text.replace('"name": "demo"', '"name": "other"')],
    ["a memory of text", (text) => text.replace(/"memory": \d+/, '"memory": "much"')],
    ["an impossible memory", (text) => text.replace(/"memory": \d+/, '"memory": 5')],
    ["another bus", (text) => text.replace('"virtio"', '"floppy"')],
    ["a path that is none", (text) => text.replace('"/disk"', '"disk"')],
    ["no disks", (text) => text.replace('"disks"', '"discs"')],
    ["disks that are none", (text) => text.replace(/"madeDisks": \[\]/, '"madeDisks": [1]')],
  ])("tells a description that is damaged: %s", async (_what, damage) => {
    await store.reserve("demo");
    await store.write({ machine: guest(), madeDisks: [] });
    const { description } = store.paths("demo");
    const text = readFileSync(description, "utf8");
    expect(damage(text)).not.toBe(text);
    writeFileSync(description, damage(text));
    await expect(store.read("demo")).rejects.toMatchObject({
      code: "E_CORRUPT",
      details: { file: description },
    });
  });

  it("lists the others where one is damaged", async () => {
    await store.reserve("demo");
    await store.write({ machine: guest(), madeDisks: [] });
    mkdirSync(join(home, "broken"));
    writeFileSync(join(home, "broken/guest.json"), "");
    const problems: string[] = [];
    const listed = await listGuests(store, ({ code }) => problems.push(code));
    expect(listed.map(({ machine, state }) => [machine.name, state])).toEqual([
      ["demo", "shut off"],
    ]);
    expect(problems).toEqual(["E_CORRUPT"]);
  });

  it("does not take another process for a guest's", async () => {
    const paths = await store.reserve("demo");
    await store.write({ machine: guest(), madeDisks: [] });
    writeFileSync(paths.pidFile, `${process.pid}\n`);
    const [listed] = await listGuests(store, () => undefined);
    expect(listed).toMatchObject({ state: "killed", pid: undefined });
  });
});
