import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PlatterError } from "../src/errors.ts";
import { fileProvider } from "../src/host/index.ts";
import { havePrograms, requireInCi, run, temporaryDirectory } from "./host-peer.ts";

requireInCi("qemu-img");

const provider = fileProvider();

async function words(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (error instanceof PlatterError) return error.details.qemu ?? `(ours) ${error.message}`;
    throw error;
  }
  return "done";
}

describe.skipIf(!havePrograms("qemu-img"))("beside the real qemu-img", () => {
  const directory = temporaryDirectory();
  const inside = (name: string): string => `${directory}/${name}`;
  mkdirSync(inside("dir"));
  writeFileSync(inside("file"), new Uint8Array(512));
  symlinkSync("nowhere", inside("dangling"));
  symlinkSync("loop", inside("loop"));
  const hopeless = ["file/x", "none/x", "loop", "x".repeat(300)];

  test.each([...hopeless, "none", "dir", "dangling"])(
    "opening %s fails in its words",
    async (name) => {
      const { stderr } = await run("qemu-img", ["info", inside(name)]);
      const ours = await words(provider.open(inside(name), { writable: false }));
      expect(`qemu-img: Could not open '${inside(name)}': ${ours}\n`).toBe(stderr);
    },
  );

  test.each([...hopeless, "dir"])("creating %s fails in its words", async (name) => {
    const { stderr } = await run("qemu-img", ["create", "-q", "-f", "raw", inside(name), "1M"]);
    const ours = await words(provider.create(inside(name)));
    expect(`qemu-img: ${inside(name)}: ${ours}\n`).toBe(stderr);
  });

  test.each(["foo:bar", ":x", "a+b:c", "", "raw:file"])(
    "the name %j is refused alike",
    async (name) => {
      const { stderr } = await run("qemu-img", ["info", name], { cwd: directory });
      const ours = await words(provider.open(name, { writable: false }));
      expect(`qemu-img: Could not open '${name}': ${ours}\n`).toBe(stderr);
    },
  );

  const references = [
    "base",
    "sub/base",
    "../base",
    "/abs/base",
    "./a:b",
    "x:y/z",
    "nbd://h/x",
    "file:b",
  ];
  const images = ["ov", "dir/ov", "./dir/../ov", inside("ov"), "file:dir/ov"];
  test.each(images)("references in %s lead to the same place", async (image) => {
    for (const reference of references) {
      await run(
        "qemu-img",
        ["create", "-uqf", "qcow2", "-F", "raw", "-b", reference, image, "1M"],
        {
          cwd: directory,
        },
      );
      const { stdout } = await run("qemu-img", ["info", image], { cwd: directory });
      const line = /^backing file: (.*?)(?: \(actual path: (.*)\))?$/m.exec(stdout);
      // info names the file without the prefix that it was given with.
      const ours = provider.resolve(reference, image);
      const bare = reference.startsWith("file:") ? ours : ours.replace(/^file:/, "");
      expect(bare).toBe(line?.[2] ?? line?.[1]);
    }
  });
});
