/**
 * Every command and output form that may print a name from an image, with names that terminals take for
 * commands: as `platter` nothing of them reaches an output, as `qemu-img` nothing reaches a terminal.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { FakeEnvironment } from "../cli/harness.ts";
import { makeSound, type SoundImages } from "./kit.ts";
import { controls, nameImages } from "./names.ts";

const top = mkdtempSync(join(tmpdir(), "platter-names-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));
const secret = ["--object", "secret,id=s,data=hostile"];

/** Command lines for both faces; `image` is the image. Those that write get a fresh one. */
const both: readonly string[][] = [
  ["info", "image"],
  ["info", "--output=json", "image"],
  ["info", "--backing-chain", "image"],
  ["info", "--backing-chain", "--output=json", "image"],
  ["info", "--image-opts", "driver=qcow2,file.filename=image"],
  ["check", "image"],
  ["check", "--output=json", "image"],
  ["check", "-r", "leaks", "image"],
  ["check", "-r", "all", "image"],
  ["map", "image"],
  ["map", "--output=json", "image"],
  ["snapshot", "-l", "image"],
  ["snapshot", "-c", controls, "image"],
  ["snapshot", "-a", controls, "image"],
  ["snapshot", "-a", "1", "image"],
  ["snapshot", "-d", controls, "image"],
  ["compare", "image", "image"],
  ["compare", "image", "sound"],
  ["measure", "-O", "qcow2", "image"],
  ["measure", "-O", "qcow2", "--output=json", "-l", controls, "image"],
  ["convert", "-O", "qcow2", "image", "out"],
  ["convert", "-O", "raw", "-l", controls, "image", "out"],
  ["convert", "-O", "qcow2", "-c", "--bitmaps", "image", "out"],
  ["convert", "-O", "qcow2", "--bitmaps", "--skip-broken-bitmaps", "image", "out"],
  ["dd", "-O", "raw", "if=image", "of=out", "count=1"],
  ["create", "-f", "qcow2", "-b", "image", "-F", "qcow2", "out"],
  ["create", "-f", "qcow2", "-b", "image", "out"],
  ["rebase", "-u", "-b", "", "image"],
  ["rebase", "-b", "sound", "-F", "qcow2", "image"],
  ["commit", "image"],
  ["resize", "image", "2M"],
  ["amend", "-o", "compat=0.10", "image"],
  ["bitmap", "--add", "image", controls],
  ["bitmap", "--clear", "image", controls],
  ["bitmap", "--enable", "image", controls],
  ["bitmap", "--merge", controls, "image", "other"],
  ["bitmap", "--remove", "image", controls],
  ["bench", "-c", "1", "image"],
];

/** What only `platter` has. */
const ours: readonly string[][] = [
  ...both.map(([command = "", ...words]) => [command, "--json", ...words]),
  ...["info", "check", "map", "convert", "compare"].map((command) => [
    command,
    "--untrusted",
    "image",
    ...(command === "convert" ? ["-O", "raw", "out"] : []),
    ...(command === "compare" ? ["sound"] : []),
  ]),
  ["audit", "image"],
  ["audit", "--json", "image"],
  ["du", "image"],
  ["du", "--json", "image"],
  ["explain", "image"],
  ["explain", "--json", "image"],
  ["explain", "--field", "", "image"],
  ["bitmap", "--list", "image"],
  ["bitmap", "--list", "--json", "image"],
  ["snapshot", "--json", "image"],
  ["convert", "--progress=json", "-O", "raw", "image", "out"],
];

/** What must not come out: all that moves a cursor, and a name's own line. */
const bad = /[^\n\P{Cc}]|[\u200e\u200f\u2028-\u202e\u2066-\u2069]|^FORGED/mu;

let sound: SoundImages;
beforeAll(async () => {
  sound = await makeSound(top);
});

function fresh({ name, from, make }: (typeof nameImages)[number]): string {
  const directory = join(top, name);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory);
  writeFileSync(join(directory, "image"), make(sound[from ?? "qcow2"]));
  writeFileSync(join(directory, "sound"), sound.qcow2);
  // The file that is named is there, and found.
  writeFileSync(join(directory, controls), sound.qcow2);
  return directory;
}

async function run(
  program: "platter" | "qemu-img",
  [command = "", ...rest]: readonly string[],
  cwd: string,
) {
  const environment = new FakeEnvironment(true, { NO_COLOR: "1" });
  const home = process.cwd();
  process.chdir(cwd);
  try {
    const takesObject = !["audit", "du", "explain"].includes(command);
    const words = [command, ...(takesObject ? secret : []), ...rest];
    const code = await main(["node", `/bin/${program}`, ...words], environment, services);
    return { code, text: environment.stdout.text + environment.stderr.text };
  } finally {
    process.chdir(home);
  }
}

describe.each(nameImages)("$name ($field)", (image) => {
  it.each(["platter", "qemu-img"] as const)("as %s", async (program) => {
    const wrong: string[] = [];
    let named = 0;
    for (const line of program === "platter" ? [...both, ...ours] : both) {
      const { code, text } = await run(program, line, fresh(image));
      if (bad.test(text)) wrong.push(`${JSON.stringify(line)} ${code}: ${JSON.stringify(text)}`);
      if (text.includes("This is a bug")) wrong.push(text);
      if (text.includes("FORGED") && !line.includes(controls)) named++;
    }
    expect(wrong).toEqual([]);
    // Some of them did have it to say.
    if (!/uuid|hash|extension|known|backing-format/.test(image.name))
      expect(named).toBeGreaterThan(0);
  });
});

it("as qemu-img, not to a terminal, names are what they are", async () => {
  const image = nameImages.find(({ name }) => name === "names-snapshot")!;
  const environment = new FakeEnvironment(false);
  const file = join(fresh(image), "image");
  await main(["node", "/bin/qemu-img", "snapshot", "-l", file], environment, services);
  expect(environment.stdout.text).toContain(controls);
  expect(readFileSync(file)).toEqual(Buffer.from(image.make(sound.qcow2)));
});
