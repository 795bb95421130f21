/** Block 0 of raw images whose format was guessed: no command lets a guest choose the format. */
import { describe, expect, it } from "vitest";
import { MemoryStorage, open, PlatterError } from "../src/index.ts";
import { hasPeer } from "./cli/harness.ts";
import { expectSideBySide } from "./cli/side-by-side.ts";

/** First bytes that other programs take for an image of that format. */
const headers: ReadonlyArray<readonly [string, string, number?]> = [
  ["qcow2", "QFI\xfb\0\0\0\x03"],
  ["qcow2", "QFI\xfb\0\0\0\x02"],
  ["luks", "LUKS\xba\xbe\0\x01"],
  ["qed", "QED\0"],
  ["vmdk", "KDMV\0\0\0\x01"],
  ["vmdk", "# Disk DescriptorFile\nversion=1\n"],
  ["vmdk", '# anything\n\nversion=1\nRW 1 FLAT "/etc/shadow" 0\n'],
  ["vdi", "\x7f\x10\xda\xbe", 0x40],
  ["vhdx", "vhdxfile"],
  ["vpc", "conectix"],
  ["parallels", "WithoutFreeSpace"],
  ["bochs", "Bochs Virtual HD Image"],
];

const bytesOf = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.codePointAt(0)!);

describe("a raw image whose format was guessed", () => {
  for (const [format, text, at = 0] of headers) {
    it(`cannot be given the header ${JSON.stringify(text)}`, async () => {
      const storage = new MemoryStorage({ size: 4096 });
      await using disk = await open(storage, { writable: true });
      await disk.write(at + 1, bytesOf(text).subarray(1));
      const error = await disk.write(at, bytesOf(text)).catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(PlatterError);
      expect((error as PlatterError).code).toBe("E_PERMISSION");
      expect((error as PlatterError).details.value).toBe(format);
      // Nothing of it has been written, and the rest of the disk is free.
      expect(storage.slice(at, at + 1)[0]).toBe(0);
      await disk.write(512, bytesOf(text));
    });
  }

  it("can be given it by who says that it is raw", async () => {
    const storage = new MemoryStorage({ size: 4096 });
    await using disk = await open(storage, { writable: true, format: "raw" });
    for (const [, text, at = 0] of headers) {
      await disk.write(at, bytesOf(text));
      expect(storage.slice(at, at + text.length)).toEqual(bytesOf(text));
    }
  });

  it("cannot be given it in pieces, at once or with zeros", async () => {
    const storage = new MemoryStorage({ size: 4096 });
    await using disk = await open(storage, { writable: true });
    const pieces = [bytesOf("QFI\xfb"), bytesOf("\0\0\0\x03")];
    const outcomes = await Promise.allSettled(pieces.map((piece, i) => disk.write(4 * i, piece)));
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
    await disk.write(0, bytesOf("XFI\xfb\0\0\0\x03"));
    await disk.write(64, bytesOf("\x7f\x10\xda\xbe").subarray(0, 3));
    await expect(disk.write(67, bytesOf("\xbe"))).rejects.toMatchObject({ code: "E_PERMISSION" });
    await disk.write(0, new Uint8Array(512));
    await disk.write(0, bytesOf("#\nXersion=1\nversion=1\n"));
    await expect(disk.write(2, bytesOf("v"))).rejects.toMatchObject({ code: "E_PERMISSION" });
  });
});

/** A guest's disk that is a qcow2 header, `evil`, and a raw image that a guest may write, `disk`. */
const start = [
  "create -q -f raw evil 1M",
  "poke evil 0 514649fb00000003",
  "create -q -f raw disk 1M",
];
/** Changes the type of the extension with the backing format into one that nobody knows. */
const forgotten = (file: string, at: number): string => `poke ${file} ${at} 12345678`;

describe.skipIf(!hasPeer)("as qemu-img", () => {
  it("refuses to convert a header into a raw image that it has guessed", async () => {
    await expectSideBySide([
      ...start,
      "convert -n -f raw --target-image-opts evil file.filename=disk",
      "convert -n -f raw --target-image-opts evil driver=raw,file.filename=disk",
    ]);
  });

  it("lets anything else be written there", async () => {
    await expectSideBySide([
      ...start,
      "create -q -f raw harmless 1M",
      "io harmless write -P 81 0 64k",
      "convert -n -f raw --target-image-opts harmless file.filename=disk",
      "compare -f raw -F raw harmless disk",
    ]);
  });

  it("refuses to commit a header into a raw image that it has guessed", async () => {
    await expectSideBySide(
      [
        ...start,
        "create -q -f qcow2 -b disk -F raw overlay",
        "convert -n -f raw -O qcow2 evil overlay",
        forgotten("overlay", 112),
        "commit overlay",
        "info --output=json -f raw disk",
        // Where the image says that it is raw, it may.
        "rebase -u -b disk -F raw overlay",
        "commit overlay",
      ],
      { mask: (text) => text.replaceAll(/"actual-size": \d+/g, "") },
    );
  });

  it("warns where a raw image is opened for writing without its format", async () => {
    await expectSideBySide(
      [
        ...start,
        "resize disk 2M",
        "resize -f raw disk 3M",
        "snapshot -l disk",
        "info disk",
        "bench -w -c 1 disk",
      ],
      { mask: (text) => text.replaceAll(/Run completed.*|disk size: .*/g, "") },
    );
  });
});
