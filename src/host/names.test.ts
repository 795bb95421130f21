import { describe, expect, test } from "vitest";
import { localName, protocolOf, resolveReference } from "./names.ts";

describe("protocolOf", () => {
  test.each([
    ["disk.img", undefined],
    ["./a:b.img", undefined],
    ["/a:b", undefined],
    ["a/b:c", undefined],
    ["a:b.img", "a"],
    [":x", ""],
    ["nbd://host/x", "nbd"],
  ])("%s → %s", (name, protocol) => {
    expect(protocolOf(name)).toBe(protocol);
  });
});

describe("localName", () => {
  test.each([
    ["disk.img", "disk.img", "disk.img"],
    ["file:disk.img", "disk.img", "disk.img"],
    ["file:///x/disk.img", "///x/disk.img", "///x/disk.img"],
    ["file:file:x.img", "file:x.img", "./file:x.img"],
  ])("%s is the file %s, called %s", (name, path, called) => {
    expect(localName(name)).toEqual({ path, name: called, mustBeDevice: false });
  });

  test("a device can be asked for", () => {
    expect(localName("host_device:/dev/sda")).toMatchObject({
      path: "/dev/sda",
      mustBeDevice: true,
    });
  });

  test("a protocol that nobody knows is refused in QEMU's words", () => {
    expect(() => localName("a:b.img")).toThrow(
      expect.objectContaining({
        code: "E_UNSUPPORTED",
        details: expect.objectContaining({ qemu: "Unknown protocol 'a'" }),
      }),
    );
  });

  test("a protocol of QEMU's that we lack is refused by name", () => {
    expect(() => localName("nbd://x/y")).toThrow(/cannot be reached over 'nbd:'/);
  });

  test.each(["", "file:"])("%j names nothing", (name) => {
    expect(() => localName(name)).toThrow(expect.objectContaining({ code: "E_INVALID_ARGUMENT" }));
  });
});

describe("resolveReference", () => {
  test.each([
    ["base", "disk", "base"],
    ["base", "dir/disk", "dir/base"],
    ["../base", "./dir/disk", "./dir/../base"],
    ["base", "file:dir/disk", "file:dir/base"],
    ["base", "file:disk", "file:base"],
    ["/abs/base", "dir/disk", "/abs/base"],
    ["nbd://h/x", "dir/disk", "nbd://h/x"],
    ['json:{"a":1}', "dir/disk", 'json:{"a":1}'],
    ["./a:b", "dir/disk", "dir/./a:b"],
  ])("%s in %s is %s", (reference, image, expected) => {
    expect(resolveReference(reference, image)).toBe(expected);
  });

  test("an image without a directory cannot have relative references", () => {
    expect(() => resolveReference("base", "json:{}")).toThrow(
      expect.objectContaining({ code: "E_UNSUPPORTED" }),
    );
  });
});
