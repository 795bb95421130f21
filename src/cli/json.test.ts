import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { qemuKeyOrder } from "./contract.ts";
import { type JsonValue, jsonLine, plainJson, qemuJson } from "./json.ts";

function toJson(text: string): JsonValue {
  const value: JsonValue = JSON.parse(text);
  return value;
}

describe("JSON", () => {
  it("writes whole numbers with all digits", () => {
    expect(jsonLine([2 ** 62, 0, -5, 1.5])).toBe("[4611686018427387904, 0, -5, 1.5]");
  });

  it("leaves out what is undefined", () => {
    expect(jsonLine({ a: undefined, b: null })).toBe('{"b": null}');
    expect(plainJson({})).toBe("{}");
    expect(plainJson([])).toBe("[]");
  });

  it("escapes as QEMU does", () => {
    expect(qemuJson('\t"\\é\n\u007f\u0001😀/')).toBe(
      String.raw`"\t\"\\\u00E9\n\u007F\u0001\uD83D\uDE00/"`,
    );
  });

  it("keeps control characters out of terminals", () => {
    expect(plainJson("\u001b[2J\u009bé")).toBe(String.raw`"\u001b[2J\u009bé"`);
  });

  it("can be read back", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(value);
        for (const write of [qemuJson, plainJson, jsonLine]) {
          expect(JSON.parse(write(toJson(text)))).toEqual(JSON.parse(text));
        }
      }),
    );
  });

  it("knows QEMU's order of keys", () => {
    const order = [
      "backing-filename-format",
      "virtual-size",
      "filename",
      "cluster-size",
      "format",
      "actual-size",
      "format-specific",
      "full-backing-filename",
      "backing-filename",
      "dirty-flag",
    ];
    expect(qemuKeyOrder(order.toSorted())).toEqual(order);
  });
});
