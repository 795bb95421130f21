import { describe, expect, test } from "vitest";
import { alignDown, guest, host, lower, type GuestOffset } from "../bytes/index.ts";
import { MemoryStorage } from "../storage/index.ts";
import { Disk } from "./disk.ts";
import type { Image } from "./image.ts";
import { Kind, nowhere, type Runs } from "./mapping.ts";

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

const unit = 512;

/**
 * An image whose map is a string, a cluster of 512 bytes a letter: `.` unallocated, `0` zero, `D` data
 * at the same place as in the guest, `C` compressed. Its tables cover four clusters and are loaded one
 * at a time.
 */
class Drawn implements Image {
  readonly format = "drawn";
  readonly clusterSize = unit;
  readonly backing = undefined;
  readonly storage: MemoryStorage;
  readonly size: number;
  loads = 0;
  private readonly letters: string;
  private readonly loaded = new Set<number>();

  constructor(map: string) {
    this.letters = map;
    this.size = map.length * unit;
    this.storage = MemoryStorage.from(
      Uint8Array.from({ length: this.size }, (_, i) => 1 + Math.floor(i / unit)),
      map,
    );
  }

  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    for (let position = at; position < end;) {
      const index = Math.floor(position / unit);
      if (!this.loaded.has(index >> 2)) return position;
      const next = lower(end, guest((index + 1) * unit));
      const letter = this.letters[index]!;
      const fits =
        letter === "C"
          ? into.add(Kind.compressed, alignDown(position, unit), unit, host(index), false, 100)
          : letter === "D"
            ? into.add(Kind.data, position, next - position, host(position), true)
            : into.add(
                letter === "0" ? Kind.zero : Kind.unallocated,
                position,
                next - position,
                nowhere,
              );
      if (!fits) return position;
      position = next;
    }
    return end;
  }

  load(at: GuestOffset): Promise<void> {
    this.loads++;
    this.loaded.add(Math.floor(at / unit) >> 2);
    return Promise.resolve();
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

async function drawn(disk: Disk, start?: number, end?: number): Promise<string[]> {
  const found: string[] = [];
  const range = { ...(start !== undefined && { start }), ...(end !== undefined && { end }) };
  for await (const extent of disk.extents(range)) {
    const { zero, present, compressed, depth, length } = extent;
    const kind = compressed ? "C" : zero ? (present ? "0" : ".") : "D";
    found.push(`${kind}${depth}@${extent.start}+${length}`);
  }
  return found;
}

describe("extents", () => {
  test("neighbours of a kind are one, across tables", async () => {
    const disk = new Disk(new Drawn("DDDDDD00..CC"));
    expect(await drawn(disk)).toEqual([
      "D0@0+3072",
      "00@3072+1024",
      ".0@4096+1024",
      "C0@5120+1024",
    ]);
  });

  test("start and end cut, also inside a compressed cluster", async () => {
    const disk = new Disk(new Drawn("DCD"));
    expect(await drawn(disk, 100, 1300)).toEqual(["D0@100+412", "C0@512+512", "D0@1024+276"]);
    expect(await drawn(disk, 600, 700)).toEqual(["C0@600+100"]);
    expect(await drawn(disk, 1536)).toEqual([]);
  });

  test("what is unallocated comes from the layers behind, as far as they reach", async () => {
    const bottom = new Disk(new Drawn("D.0"));
    const middle = new Disk(new Drawn("...D."), bottom);
    const top = new Disk(new Drawn("......D"), middle);
    expect(await drawn(top)).toEqual([
      "D2@0+512",
      ".2@512+512",
      "02@1024+512",
      "D1@1536+512",
      ".1@2048+512",
      ".0@2560+512",
      "D0@3072+512",
    ]);
  });

  test("stops when told to", async () => {
    const disk = new Disk(new Drawn("D0D0D0"));
    const signal = AbortSignal.abort();
    await expect(collect(disk.extents({ signal }))).rejects.toMatchObject({
      code: "E_ABORTED",
    });
  });

  test("reading loads a table once", async () => {
    const image = new Drawn("DDDDDDDD");
    const disk = new Disk(image);
    const found = new Uint8Array(8 * unit);
    await disk.read(0, found);
    await disk.read(0, found);
    expect(image.loads).toBe(2);
    expect([found[0], found[7 * unit]]).toEqual([1, 8]);
  });
});

describe("streams", () => {
  test("read a range in pieces", async () => {
    const disk = new Disk(new Drawn("DD00DD"));
    const chunks = await collect(disk.readable({ start: 100, end: 2600, chunkSize: 1000 }));
    expect(chunks.map(({ length }) => length)).toEqual([1000, 1000, 500]);
    expect([chunks[0]![0], chunks[1]![0], chunks[2]![499]]).toEqual([1, 0, 6]);
  });

  test("of an empty range end at once", async () => {
    const disk = new Disk(new Drawn("D"));
    expect(await collect(disk.readable({ start: 512 }))).toEqual([]);
  });

  test("past the end of the disk fail", async () => {
    const disk = new Disk(new Drawn("D"));
    await expect(collect(disk.readable({ end: 1000 }))).rejects.toMatchObject({
      code: "E_OUT_OF_RANGE",
    });
  });

  test.each([0, -1, 1.5, NaN])("pieces of %d bytes are refused", (chunkSize) => {
    const disk = new Disk(new Drawn("D"));
    expect(() => disk.readable({ chunkSize })).toThrow(/chunkSize/);
  });

  test("a cancelled signal ends in the stream", async () => {
    const disk = new Disk(new Drawn("D"));
    const signal = AbortSignal.abort();
    await expect(collect(disk.readable({ signal }))).rejects.toMatchObject({
      code: "E_ABORTED",
    });
  });

  test("cannot write to a disk that is open for reading", async () => {
    const writer = new Disk(new Drawn("D")).writable().getWriter();
    await expect(writer.write(new Uint8Array(1))).rejects.toMatchObject({ code: "E_READ_ONLY" });
  });
});
