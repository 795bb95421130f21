import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, inject, it } from "vitest";
import { formatExactSize, formatSize, parseSize, readSize } from "../../src/cli/contract.ts";
import { PlatterError } from "../../src/errors.ts";
import { hasPeer, peer } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-sizes-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What qemu-img takes a size for: it prints the cluster size before it looks at it. */
function peerReads(text: string): { value: bigint | string; warned: boolean } {
  const words = ["create", "-f", "qcow2", "-o", `cluster_size=${text}`, "x.qcow2", "1M"];
  const { stdout, stderr } = peer(words, directory);
  const warned = stderr.includes("multiplier suffix on hex numbers");
  const value = /cluster_size=(-?\d+)/.exec(stdout)?.[1];
  if (value !== undefined) return { value: BigInt.asUintN(64, BigInt(value)), warned };
  if (stderr.includes("expects a non-negative number below 2^64"))
    return { value: "invalid", warned };
  if (stderr.includes("is out of range for parameter")) return { value: "range", warned };
  throw new Error(`not understood: ${stderr}`);
}

function weRead(text: string): { value: bigint | string; warned: boolean } {
  const reading = readSize(text);
  const value = reading.kind === "size" ? reading.value : reading.kind;
  return { value, warned: reading.hexSuffix };
}

const piece = fc.constantFrom(
  ..."0123456789".split(""),
  "0x",
  ".",
  "k",
  "K",
  "M",
  "G",
  "T",
  "P",
  "E",
  "e",
  "b",
  "B",
  "-",
  "+",
  " ",
  "f",
  "x",
  "1e3",
  ".5",
  "18446744073709551615",
  "9007199254740993",
  "999999999999",
);

describe.skipIf(!hasPeer)("sizes are what qemu-img takes them for", () => {
  it.each([
    "1Q",
    "-1",
    "-0",
    "+1",
    "+0x10",
    "",
    " 1",
    "\t1",
    "1 ",
    "010",
    "0x10",
    "0X1fk",
    "0x",
    "0x1.8",
    "0x1p3",
    "1.",
    "1.k",
    ".5k",
    "1.5",
    "1.0",
    "1.5b",
    "1.5e",
    "1.5e1k",
    "1.e3",
    "1e3",
    "0.99999999999999999999k",
    "0.9999999999999999E",
    "0.00048828125k",
    "0.000488281249k",
    "3.14159265358979E",
    "15.9999999999999999E",
    "16E",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551616k",
    "99999999E",
    "9223372036854775807",
    "9223372036854775808",
    "0xffffffffffffffff",
    "0x10000000000000000",
    "-18446744073709551615",
    "-18446744073709551616",
    "-18446744073709551616k",
    "inf",
    "nan",
    "é",
    "1é",
  ])("%j", (text) => {
    expect(weRead(text)).toEqual(peerReads(text));
  });

  it("for anything that looks like a size", () => {
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 5 }), (pieces) => {
        const text = pieces.join("");
        // An exponent that overflows makes qemu-img 7.2 read on behind the end of the text.
        fc.pre(!/\.\d+[eE][+-]?\d{3}/.test(text));
        expect(weRead(text)).toEqual(peerReads(text));
      }),
      { numRuns: 400 * inject("effort") },
    );
  }, 600_000);

  it.each([
    ["image size", ["create", "-f", "raw", "--", "x.raw"]],
    ["start offset", ["map", "x.raw", "-s"]],
    ["max length", ["map", "x.raw", "-l"]],
    ["buffer size for sparse output", ["convert", "x.raw", "y.raw", "-S"]],
    ["rate limit", ["convert", "x.raw", "y.raw", "-r"]],
  ])("and a bad %s is refused in its words", (what, words) => {
    for (const text of ["1Q", "-1", "1.5", "9223372036854775808", "16E", "0x1p3"]) {
      let ours = "";
      try {
        parseSize(text, {
          what,
          onWarning: (message) => (ours += `qemu-img: warning: ${message}\n`),
        });
      } catch (error) {
        if (error instanceof PlatterError) ours += `qemu-img: ${error.details.qemu}\n`;
      }
      expect(peer([...words, text], directory)).toEqual({ stdout: "", stderr: ours, code: 1 });
    }
  });
});

describe.skipIf(!hasPeer)("sizes for people", () => {
  it("are written as qemu-img writes them", () => {
    const sizes = fc.oneof(
      fc.integer({ min: 0, max: 2 ** 13 }).map((sectors) => sectors * 512),
      // Halves and quarters of a unit are where rounding to three digits has ties.
      fc
        .tuple(fc.integer({ min: 1, max: 4096 }), fc.integer({ min: 10, max: 38 }))
        .map(([quarters, power]) => quarters * 2 ** power),
      fc.integer({ min: 0, max: 2 ** 43 }).map((sectors) => sectors * 512),
    );
    fc.assert(
      fc.property(sizes, (size) => {
        const path = join(directory, "sparse.qcow2");
        const options = ["-o", "cluster_size=2M", "-q", path, `${BigInt(size)}`];
        fc.pre(peer(["create", "-f", "qcow2", ...options]).code === 0);
        const { stdout } = peer(["info", path]);
        expect(stdout).toContain(`\nvirtual size: ${formatExactSize(size)}\n`);
        expect(formatExactSize(size).startsWith(formatSize(size))).toBe(true);
      }),
      { numRuns: 60 },
    );
  }, 600_000);
});
