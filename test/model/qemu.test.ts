/**
 * The model test with QEMU as the judge: what random sequences leave in a file, `qemu-img check` finds
 * clean and `qemu-img convert` reads as the model says; and images that qemu-io has written to, we
 * read. A failing property prints a seed and a path; give both to `fc.assert` to replay it.
 */
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openDisk } from "../../src/formats/index.ts";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { Model } from "../../src/formats/model.test-kit.ts";
import { qcow2Setups } from "../../src/formats/model-setups.test-kit.ts";
import { sequences } from "../../src/formats/model-steps.test-kit.ts";
import { nodeCodecs } from "../../src/host/index.ts";
import { MemoryStorage } from "../../src/storage/index.ts";
import { describePeer } from "../peers.ts";
import { judge } from "./judge.ts";

let directory = "";

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "platter-model-"));
});

afterAll(async () => {
  await rm(directory, { recursive: true });
});

describePeer(["qemu-img@7.2", "qemu-io"], "the model and QEMU", (qemuImg, qemuIo) => {
  test("QEMU finds clean, and reads, what we wrote", async () => {
    const setups = qcow2Setups({
      compressions: ["zlib", "zstd"],
      clusterBits: [9, 17],
      encrypted: true,
    });
    const steps = sequences({ compressed: true, maxLength: 20 });
    const property = fc.asyncProperty(setups, steps, (setup, sequence) =>
      judge(qemuImg, setup, sequence, directory),
    );
    await fc.assert(property, {
      numRuns: 120 * inject("effort"),
    });
  });

  test("we read what QEMU wrote", async () => {
    const setups = qcow2Setups({ compressions: ["zlib", "zstd"], clusterBits: [9, 17] });
    const place = {
      at: fc.integer({ min: 0, max: 899 }),
      sectors: fc.integer({ min: 1, max: 300 }),
    };
    const command = fc.record({
      ...place,
      verb: fc.constantFrom("write", "write -z", "write -z -u", "write -c", "discard", "flush"),
      fill: fc.integer({ min: 1, max: 255 }),
    });
    const property = fc.asyncProperty(
      setups,
      fc.array(command, { minLength: 1, maxLength: 20 }),
      async (setup, commands) => {
        const { version, clusterSize, extendedL2, refcountBits, compression } = setup;
        const { preallocation, dataFile } = setup;
        const options = [
          `compat=${version === 2 ? "0.10" : "1.1"}`,
          `cluster_size=${clusterSize}`,
          `refcount_bits=${refcountBits}`,
          `compression_type=${compression ?? "zlib"}`,
          `preallocation=${preallocation}`,
          `extended_l2=${extendedL2 ? "on" : "off"}`,
          ...(dataFile === undefined ? [] : ["data_file=data"]),
          ...(dataFile === "raw" ? ["data_file_raw=on"] : []),
        ];
        const size = setup.sectors * 512;
        const args = ["create", "-f", "qcow2", "-o", options.join(","), "theirs", String(size)];
        await qemuImg.run(args, { cwd: directory });
        const script = commands.flatMap(({ verb, at, sectors, fill }) => {
          if (verb === "flush") return ["-c", "flush"];
          const unit = verb === "write -c" ? clusterSize : 512;
          const start = Math.floor((at * 512) / unit) * unit;
          const length = Math.min(verb === "write -c" ? unit : sectors * 512, size - start);
          if (length <= 0) return [];
          const pattern = verb === "write" || verb === "write -c" ? `-P ${fill}` : "";
          return ["-c", `${verb} ${pattern} ${start} ${length}`];
        });
        // It refuses to compress over a cluster that is there already, and goes on.
        const io = ["-f", "qcow2", ...script, "theirs"];
        if (script.length > 0) await qemuIo.attempt(io, { cwd: directory });
        await qemuImg.run(["convert", "-f", "qcow2", "-O", "raw", "theirs", "theirs.raw"], {
          cwd: directory,
        });
        const expected = new Uint8Array(await readFile(join(directory, "theirs.raw")));
        const bytes = new Uint8Array(await readFile(join(directory, "theirs")));
        const disk = await openDisk(MemoryStorage.from(bytes, "theirs"), {
          format: "qcow2",
          codecs: nodeCodecs,
          references: async () =>
            MemoryStorage.from(new Uint8Array(await readFile(join(directory, "data"))), "data"),
        });
        // QEMU itself leaves a wrong flag behind at times; we have to find what it finds.
        const { stdout } = await qemuImg.attempt(["check", "--output=json", "theirs"], {
          cwd: directory,
        });
        const { corruptions = 0, leaks = 0 } = JSON.parse(stdout) as Record<string, number>;
        const report = await disk.image.check!({});
        expect(report, JSON.stringify(commands)).toMatchObject({
          corruptions,
          leaks,
          checkErrors: 0,
        });
        expect(disk.size).toBe(expected.length);
        const found = new Uint8Array(disk.size);
        await disk.read(0, found);
        expectEqual(found, expected, 0);
        await disk.close();
      },
    );
    await fc.assert(property, {
      numRuns: 120 * inject("effort"),
    });
  });

  test("the file is not longer than what is in it", async () => {
    const file = new MemoryStorage({ name: "ours" });
    const setup = fc.sample(qcow2Setups({ compressions: ["zlib"] }), { numRuns: 1, seed: 7 })[0]!;
    const model = await Model.create(
      { ...setup, backing: undefined, sectors: 900 },
      nodeCodecs,
      file,
    );
    await model.take({ kind: "write", place: { at: 0, length: 300_000, grain: "byte" } });
    await model.take({ kind: "resize", sectors: 8, mode: "off" });
    await model.finish();
    await writeFile(join(directory, "ours"), file.toBytes());
    await qemuImg.run(["check", "-f", "qcow2", "ours"], { cwd: directory });
    expect((await stat(join(directory, "ours"))).size).toBeLessThan(20 * setup.clusterSize);
  });
});
