import { describe, expect, test } from "vitest";
import { contents, packedBy, testCodecs } from "../../src/codec/codecs.test-kit.ts";
import type { Codec, Codecs } from "../../src/codec/index.ts";
import { PlatterError } from "../../src/errors.ts";
import { findDirectCodecs } from "../../src/host/direct-codecs.ts";
import { zlibCodec, zstdCodec } from "../../src/host/node-zlib.ts";

const direct = findDirectCodecs();

const pairs: ReadonlyArray<readonly [string, Codec | undefined, Codec]> = [
  ["zlib", direct.zlib, zlibCodec],
  ["zstd", direct.zstd, zstdCodec],
];

const refuse = (type: string): PlatterError =>
  new PlatterError("E_CODEC", `There is no codec for '${type}'.`);

const { zlib, zstd } = direct;
if (zlib !== undefined && zstd !== undefined) {
  const codecs: Codecs = {
    load: async (type) => {
      if (type === "zlib") return zlib;
      if (type === "zstd") return zstd;
      throw refuse(type);
    },
  };
  testCodecs("called directly", codecs);
}

test.runIf(process.versions.node.startsWith("26"))("are there in a current Node", () => {
  expect(Object.values(direct)).toHaveLength(2);
});

describe.each(pairs)("%s", (_name, codec, through) => {
  test.skipIf(codec === undefined)("packs as node:zlib does, byte for byte", () => {
    for (const make of Object.values(contents)) {
      for (const length of [512, 4096, 65536, 2 * 2 ** 20]) {
        const data = make(length);
        for (const level of [undefined, 1, 5, 9]) {
          for (const limit of [length, length >>> 1, 100]) {
            const [ours, theirs] = [codec!, through].map((one) => {
              const packed = packedBy(one, data, limit, level);
              return packed && Buffer.from(packed).toString("base64");
            });
            expect(ours === theirs, `${length} ${limit} ${level}`).toBe(true);
          }
        }
      }
    }
  });
});

test("without koffi there are none", () => {
  const nothing = findDirectCodecs(() => {
    throw new Error("not installed");
  });
  expect(nothing).toEqual({});
});

test("a library that lacks the functions, or whose functions do something else, is not used", () => {
  const koffi = { errno: () => 0, address: () => 0n };
  const lacking = findDirectCodecs(() => ({
    ...koffi,
    load: () => ({
      func: () => {
        throw new Error("not found");
      },
    }),
  }));
  expect(lacking).toEqual({});
  const idle = Object.assign(() => 0, { async: () => undefined });
  const other = findDirectCodecs(() => ({ ...koffi, load: () => ({ func: () => idle }) }));
  expect(other).toEqual({});
});
