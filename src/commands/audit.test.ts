import { describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { signatures } from "../formats/index.ts";
import { audit, create, parseAuditPolicy, type AuditedFile, type AuditPolicy } from "./index.ts";
import { MemoryProvider } from "./provider.test-kit.ts";

/** An empty qcow2 image of 1 MiB with 64 KiB clusters. */
async function qcow2(): Promise<Uint8Array> {
  const provider = new MemoryProvider();
  await create({ name: "x", format: "qcow2", size: 2 ** 20 }, { provider, codecs: portableCodecs });
  return provider.get("x")!;
}

/** The image with other numbers: offset, width in bytes, value. */
async function changed(
  ...changes: ReadonlyArray<readonly [at: number, width: 1 | 4 | 8, value: bigint]>
): Promise<Uint8Array> {
  const bytes = new Uint8Array(8 * 65_536);
  bytes.set(await qcow2());
  const view = new DataView(bytes.buffer);
  for (const [at, width, value] of changes) {
    if (width === 1) view.setUint8(at, Number(value));
    else if (width === 4) view.setUint32(at, Number(value));
    else view.setBigUint64(at, value);
  }
  return bytes;
}

async function judge(bytes: Uint8Array, policy?: AuditPolicy): Promise<AuditedFile> {
  const provider = new MemoryProvider();
  provider.put("file", bytes);
  const { files } = await audit({ names: ["file"], policy }, { provider, codecs: portableCodecs });
  expect(provider.openCount).toBe(0);
  return files[0]!;
}

const codes = ({ findings }: AuditedFile): string[] => findings.map(({ code }) => code);
const l1 = 3 * 65_536;

describe("a qcow2 file", () => {
  test("of ours is safe", async () => {
    const file = await judge(await qcow2());
    expect(file).toMatchObject({ verdict: "safe", format: "qcow2", confidence: "certain" });
    expect(file.virtualSize).toBe(2 ** 20);
    expect(codes(file)).toEqual([]);
  });

  test.each([
    ["version 9", [[4, 4, 9n]], "invalid-header"],
    ["clusters of 2^63", [[20, 4, 63n]], "invalid-header"],
    ["a size of 2^63", [[24, 8, 1n << 63n]], "invalid-header"],
    ["encryption", [[32, 4, 2n]], "encrypted"],
    ["a dirty bit", [[72, 8, 1n]], "dirty"],
    ["a corrupt bit", [[72, 8, 2n]], "corrupt"],
    ["a data file without a name", [[72, 8, 4n]], "data-file"],
    ["an unknown feature", [[72, 8, 1n << 40n]], "unknown-feature"],
    ["a huge L1 table", [[36, 4, 0xffff_ffffn]], "invalid-header"],
    ["an L1 table past the end", [[40, 8, 1n << 40n]], "cut-short"],
    ["an L1 table at 2^64 − 65536", [[40, 8, (1n << 64n) - 65_536n]], "cut-short"],
    ["an L1 table over the header", [[40, 8, 0n]], "overlap"],
    ["an L2 table that is the L1 table", [[l1, 8, BigInt(l1)]], "overlap"],
    ["an L2 table past the end", [[l1, 8, 1n << 50n]], "cut-short"],
    [
      "one cluster used twice",
      [
        [l1, 8, 4n * 65_536n],
        [4 * 65_536, 8, 5n * 65_536n],
        [4 * 65_536 + 8, 8, 5n * 65_536n],
      ],
      "overlap",
    ],
    ["a huge refcount table", [[56, 4, 0xffff_ffffn]], "invalid-header"],
    ["more snapshots than there can be", [[60, 4, 0xffff_ffffn]], "invalid-header"],
    [
      "snapshots past the end",
      [
        [60, 4, 1n],
        [64, 8, 1n << 60n],
      ],
      "cut-short",
    ],
    ["an extension that does not end", [[116, 4, 0xffff_ffffn]], "invalid-header"],
  ] as const)("with %s is not", async (_what, changes, code) => {
    const file = await judge(await changed(...changes));
    expect(file.verdict).toBe("unsafe");
    expect(codes(file)).toContain(code);
  });

  test("that is cut inside its header is not", async () => {
    expect(codes(await judge((await qcow2()).slice(0, 40)))).toEqual(["cut-short", "refused"]);
  });

  test("that unpacks one stream into many clusters is a bomb", async () => {
    const bytes = await changed([l1, 8, 4n * 65_536n]);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < 8192; i++) {
      view.setBigUint64(4 * 65_536 + i * 8, (1n << 62n) | (5n * 65_536n));
    }
    const file = await judge(bytes);
    expect(codes(file)).toEqual(["expansion"]);
    expect((await judge(bytes, { maxExpansion: 2000 })).verdict).toBe("safe");
  });

  test("names files that stay closed, and control characters are said", async () => {
    const bytes = await changed([8, 8, 1024n], [16, 4, 10n]);
    bytes.set(new TextEncoder().encode("json:\x1b[2Jx"), 1024);
    const file = await judge(bytes);
    expect(codes(file)).toEqual(["backing-file", "control-characters"]);
    expect(file.references).toMatchObject([{ kind: "backing", name: "json:\x1b[2Jx" }]);
    const allowed = await judge(bytes, { allow: ["backing-file", "control-characters"] });
    expect(allowed.verdict).toBe("safe");
    expect(allowed.findings[0]!.severity).toBe("allowed");
  });
});

describe("other formats", () => {
  test.each(signatures.filter(({ format }) => format !== "qcow2"))(
    "$format, $means at $at: alone, and in a qcow2 file",
    async ({ format, at, bytes, kind }) => {
      const raw = new Uint8Array(131_072);
      const start = at < 0 ? raw.length + at : at;
      for (let i = 0; i < bytes.length; i++) raw[start + i] = bytes.charCodeAt(i);
      const alone = await judge(raw);
      expect(alone.format).toBe(kind === "image" ? format : "raw");
      expect(alone.verdict).toBe(kind === "image" ? "unknown" : "safe");
      if (at >= 0 && at < 8) return;
      const both = await changed();
      const place = at < 0 ? both.length + at : at;
      for (let i = 0; i < bytes.length; i++) both[place + i] = bytes.charCodeAt(i);
      const file = await judge(both);
      expect(file.verdict).toBe("unsafe");
      expect(codes(file)).toContain("more-than-one-format");
    },
  );

  test("a file that is not there", async () => {
    const provider = new MemoryProvider();
    const result = await audit({ names: ["no"] }, { provider, codecs: portableCodecs });
    expect(result.verdict).toBe("unknown");
    expect(result.files[0]!.findings).toMatchObject([{ code: "cannot-read" }]);
  });
});

describe("a policy", () => {
  test("limits formats and sizes", async () => {
    const policy = parseAuditPolicy(
      '{"formats": ["raw"], "maxVirtualSize": "512K", "maxFileSize": 1000}',
      "p",
    );
    expect(codes(await judge(await qcow2(), policy))).toEqual([
      "format-not-allowed",
      "virtual-size",
      "file-size",
    ]);
  });

  test.each([
    "no",
    "[]",
    "null",
    '{"allow": ["nothing"]}',
    '{"allow": "dirty"}',
    '{"formats": [1]}',
    '{"maxFileSize": -1}',
    '{"maxExpansion": 0}',
    '{"other": 1}',
  ])("like %s is refused", (text) => {
    expect(() => parseAuditPolicy(text, "p")).toThrow(/^p: /);
  });
});
