import { describe, expect, it } from "vitest";
import { isoImage } from "./iso9660.ts";

const contents = new Uint8Array(3);

describe("an ISO image", () => {
  it("is the same for the same files", () => {
    const make = (): Uint8Array =>
      isoImage({ volumeId: "cidata", files: [{ name: "a", contents }] });
    expect(make()).toEqual(make());
    // System area, three descriptors, four path tables, two directories, one file.
    expect(make().length / 2048).toBe(16 + 3 + 4 + 2 + 1);
  });

  it("has the time that it is given", () => {
    const date = new Date("2026-05-04T03:02:01Z");
    const image = isoImage({ volumeId: "cidata", files: [], date });
    expect([...image.subarray(16 * 2048 + 156 + 18, 16 * 2048 + 156 + 25)]).toEqual([
      126, 5, 4, 3, 2, 1, 0,
    ]);
    expect(new TextDecoder().decode(image.subarray(16 * 2048 + 813, 16 * 2048 + 829))).toBe(
      "2026050403020100",
    );
  });

  it.each(["", "a/b", "a;1", "..", "x".repeat(65), "line\n", "\u{1f4a9}", "\ud800"])(
    "does not take %j for a name",
    (name) => {
      expect(() => isoImage({ volumeId: "cidata", files: [{ name, contents }] })).toThrow(
        "cannot be a file's name",
      );
    },
  );

  it("does not take a name twice, nor a label that is none", () => {
    const file = { name: "a", contents };
    expect(() => isoImage({ volumeId: "cidata", files: [file, file] })).toThrow(
      'Two files of the ISO image are called "a"',
    );
    expect(() => isoImage({ volumeId: "a b", files: [] })).toThrow("cannot be a volume's label");
  });

  it("does not become larger than can be held", () => {
    const large = { contents: new Uint8Array(2 ** 28), name: "large" };
    expect(() => isoImage({ volumeId: "cidata", files: [large] })).toThrow("too large");
  });
});
