import { describe, expect, test } from "vitest";
import { portableCodecs } from "../codec/index.ts";
import { formatNamed, openDisk } from "../formats/index.ts";
import { MemoryStorage, type Storage } from "../storage/index.ts";
import { copy, type CopyOptions } from "./copy.ts";
import { fromDisk } from "./source.ts";

const KiB = 1024;

/** A storage that shares with others of its kind, in blocks of 4 KiB, and counts the bytes. */
class SharingStorage extends MemoryStorage {
  shared = 0;
  /** Whether it can. */
  able = true;
  readonly share = async (
    from: Storage,
    fromOffset: number,
    offset: number,
    length: number,
  ): Promise<boolean> => {
    if (!this.able || fromOffset % 4096 !== 0 || offset % 4096 !== 0) return false;
    const bytes = new Uint8Array(length);
    await from.read(fromOffset, bytes);
    await this.write(offset, bytes);
    this.shared += length;
    return true;
  };
}

/** Copies a disk of 1 MiB with data at `places`; tells what of it was shared. */
async function copied(
  formats: { readonly from: "raw" | "qcow2"; readonly to: "raw" | "qcow2" },
  places: ReadonlyArray<readonly [start: number, end: number]>,
  options: CopyOptions & { readonly able?: boolean },
): Promise<number> {
  const size = 1024 * KiB;
  const create = async (format: string, storage: MemoryStorage) => {
    const made = await formatNamed(format, "create").create!(storage, { size, values: {} });
    await made.finish({ durable: false });
    return openDisk(storage, { format, writable: true, codecs: portableCodecs });
  };
  await using source = await create(formats.from, new MemoryStorage({ name: "source" }));
  const expected = new Uint8Array(size);
  for (const [start, end] of places) {
    expected.fill(start % 251 || 1, start, end);
    await source.write(start, expected.subarray(start, end));
  }
  const storage = new SharingStorage({ name: "target" });
  storage.able = options.able ?? true;
  await using target = await create(formats.to, storage);
  await copy(fromDisk(source), target, portableCodecs, { targetIsZero: true, ...options });
  const found = new Uint8Array(size);
  await target.read(0, found);
  expect(found).toEqual(expected);
  return storage.shared;
}

const whole = [
  [0, 128 * KiB],
  [512 * KiB, 576 * KiB],
] as const;

describe("sharing with the source", () => {
  test.each(["raw", "qcow2"] as const)("whole clusters, qcow2 to %s", async (to) => {
    expect(await copied({ from: "qcow2", to }, whole, { share: "always" })).toBe(192 * KiB);
    expect(await copied({ from: "qcow2", to }, whole, { share: "auto" })).toBe(192 * KiB);
    expect(await copied({ from: "qcow2", to }, whole, {})).toBe(0);
  });

  test("where it cannot be, data is copied, or it is an error", async () => {
    const formats = { from: "qcow2", to: "raw" } as const;
    expect(await copied(formats, whole, { share: "auto", able: false })).toBe(0);
    await expect(copied(formats, whole, { share: "always", able: false })).rejects.toMatchObject({
      code: "E_UNSUPPORTED",
      message: expect.stringMatching(/^target: the bytes 0 to \d+ of the disk cannot be shared/),
    });
  });

  test("what is compressed is not shared", async () => {
    await expect(
      copied({ from: "qcow2", to: "qcow2" }, whole, { share: "auto", compress: true }),
    ).resolves.toBe(0);
  });
});
