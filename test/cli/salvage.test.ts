/** `convert --salvage` of a damaged image, beside qemu-img. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { hasPeer, peer, runOurs } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-salvage-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const at = (name: string): string => join(directory, name);

const ours = (program: string, words: readonly string[]) => runOurs(words, { program });

describe.skipIf(!hasPeer)("salvage", () => {
  it("goes on behind a cluster that does not unpack", async () => {
    const bytes = new Uint8Array(300_000).map((_, i) => i >> 7);
    writeFileSync(at("plain"), bytes);
    peer(["convert", "-c", "-O", "qcow2", at("plain"), at("good.qcow2")]);
    const image = readFileSync(at("good.qcow2"));
    // Behind header, refcount table, refcount block and the two tables lies what is packed.
    image.fill(0xff, 5 * 65_536, 5 * 65_536 + 40);
    writeFileSync(at("bad.qcow2"), image);

    const line = (...more: string[]): string[] => [
      "convert",
      "--salvage",
      ...more,
      at("bad.qcow2"),
    ];
    const theirs = peer([...line(), at("theirs")]);
    expect(theirs.stderr).toContain("error while reading offset 0: Input/output error");
    expect(await ours("qemu-img", [...line(), at("ours")])).toEqual(theirs);
    expect(readFileSync(at("ours")).equals(readFileSync(at("theirs")))).toBe(true);
    expect(await ours("qemu-img", [...line("-q"), at("ours")])).toEqual(
      peer([...line("-q"), at("theirs")]),
    );

    const friendly = await ours("platter", [...line("--json"), at("ours")]);
    expect(JSON.parse(friendly.stdout)).toMatchObject({
      unreadable: [{ start: 0, length: 65_536 }],
    });
    const without = await ours("qemu-img", ["convert", at("bad.qcow2"), at("ours")]);
    expect(without.code).toBe(1);
  });
});
