/**
 * Scripts of command lines, run by qemu-img and by us, each in a directory of its own. After every
 * line both have printed the same, ended with the same code, and hold the same files.
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";
import { type Outcome, peer, runOurs, wordsOf } from "./harness.ts";

/** What may differ in a line's outcome: both sides are changed by it before they are compared. */
export interface Tolerance {
  /** Text that is replaced, such as sizes on the host. */
  readonly mask?: (text: string) => string;
  /** Compare files by what a guest sees and by `qemu-img check` instead of their bytes. */
  readonly contents?: boolean;
}

/**
 * Runs a script. A line is a command line of qemu-img without its name; one that starts with
 * `io FILE` runs the qemu-io commands behind it, separated by `;`, on both sides; `poke FILE OFFSET HEX`
 * changes bytes of a file on both sides; `same FILE` has ours become what theirs is. One that starts with
 * `~` may leave other bytes, as long as what guests see is the same and qemu-img's check finds nothing.
 */
export async function expectSideBySide(
  script: readonly string[],
  { mask = (text) => text }: Tolerance = {},
): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "platter-script-"));
  const sides = { ours: join(directory, "ours"), theirs: join(directory, "theirs") };
  mkdirSync(sides.ours);
  mkdirSync(sides.theirs);
  let byContents = false;
  try {
    for (const line of script) {
      if (line.startsWith("io ")) {
        for (const side of Object.values(sides)) qemuIo(line, side);
        continue;
      }
      if (line.startsWith("poke ")) {
        for (const side of Object.values(sides)) poke(line, side);
        continue;
      }
      if (line.startsWith("same ")) {
        const name = line.slice("same ".length);
        copyFileSync(join(sides.theirs, name), join(sides.ours, name));
        continue;
      }
      byContents ||= line.startsWith("~");
      const words = wordsOf(line.replace(/^~/, ""));
      const theirs = peer(words, sides.theirs);
      const ours = await runOurs(words, { cwd: sides.ours });
      const masked = ({ stdout, stderr, code }: Outcome) => ({
        line,
        stdout: mask(stdout),
        stderr: mask(stderr),
        code,
      });
      expect(masked(ours)).toEqual(masked(theirs));
      compareFiles(line, sides, byContents);
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function qemuIo(line: string, cwd: string): void {
  const [, file = "", commands = ""] = /^io (\S+) (.*)$/.exec(line) ?? [];
  const words = commands.split(";").flatMap((command) => ["-c", command.trim()]);
  const { status, stdout, stderr } = spawnSync("qemu-io", [...words, file], {
    cwd,
    encoding: "utf8",
  });
  if (status !== 0 || /failed|error/i.test(stdout)) throw new Error(`${line}: ${stdout}${stderr}`);
}

/** Changes bytes of a file: `poke FILE OFFSET HEX`. */
function poke(line: string, cwd: string): void {
  const [, file = "", offset = "", bytes = ""] = line.split(" ");
  const handle = openSync(join(cwd, file), "r+");
  const data = Buffer.from(bytes, "hex");
  writeSync(handle, data, 0, data.length, Number(offset));
  closeSync(handle);
}

function compareFiles(
  line: string,
  sides: { readonly ours: string; readonly theirs: string },
  byContents: boolean,
): void {
  const names = readdirSync(sides.theirs).toSorted();
  expect([line, readdirSync(sides.ours).toSorted()]).toEqual([line, names]);
  for (const name of names) {
    const [ours, theirs] = [join(sides.ours, name), join(sides.theirs, name)];
    const [a, b] = [withoutDates(readFileSync(ours)), withoutDates(readFileSync(theirs))];
    if (a.equals(b)) continue;
    const at = a.findIndex((byte, i) => byte !== b[i]);
    const where = `${name}: ${a.length} and ${b.length} bytes, first difference at ${at}`;
    if (!byContents) expect([line, where]).toEqual([line, "the same bytes"]);
    expect([line, peer(["compare", ours, theirs]).stdout]).toEqual([
      line,
      "Images are identical.\n",
    ]);
    const checked = peer(["check", ours]);
    // 63: the format has nothing to check.
    expect([line, checked.code === 63 ? 0 : checked.code, checked.stdout]).toEqual([
      line,
      0,
      checked.stdout,
    ]);
  }
}

/** An image whose snapshots were all made at the same time, whatever it is. */
function withoutDates(file: Buffer): Buffer {
  if (file.length < 72 || file.readUInt32BE(0) !== 0x5146_49fb) return file;
  const count = file.readUInt32BE(60);
  let at = Number(file.readBigUInt64BE(64));
  for (let i = 0; i < count && at + 40 <= file.length; i++) {
    file.fill(0, at + 16, at + 24);
    const length = file.readUInt16BE(at + 12) + file.readUInt16BE(at + 14);
    at += Math.ceil((40 + file.readUInt32BE(at + 36) + length) / 8) * 8;
  }
  return file;
}
