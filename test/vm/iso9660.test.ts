/** Our ISO 9660 images, read by others: isoinfo, and Linux's isofs where one may mount. */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { findPeer } from "../../tools/peers.ts";
import { isoImage, type IsoFile } from "../../src/vm/iso9660.ts";
import { describePeer } from "../peers.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-iso-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const seed: IsoFile[] = [
  { name: "user-data", contents: text("#cloud-config\n{}\n") },
  { name: "meta-data", contents: text("instance-id: one\n") },
  { name: "network-config", contents: text("") },
];
/** More records than a sector holds, names of every length, contents around the size of a sector. */
const many: IsoFile[] = Array.from({ length: 150 }, (_, n) => ({
  name: `${n}-${"name ".repeat(n % 12)}x`,
  contents: new Uint8Array((n % 7) * 1024 + (n % 3)).fill(n),
}));

function written(name: string, files: readonly IsoFile[]): string {
  const path = join(directory, name);
  writeFileSync(path, isoImage({ volumeId: "cidata", files }));
  return path;
}

describePeer("isoinfo", "an ISO image, read by isoinfo,", (isoinfo) => {
  it.each([
    ["a seed", seed],
    ["many files", many],
    ["no file", []],
  ])("has its label, its names and its contents: %s", async (_title, files) => {
    const path = written("peer.iso", files);
    const { stdout: descriptor } = await isoinfo.run(["-d", "-i", path]);
    expect(descriptor).toMatch(/^Volume id: cidata$/m);
    expect(descriptor).toContain("Joliet with UCS level 3 found");
    const { stdout: listing } = await isoinfo.run(["-J", "-f", "-i", path]);
    const names = listing.split("\n").filter((line) => line !== "");
    expect(names.toSorted()).toEqual(files.map(({ name }) => `/${name}`).toSorted());
    for (const { name, contents } of files.slice(0, 20)) {
      const { stdout } = spawnSync(isoinfo.path, ["-J", "-i", path, "-x", `/${name}`]);
      expect(Buffer.compare(stdout, contents), name).toBe(0);
    }
  });

  it("has short names for readers without Joliet", async () => {
    const { stdout } = await isoinfo.run(["-f", "-i", written("short.iso", seed)]);
    expect(stdout.trim().split("\n")).toEqual(["/META_DAT.;1", "/NETWORK_.;1", "/USER_DAT.;1"]);
  });
});

/** Whether this system lets us mount an image; containers often do not. */
function mountable(): boolean {
  const mount = findPeer("mount");
  if (mount === undefined || process.getuid?.() !== 0) return false;
  const at = join(directory, "try");
  mkdirSync(at, { recursive: true });
  const { status } = spawnSync(mount, [
    "-t",
    "iso9660",
    "-o",
    "loop,ro",
    written("try.iso", seed),
    at,
  ]);
  if (status === 0) spawnSync("umount", [at]);
  return status === 0;
}

describe.skipIf(!mountable())("an ISO image, mounted by Linux,", () => {
  it.each([
    ["a seed", seed],
    ["many files", many],
    ["other alphabets", [{ name: "Größe ☃ данные", contents: text("ä") }]],
  ])("has its names and contents: %s", (_title, files) => {
    const at = join(directory, "mounted");
    mkdirSync(at, { recursive: true });
    const path = written("mount.iso", files);
    const { status, stderr } = spawnSync(
      "mount",
      ["-t", "iso9660", "-o", "loop,ro,iocharset=utf8", path, at],
      { encoding: "utf8" },
    );
    expect(status, stderr).toBe(0);
    try {
      expect(readdirSync(at).toSorted()).toEqual(files.map(({ name }) => name).toSorted());
      for (const { name, contents } of files) {
        expect(Buffer.compare(readFileSync(join(at, name)), contents), name).toBe(0);
      }
    } finally {
      spawnSync("umount", [at]);
    }
  });
});
