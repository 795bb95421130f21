import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PlatterError } from "../errors.ts";
import { formatExactSize, formatSize, parseSize, readSize } from "./size.ts";

/** The value, or what is wrong. */
function read(text: string): bigint | string {
  const reading = readSize(text);
  return reading.kind === "size" ? reading.value : reading.kind;
}

describe("readSize", () => {
  it.each<[string, bigint]>([
    ["0", 0n],
    ["1", 1n],
    ["010", 10n],
    [" 1", 1n],
    ["\t+7", 7n],
    ["1b", 1n],
    ["1k", 1024n],
    ["1K", 1024n],
    ["2M", 2n << 20n],
    ["3G", 3n << 30n],
    ["4T", 4n << 40n],
    ["5P", 5n << 50n],
    ["1E", 1n << 60n],
    ["15E", 15n << 60n],
    ["1.5G", 3n << 29n],
    ["1.", 1n],
    ["1.0", 1n],
    ["1.k", 1024n],
    ["1.5e", 3n << 59n],
    ["0.1k", 102n],
    ["0.3k", 307n],
    ["0.00048828125k", 1n],
    ["0.99999999999999999999k", 0n],
    ["0x10", 16n],
    ["0X1e", 30n],
    ["0x1E", 30n],
    ["18446744073709551615", 2n ** 64n - 1n],
    ["9007199254740993", 9007199254740993n],
  ])("takes %j", (text, value) => {
    expect(read(text)).toBe(value);
  });

  it.each([
    "",
    " ",
    "-1",
    "-0",
    "+",
    "+-1",
    "- 1",
    "1Q",
    "1 k",
    "1k ",
    "1kk",
    "1KiB",
    "1e3",
    "1.5",
    "1.5b",
    "1.5e1k",
    "1.e3",
    "1..5",
    "1,5G",
    ".5k",
    "nan",
    "inf",
    "0x",
    "0x1.8k",
    "0x1p3",
    "0b1",
    "99999999999999999999k",
    "1\u00a0",
  ])("refuses %j", (text) => {
    expect(read(text)).toBe("invalid");
  });

  it.each(["18446744073709551616", "16E", "99999999E", "0xfffffffffffffffff"])(
    "calls %j too large",
    (text) => {
      expect(read(text)).toBe("range");
    },
  );

  it("notes a suffix on a hexadecimal number", () => {
    expect(readSize("0x10k")).toEqual({ kind: "size", value: 16384n, hexSuffix: true });
    expect(readSize("0x10").hexSuffix).toBe(false);
    expect(readSize("10k").hexSuffix).toBe(false);
  });

  it("reads every number with every suffix", () => {
    fc.assert(
      fc.property(
        fc.bigInt(0n, 2n ** 64n - 1n),
        fc.constantFrom("", ..."bBkKmMgGtTpPeE".split("")),
        (number, suffix) => {
          const value = number << BigInt(Math.max(0, "bkmgtpe".indexOf(suffix.toLowerCase())) * 10);
          const expected = value < 2n ** 64n ? value : "range";
          expect(read(`${number}${suffix}`)).toBe(expected);
        },
      ),
    );
  });
});

describe("parseSize", () => {
  const failure = (text: string, limits = {}): PlatterError => {
    try {
      parseSize(text, limits);
    } catch (error) {
      if (error instanceof PlatterError) return error;
    }
    throw new Error(`${text} was accepted`);
  };

  it("returns bytes", () => {
    expect(parseSize("1.5G")).toBe(1610612736);
    expect(parseSize("9007199254740991")).toBe(Number.MAX_SAFE_INTEGER);
    expect(parseSize("7E")).toBe(7 * 2 ** 60);
    expect(parseSize("4611686018427387392")).toBe(2 ** 62 - 512);
  });

  it("uses QEMU's words", () => {
    const error = failure("1Q", { what: "start offset" });
    expect(error.code).toBe("E_INVALID_SIZE");
    expect(error.message).toContain('"1Q"');
    expect(error.details.qemu).toBe(
      "Invalid start offset specified. You may use k, M, G, T, P or E suffixes for\n" +
        "qemu-img: kilobytes, megabytes, gigabytes, terabytes, petabytes and exabytes.",
    );
    expect(failure("9223372036854775808").details.qemu).toBe(
      "Invalid image size specified. Must be between 0 and 9223372036854775807.",
    );
    expect(failure("0", { what: "bs", minimum: 1, maximum: 2 ** 31 - 1 }).details.qemu).toBe(
      "Invalid bs specified. Must be between 1 and 2147483647.",
    );
  });

  it("refuses what a number cannot hold, unless it may round", () => {
    expect(failure("9007199254740993").code).toBe("E_INVALID_SIZE");
    expect(parseSize("9007199254740993", { roundTo: 512 })).toBe(9007199254741504);
    expect(failure("9223372036854775807", { roundTo: 512 }).code).toBe("E_INVALID_SIZE");
  });

  it("warns of hexadecimal numbers with suffixes", () => {
    const warnings: string[] = [];
    parseSize("0x1G", { onWarning: (message) => warnings.push(message) });
    expect(warnings).toEqual(["Using a multiplier suffix on hex numbers is deprecated: 0x1G"]);
  });
});

describe("formatSize", () => {
  it.each<[number, string]>([
    [0, "0 B"],
    [1, "1 B"],
    [512, "512 B"],
    [999, "999 B"],
    [1000, "0.977 KiB"],
    [1024, "1 KiB"],
    [200704, "196 KiB"],
    [1023590, "1e+03 KiB"],
    [1023999, "1e+03 KiB"],
    [1024000, "0.977 MiB"],
    [1610612736, "1.5 GiB"],
    // Ties go to the even digit.
    [1152 * 2 ** 20, "1.12 GiB"],
    [1408 * 2 ** 20, "1.38 GiB"],
    [10.25 * 2 ** 30, "10.2 GiB"],
    [100.5 * 2 ** 30, "100 GiB"],
    [101.5 * 2 ** 30, "102 GiB"],
    [2 ** 62, "4 EiB"],
  ])("%d is %s", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it("gives the exact number too", () => {
    expect(formatExactSize(2 ** 30)).toBe("1 GiB (1073741824 bytes)");
    expect(formatExactSize(2 ** 62)).toBe("4 EiB (4611686018427387904 bytes)");
  });
});
