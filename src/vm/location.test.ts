import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { cpioArchive, injectInto } from "./cpio.ts";
import { isoImage } from "./iso9660.ts";
import { findKernel } from "./location.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-location-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value && new TextDecoder().decode(value);

function put(name: string, contents: string | Uint8Array): string {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, contents);
  return path;
}

describe("a location", () => {
  it("is a directory in which the kernel is where distributions have it", async () => {
    put("debian/install.amd/vmlinuz", "kernel");
    put("debian/install.amd/initrd.gz", "initrd");
    const found = await findKernel({ tree: join(directory, "debian") });
    expect([text(found.kernel), text(found.initrd), found.iso]).toEqual([
      "kernel",
      "initrd",
      undefined,
    ]);
    expect(found.name).toBe("install.amd/vmlinuz");
  });

  it("is two files, or one", async () => {
    const kernel = put("k", "kernel");
    const initrd = put("i", "initrd");
    expect(text((await findKernel({ kernel, initrd })).initrd)).toBe("initrd");
    expect((await findKernel({ kernel })).initrd).toBeUndefined();
    const within = await findKernel({ tree: directory, kernel: "k", initrd: "i" });
    expect(text(within.kernel)).toBe("kernel");
  });

  it("is an ISO image, which goes into the drive", async () => {
    const files = [
      { name: "vmlinuz", contents: bytes("kernel") },
      { name: "initrd.gz", contents: bytes("i".repeat(5000)) },
    ];
    const tree = put("cd.iso", isoImage({ volumeId: "cd", files }));
    const found = await findKernel({ tree });
    expect(text(found.kernel)).toBe("kernel");
    expect(found.initrd).toHaveLength(5000);
    expect(found.iso).toBe(tree);
    await expect(findKernel({ tree, kernel: "other" })).rejects.toThrow(
      `there is no such file in ${tree}`,
    );
  });

  it("is an ISO image that is cut off", async () => {
    const whole = isoImage({
      volumeId: "cd",
      files: [{ name: "vmlinuz", contents: new Uint8Array(9000) }],
    });
    const tree = put("cut.iso", whole.subarray(0, whole.length - 4096));
    await expect(findKernel({ tree, kernel: "vmlinuz" })).rejects.toMatchObject({
      code: "E_CORRUPT",
    });
  });

  it("has files added to its initrd", async () => {
    const kernel = put("k", "kernel");
    const initrd = put("i", "123456");
    const inject = [put("preseed.cfg", "answers")];
    const { initrd: added } = await findKernel({ kernel, initrd, inject });
    expect(text(added?.subarray(0, 14))).toBe("123456\x00\x00070701");
    expect(text(added)).toContain("preseed.cfg\0");
    await expect(findKernel({ kernel, inject })).rejects.toThrow("needs an initrd");
  });

  it.each([
    ["https://deb.debian.org/", "URLs are not supported"],
    ["nothing", "there is nothing of that name"],
    ["k", "neither a directory nor an ISO"],
    [".", "no installer's kernel"],
  ])("cannot be %s", async (tree, message) => {
    put("k", "kernel");
    const path = tree.includes(":") ? tree : join(directory, tree);
    await expect(findKernel({ tree: path })).rejects.toThrow(message);
  });
});

describe("a cpio archive", () => {
  it("is aligned in all its parts", () => {
    const archive = cpioArchive([{ name: "ab", contents: bytes("xyz"), mode: 0o755 }]);
    expect(archive.length % 512).toBe(0);
    // Mode of a regular file, 3 bytes, a name of 3 with its end.
    expect(text(archive.subarray(14, 22))).toBe("000081ed");
    expect(text(archive.subarray(110, 113))).toBe("ab\0");
    expect(text(archive.subarray(116, 119))).toBe("xyz");
    expect(text(archive.subarray(120, 126))).toBe("070701");
    expect(injectInto(bytes("12345"), []).length).toBe(8 + 512);
  });

  it.each(["", "a/b", ".."])("has no file called %j", (name) => {
    expect(() => cpioArchive([{ name, contents: bytes("") }])).toThrow("cannot be a file's name");
  });
});
