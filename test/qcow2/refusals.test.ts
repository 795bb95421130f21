/**
 * Images that cannot be used, or not in full: what is not supported yet is refused by name, marks are
 * honoured, and no cut or invented header leads to anything but an error of ours.
 */
import { copyFileSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import {
  MemoryStorage,
  PlatterError,
  check,
  convert,
  create,
  info,
  open,
  type Disk,
} from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { KiB, MiB, errorOf, expectSameView, noise, temporaryDirectory } from "./kit.ts";

/** Fields of the header by their offset (specification, "Header"). */
const header = { size: 24, incompatible: 72, compatible: 80, autoclear: 88, order: 96 } as const;

/** Sets and clears bits of the 64-bit header field at `at`. */
function setBits(file: string, at: number, bits: bigint): void {
  const bytes = readFileSync(file);
  bytes.writeBigUInt64BE(bytes.readBigUInt64BE(at) | bits, at);
  writeFileSync(file, bytes);
}

/** Does all that reading an image can do. */
async function useUp(disk: Disk): Promise<void> {
  const bytes = new Uint8Array(4096);
  for (const at of [0, 64 * KiB, disk.size - 4096]) {
    if (at >= 0 && at + 4096 <= disk.size) await disk.read(at, bytes);
  }
  let seen = 0;
  for await (const extent of disk.extents()) {
    expect(extent.length).toBeGreaterThan(0);
    if (++seen > 1000) break;
  }
}

/** Opens and reads `bytes`; whatever is wrong with them is said in one line. */
async function attempt(bytes: Uint8Array): Promise<PlatterError | undefined> {
  try {
    await using disk = await open(MemoryStorage.from(bytes, "image"), {
      format: "qcow2",
      references: "ignore",
    });
    await useUp(disk);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(PlatterError);
    const found = error as PlatterError;
    expect(found.message).toMatch(/^[^\n]+$/);
    expect(found.details.file).toBe("image");
    return found;
  }
}

describePeer(["qemu-img@7.2", "qemu-io@7.2"], "images that are refused", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const image = join(directory, "image");
  const make = async (...args: string[]): Promise<void> => {
    await qemuImg.run(["create", "-q", "-f", "qcow2", ...args, image, "1M"]);
    await qemuIo.run(["-f", "qcow2", "-c", "write -P 3 0 128k", image]);
  };

  it("an encrypted image without its secret is refused by name, and stays as it is", async () => {
    const secret = ["--object", "secret,id=key,data=secret"];
    const options = "encrypt.format=luks,encrypt.key-secret=key,encrypt.iter-time=10";
    const words = ["create", "-q", ...secret, "-f", "qcow2", "-o", options, image, "1M"];
    // It measures the processor first, which fails on a busy machine.
    for (let i = 0; ; i++) {
      const { status, stderr } = await qemuImg.attempt(words);
      if (status === 0) break;
      if (i === 40 || !stderr.includes("accurate CPU usage")) throw new Error(stderr);
    }
    const before = readFileSync(image);
    for (const writable of [false, true]) {
      const error = await errorOf(open(image, { writable }));
      expect(error.code).toBe("E_SECRET");
      expect(error.message).toContain("encrypt.key-secret");
      expect(error.message).toContain(image);
    }
    const target = join(directory, "target");
    await errorOf(convert({ sources: [image], target, targetFormat: "raw" }));
    expect(readFileSync(image).equals(before)).toBe(true);
    rmSync(image);
  });

  describe("marks in the header", () => {
    beforeEach(() => make());

    it("unknown incompatible features are refused by their names, in QEMU's words", async () => {
      for (const bits of [1n << 5n, 1n << 63n, (1n << 5n) | (1n << 40n)]) {
        await make();
        // The last entry of the name table becomes the name of bit 5.
        const bytes = readFileSync(image);
        const at = bytes.indexOf("raw external data") - 2;
        bytes.fill(0, at, at + 48);
        bytes.set([0, 5], at);
        bytes.write("time travel", at + 2, "latin1");
        writeFileSync(image, bytes);
        setBits(image, header.incompatible, bits);
        const error = await errorOf(open(image));
        expect(error.code).toBe("E_UNSUPPORTED_FEATURE");
        const { stderr } = await qemuImg.attempt(["check", image]);
        expect(stderr.trimEnd()).toContain(error.details.qemu);
      }
    });

    it("an image marked corrupt can be read and not written", async () => {
      setBits(image, header.incompatible, 2n);
      const before = readFileSync(image);
      expect((await errorOf(open(image, { writable: true }))).code).toBe("E_CORRUPT_BIT");
      {
        await using disk = await open(image);
        const bytes = new Uint8Array(64);
        await disk.read(128 * KiB - 64, bytes);
        expect(bytes.every((byte) => byte === 3)).toBe(true);
      }
      expect(await info({ name: image })).toHaveLength(1);
      expect(await check({ name: image })).toMatchObject({ corruptions: 0, leaks: 0 });
      expect(readFileSync(image).equals(before)).toBe(true);
    });

    it("an image marked dirty can be read, and is repaired before it is written", async () => {
      setBits(image, header.incompatible, 1n);
      const bytes = readFileSync(image);
      bytes.writeUInt16BE(2, 2 * 64 * KiB + 2 * 5);
      writeFileSync(image, bytes);
      {
        await using disk = await open(image);
        await disk.read(128 * KiB - 64, new Uint8Array(64));
      }
      expect(readFileSync(image).equals(bytes)).toBe(true);
      const lines: string[] = [];
      {
        await using disk = await open(image, {
          writable: true,
          onRepair: (line) => lines.push(line),
        });
        await disk.write(0, noise(1000));
      }
      expect(lines.filter((line) => line.startsWith("Repairing"))).toEqual([
        "Repairing cluster 5 refcount=2 reference=1",
      ]);
      await qemuImg.run(["check", image]);
    });
  });

  describe("what others keep in the header", () => {
    const unknown = Buffer.concat([
      Buffer.from([0x12, 0x34, 0x56, 0x78, 0, 0, 0, 11]),
      Buffer.from("keep me, ok"),
      Buffer.alloc(5),
    ]);

    /** Puts an extension that nobody knows in front of those that are there. */
    const inject = (): void => {
      const bytes = readFileSync(image);
      const at = bytes.readUInt32BE(100);
      const end = 64 * KiB;
      const moved = Buffer.concat([bytes.subarray(0, at), unknown, bytes.subarray(at)]);
      bytes.set(moved.subarray(0, end));
      const name = bytes.readBigUInt64BE(8);
      if (name !== 0n) bytes.writeBigUInt64BE(name + BigInt(unknown.length), 8);
      writeFileSync(image, bytes);
    };

    it.each(["0.10", "1.1"])("stays when an image of version %s is resized", async (compat) => {
      writeFileSync(join(directory, "behind"), noise(MiB));
      await make("-o", `compat=${compat}`, "-b", "behind", "-F", "raw");
      if (compat === "1.1") inject();
      const before = readFileSync(image).subarray(0, 64 * KiB);
      // The feature names of another writer are not ours to change.
      if (compat === "1.1") before.write("DIRTY BIT", before.indexOf("dirty bit"), "latin1");
      const whole = readFileSync(image);
      before.copy(whole);
      writeFileSync(image, whole);
      {
        await using disk = await open(image, { writable: true, references: "ignore" });
        await disk.resize(2048 * MiB);
        await disk.write(1500 * MiB, noise(1000));
      }
      const after = readFileSync(image).subarray(0, 64 * KiB);
      expect(after.readBigUInt64BE(header.size)).toBe(2048n << 20n);
      // The fields that resizing is about aside, nothing has changed.
      for (const bytes of [before, after]) bytes.fill(0, header.size, 32).fill(0, 36, 48);
      expect(after.equals(before)).toBe(true);
      await qemuImg.run(["rebase", "-u", "-b", "", image]);
      await expectSameView(qemuImg, image);
    });
  });

  describe("cut and invented", () => {
    const source = join(directory, "source");
    beforeEach(async () => {
      rmSync(source, { force: true });
      await create({
        name: source,
        format: "qcow2",
        size: 8 * MiB,
        formatOptions: { cluster_size: 4096 },
      });
      await qemuIo.run([
        "-f",
        "qcow2",
        "-c",
        "write -P 7 0 100k",
        "-c",
        "write -c -P 9 4M 4k",
        "-c",
        "write -P 8 7M 1M",
        source,
      ]);
    });

    it("a header cut anywhere is an error of ours or an image", async () => {
      const whole = readFileSync(source);
      for (let length = 0; length < 600; length++) {
        const error = await attempt(whole.subarray(0, length));
        expect(error, `${length} bytes`).toBeDefined();
      }
    });

    it("tables and data cut anywhere are errors of ours", async () => {
      const whole = readFileSync(source);
      for (let length = 600; length < whole.length; length += 1531) {
        const error = await attempt(whole.subarray(0, length));
        if (error !== undefined) {
          expect(["E_TRUNCATED", "E_CORRUPT", "E_CODEC", "E_LIMIT"]).toContain(error.code);
        }
      }
    });

    const fields: ReadonlyArray<readonly [at: number, width: 4 | 8]> = [
      ...[4, 16, 20, 32, 36, 56, 60, 96, 100].map((at) => [at, 4] as const),
      ...[8, 24, 40, 48, 64, 72, 80, 88].map((at) => [at, 8] as const),
    ];
    it.each(fields)("the header field at %d (%d bytes) with extreme values", async (at, width) => {
      const bits = BigInt(width * 8);
      const extremes = [0n, 1n, 2n, (1n << bits) - 1n, (1n << bits) - 2n, 1n << (bits - 1n)];
      const whole = readFileSync(source);
      for (const value of [...extremes, 511n, 1n << 20n, 1n << 31n, (1n << (bits - 1n)) - 1n]) {
        const bytes = Buffer.from(whole);
        if (width === 4) bytes.writeUInt32BE(Number(value), at);
        else bytes.writeBigUInt64BE(value, at);
        await attempt(bytes);
        // For writing too, where refcounts are looked at.
        const changed = join(directory, "changed");
        writeFileSync(changed, bytes);
        await open(changed, { writable: true, references: "ignore", format: "qcow2" }).then(
          (disk) => disk.close(),
          (error: unknown) => expect(error).toBeInstanceOf(PlatterError),
        );
        writeFileSync(changed, bytes);
        await check({ name: changed, format: "qcow2" }).then(
          (found) =>
            expect(found.checkErrors + found.corruptions + found.leaks).toBeGreaterThanOrEqual(0),
          (error: unknown) => expect(error).toBeInstanceOf(PlatterError),
        );
      }
    });

    it("a cut file is refused by convert too, and no target is left", async () => {
      const cut = join(directory, "cut");
      const target = join(directory, "never");
      copyFileSync(source, cut);
      truncateSync(cut, 64 * KiB);
      const error = await errorOf(convert({ sources: [cut], target, targetFormat: "raw" }));
      expect(error.code).toBe("E_TRUNCATED");
      expect(() => readFileSync(target)).toThrow("ENOENT");
    });
  });
});
