import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { Commands } from "../../src/cli/contract.ts";
import { PlatterError } from "../../src/errors.ts";
import { hasPeer, peer, run } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-arguments-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** Every image is missing, or its format unknown: what is opened first shows in the message. */
function fail(name: string, format: string | undefined): never {
  const known = format === undefined || format === "raw" || format === "qcow2";
  const why = known
    ? `Could not open '${name}': No such file or directory`
    : `Unknown driver '${format}'`;
  throw new PlatterError("E_NOT_FOUND", "x", { qemu: `Could not open '${name}': ${why}` });
}

const commands: Partial<Commands> = {
  info: async ({ name, format }) => fail(name, format),
  check: async ({ name, format }) => fail(name, format),
  // A generator, as the real one is, that fails before there is anything to yield.
  // oxlint-disable-next-line require-yield
  map: async function* ({ name, format }) {
    fail(name, format);
  },
  compare: async ({ first, firstFormat }) => fail(first, firstFormat),
  convert: async ({ sources, sourceFormat }) => fail(sources[0] ?? "", sourceFormat),
};

async function expectSame(words: readonly string[]): Promise<void> {
  const theirs = peer(words, directory);
  const ours = await run("qemu-img", words, commands);
  if (theirs.code === 0) expect({ words, code: ours.code }).toEqual({ words, code: 0 });
  else expect({ words, ...ours }).toEqual({ words, ...theirs });
}

describe.skipIf(!hasPeer)("arguments are understood, and refused, as by qemu-img", () => {
  it.each([
    "",
    "foo",
    "-- info x",
    "--foo",
    "-x",
    "-xV",
    "-V",
    "-Vx",
    "--vers",
    "--version=3",
    "--h",
    "-T",
    "--trace",
    "--foo info x",
    "info",
    "info x",
    "info x y",
    "info -x y",
    "info -Ux y",
    "info y -Ux",
    "info y -U -x",
    "info -xU y",
    "info -é y",
    "info -f",
    "info y -f",
    "info y -Uf",
    "info -Uf raw y",
    "info -Ufraw y",
    "info -f foo -f raw y",
    "info -f raw -ffoo y",
    "info --format raw y",
    "info --format=raw y",
    "info --f=raw y",
    "info --fo=foo y",
    "info --for=foo y",
    "info --forc y",
    "info --o=json y",
    "info --out=json y",
    "info --output=foo y",
    "info --output",
    "info --output y",
    "info --output= y",
    "map --output y",
    "check --output y",
    "info --backing-chain=1 y",
    "info --b y",
    "info --= y",
    "info --help",
    "info -h --foo",
    "info --foo -h",
    "info -- -x",
    "info -- -x y",
    "info x -- y",
    "info -",
    "info - -U",
    "map",
    "map x y",
    "map --start=1Q x",
    "map -s 4k -l 1Q x",
    "map --start-offset=-1 x",
    "map --max=16E x",
    "map -s -1 x",
    "map x -s",
    "map --output=foo x",
    "check",
    "check x y",
    "check -r foo x",
    "check -r",
    "check -T foo x",
    "check -T none x",
    "check --output=foo x",
    "check -p x",
    "check -qUf raw x",
    "compare",
    "compare x",
    "compare x y z",
    "compare x y",
    "compare -f foo x y",
    "compare -T foo x y",
    "compare -T foo x",
    "compare -p x y",
    "compare -pq x y",
    "compare -psqU x y",
    "compare --format=raw x y",
    "compare --output=json x y",
    "convert",
    "convert x",
    "convert x y",
    "convert -p x y",
    "convert -pO qcow2 x y",
    "convert -pq x y",
    "convert -f foo x y",
    "convert -b x y z",
    "convert -e x y",
    "convert -6 x y",
    "convert -s x y",
    "convert -S 1000 x y",
    "convert -S 1Q x y",
    "convert -S 32M x y",
    "convert -S -1 x y",
    "convert -S 0x1k x y",
    "convert -S 4k -S 3 x y",
    "convert -m 0 x y",
    "convert -m 17 x y",
    "convert -m 4k x y",
    "convert -m 010 x y",
    "convert -m 08 x y",
    "convert -m 020 x y",
    "convert -m 021 x y",
    "convert -m 0x10 x y",
    "convert -m -1 x y",
    "convert -r 1Q x y",
    "convert -W -m 4 x y",
    "convert -T foo x y",
    "convert -T foo x",
    "convert -t foo",
    "convert -t none -T directsync x y",
    "convert -n -o a=b x y",
    "convert -n -o a=b",
    "convert --target-is-zero x y",
    "convert --target-is-zero -n x y",
    "convert -o , x y",
    "convert -o a=1, x y",
    "convert --object",
    "convert --s x y",
    "convert --t x y",
    "create",
    "create -f qcow2",
    "create -b x -F raw",
    "create x 1M y",
    "create x -1",
    "create x -- -1",
    "create x 1Q",
    "create x 1Q y",
    "create x 9223372036854775808",
    "create -f foo x 1M",
    "create -f foo x 1Q",
    "create -f foo -o help",
    "create -f foo -o help x",
    "create -f raw -b y x 1M",
    "create -f raw -F raw x 1M",
    "create -f qcow2 -o foo=1 x 1M",
    "create -f qcow2 -o foo x 1M",
    "create -f qcow2 -o nofoo x 1M",
    "create -f qcow2 -o a,,b x 1M",
    "create -f qcow2 -o size=1048576 x 1M",
    "create -e x 1M",
    "create -p x 1M",
    "create --format=raw x 1M",
    "create -f qcow2 -o , x 1M",
    "create -f qcow2 -o foo=1, -o bar x 1M",
  ])("%s", async (line) => {
    await expectSame(line === "" ? [] : line.split(" "));
  });

  it.each([[["info", ""]], [[""]], [["create", "x", ""]], [["create", "-o", "", "x", "1M"]]])(
    "%j",
    async (words) => {
      const name = words[0] === "info" ? "The 'file' block driver requires a file name" : "";
      const theirs = peer(words, directory);
      if (name === "") await expectSame(words);
      else expect(theirs.stderr).toContain(name);
    },
  );

  const word = fc.constantFrom(
    "x",
    "y",
    "-",
    "--",
    "-U",
    "-f",
    "-fraw",
    "raw",
    "foo",
    "-Uf",
    "-UUfraw",
    "-z",
    "-Uz",
    "-zU",
    "-U-",
    "--U",
    "--format",
    "--format=raw",
    "--fo=raw",
    "--for=raw",
    "--force",
    "--force-share=1",
    "--output",
    "--output=json",
    "--out=human",
    "--outx=human",
    "--backing",
    "--back=1",
    "-é",
    "--é",
  );

  it("in any order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (words) =>
        expectSame(["info", ...words]),
      ),
      { numRuns: 400 },
    );
  }, 60_000);
});
