/**
 * Encrypted images: what qemu-img makes we read and write, what we make it reads and writes, for each
 * cipher, mode and hash; and both say the same of secrets that are missing or wrong.
 */
import { createCipheriv } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { hasPeer, peer, runOurs, type Outcome } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

const MiB = 1024 * 1024;
const secret = "--object secret,id=s,data=open-sesame";
const home = process.cwd();
let directory = "";

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "platter-encryption-"));
  process.chdir(directory);
  const bytes = Buffer.alloc(2 * MiB);
  // Runs of data and of zeros, and data that fills no sector.
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = Math.floor(i / 100_000) % 3 === 1 ? 0 : (i * 31 + (i >> 9)) & 255;
  }
  writeFileSync("data.raw", bytes);
});

afterAll(() => {
  process.chdir(home);
  rmSync(directory, { recursive: true });
});

const ours = (line: string): Promise<Outcome> => runOurs(line.split(" "));

/** Runs qemu-img, which measures the processor first when it makes a key, and fails if that is busy. */
function theirs(line: string): Outcome {
  for (let i = 0; ; i++) {
    const outcome = peer(line.split(" "), directory);
    if (i === 40 || !outcome.stderr.includes("accurate CPU usage")) return outcome;
  }
}

const succeeds = { stderr: "", code: 0 };

/** The options that open an image, for --image-opts. */
const opened = (format: string, file: string): string =>
  format === "luks"
    ? `driver=luks,key-secret=s,file.filename=${file}`
    : `driver=qcow2,encrypt.key-secret=s,file.filename=${file}`;

const prefixed = (format: string, options: string): string =>
  format === "luks"
    ? options
    : `encrypt.format=luks,${options
        .split(",")
        .map((option) => `encrypt.${option}`)
        .join(",")}`;

const variants = [
  "iter-time=10",
  "iter-time=10,cipher-alg=aes-128",
  "iter-time=10,cipher-alg=aes-256,cipher-mode=cbc,ivgen-alg=plain",
  "iter-time=10,cipher-alg=aes-128,cipher-mode=cbc,ivgen-alg=essiv,ivgen-hash-alg=sha256",
  "iter-time=10,cipher-alg=aes-256,cipher-mode=ecb",
  "iter-time=10,hash-alg=sha1",
  "iter-time=10,hash-alg=sha512,cipher-mode=xts,ivgen-alg=plain64",
];

describe.skipIf(!hasPeer)("an encrypted image", () => {
  for (const format of ["luks", "qcow2"]) {
    for (const [i, variant] of variants.entries()) {
      // Each variant with one of the formats, and the usual one with both.
      if (i > 0 && (i % 2 === 0) !== (format === "luks") && inject("effort") === 1) continue;
      it(`${format} with ${variant}`, async () => {
        const options = `key-secret=s,${variant}`;
        const create = `create -q ${secret} -f ${format} -o ${prefixed(format, options)}`;
        for (const [maker, other, file] of [
          [theirs, ours, "theirs.img"],
          [ours, theirs, "ours.img"],
        ] as const) {
          rmSync(file, { force: true });
          expect(await maker(`${create} ${file} 2M`)).toMatchObject(succeeds);
          // What info says of it is the same, whoever made it.
          expect((await ours(`info ${file}`)).stdout).toBe(theirs(`info ${file}`).stdout);
          expect((await ours(`info --output=json ${file}`)).stdout).toBe(
            theirs(`info --output=json ${file}`).stdout,
          );
          const image = opened(format, file);
          for (const writer of [other, maker]) {
            const copy = `convert -n --image-opts --target-image-opts ${secret}`;
            expect(
              await writer(`${copy} driver=raw,file.filename=data.raw ${image}`),
            ).toMatchObject(succeeds);
            for (const output of ["human", "json"]) {
              const map = `map --output=${output} --image-opts ${secret} ${image}`;
              expect(await ours(map)).toEqual(theirs(map));
            }
            const compare = `compare --image-opts ${secret} ${image} driver=raw,file.filename=data.raw`;
            expect(await ours(compare)).toMatchObject({
              ...succeeds,
              stdout: "Images are identical.\n",
            });
            expect(theirs(compare)).toMatchObject({
              ...succeeds,
              stdout: "Images are identical.\n",
            });
          }
          if (format === "luks") continue;
          expect(theirs(`check --image-opts ${secret} ${image}`)).toMatchObject(succeeds);
          expect(await ours(`check --image-opts ${secret} ${image}`)).toMatchObject(succeeds);
        }
        const shape = (file: string) =>
          peer(["info", file], directory).stdout.replaceAll(
            /(file|image|uuid|iters|disk size): .*/g,
            "",
          );
        expect(shape("ours.img").replaceAll("ours.img", "")).toBe(
          shape("theirs.img").replaceAll("theirs.img", ""),
        );
      }, 120_000);
    }
  }

  it("takes writes of any place and length", async () => {
    for (const format of ["luks", "qcow2"]) {
      const file = `writes.${format}`;
      const options = prefixed(format, "key-secret=s,iter-time=10");
      expect(await ours(`create -q ${secret} -f ${format} -o ${options} ${file} 2M`)).toMatchObject(
        succeeds,
      );
      const model = Buffer.alloc(2 * MiB);
      const { open } = await import("../../src/index.ts");
      const runtime = format === "luks" ? { "key-secret": "s" } : { "encrypt.key-secret": "s" };
      const disk = await open(file, {
        writable: true,
        format,
        runtime,
        secrets: async () => new TextEncoder().encode("open-sesame"),
      });
      try {
        if (format === "luks") await disk.writeZeroes(0, disk.size);
        let state = 1;
        const next = (below: number): number => {
          state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
          return Math.floor((state / 2 ** 32) * below);
        };
        for (let round = 0; round < 40; round++) {
          const writes = Array.from({ length: 4 }, (_, i) => {
            // Apart from one another, but not by sectors.
            const at = i * 500_000 + next(400_000);
            return { at, bytes: Buffer.alloc(1 + next(3000), 1 + next(255)) };
          });
          for (const { at, bytes } of writes) bytes.copy(model, at);
          await Promise.all(writes.map(({ at, bytes }) => disk.write(at, bytes)));
          const at = next(2 * MiB - 5000);
          const found = Buffer.alloc(next(5000));
          await disk.read(at, found);
          expect(found.equals(model.subarray(at, at + found.length))).toBe(true);
        }
        // Neighbours inside one sector, at the same time.
        const pieces = Array.from({ length: 32 }, (_, i) => ({ at: 1024 + i * 16, fill: i + 1 }));
        for (const { at, fill } of pieces) model.fill(fill, at, at + 16);
        await Promise.all(pieces.map(({ at, fill }) => disk.write(at, Buffer.alloc(16, fill))));
      } finally {
        await disk.close();
      }
      writeFileSync("model.raw", model);
      const compare = `compare --image-opts ${secret} ${opened(format, file)} driver=raw,file.filename=model.raw`;
      expect(theirs(compare)).toMatchObject({ code: 0, stdout: "Images are identical.\n" });
    }
  }, 60_000);

  it("has snapshots, sizes and backing files like any other", async () => {
    const options = prefixed("qcow2", "key-secret=s,iter-time=10");
    const image = opened("qcow2", "s.qcow2");
    await ours(`create -q ${secret} -f qcow2 -F raw -b data.raw -o ${options} s.qcow2 3M`);
    for (const line of [
      `snapshot --image-opts ${secret} -c one ${image}`,
      `resize --image-opts ${secret} -q ${image} 4M`,
      `snapshot --image-opts ${secret} -c two ${image}`,
      `snapshot --image-opts ${secret} -a one ${image}`,
      `rebase --image-opts ${secret} -b  ${image}`,
    ]) {
      expect({ line, ...(await ours(line)) }).toMatchObject({ line, code: 0, stderr: "" });
      expect(theirs(`check --image-opts ${secret} ${image}`)).toMatchObject(succeeds);
    }
    const converted = `convert --image-opts ${secret} ${image} -O raw out.raw`;
    expect(theirs(converted)).toMatchObject(succeeds);
    const expected = Buffer.concat([readFileSync("data.raw"), Buffer.alloc(MiB)]);
    expect(readFileSync("out.raw").equals(expected)).toBe(true);
  });

  it("may have the legacy encryption, which has no header", async () => {
    const options = "encrypt.format=aes,encrypt.key-secret=s";
    const image = "driver=qcow2,encrypt.format=aes,encrypt.key-secret=s,file.filename=";
    for (const [maker, other, file] of [
      [theirs, ours, "theirs.aes"],
      [ours, theirs, "ours.aes"],
    ] as const) {
      expect(await maker(`create -q ${secret} -f qcow2 -o ${options} ${file} 2M`)).toMatchObject(
        succeeds,
      );
      const copy = `convert -n --image-opts --target-image-opts ${secret}`;
      const from = "driver=raw,file.filename=data.raw";
      expect(await other(`${copy} ${from} ${image}${file}`)).toMatchObject(succeeds);
      for (const reader of [ours, theirs]) {
        expect(
          await reader(`compare --image-opts ${secret} ${image}${file} ${from}`),
        ).toMatchObject(succeeds);
      }
    }
    expect(readFileSync("ours.aes").equals(readFileSync("theirs.aes"))).toBe(true);
  });

  it("finds its secret in a file, in base64, and encrypted with another one", async () => {
    writeFileSync("secret.txt", "open-sesame");
    writeFileSync("secret.b64", `${Buffer.from("open-sesame").toString("base64")}\n`);
    const key = Buffer.alloc(32, 7);
    const iv = Buffer.alloc(16, 9);
    const cipher = createCipheriv("aes-256-cbc", key, iv);
    const packed = Buffer.concat([cipher.update("open-sesame"), cipher.final()]).toString("base64");
    const key64 = key.toString("base64");
    const iv64 = iv.toString("base64");
    await ours(`create -q ${secret} -f luks -o key-secret=s,iter-time=10 k.luks 1M`);
    const image = opened("luks", "k.luks");
    for (const object of [
      "--object secret,id=s,file=secret.txt",
      "--object secret,id=s,file=secret.b64,format=base64",
      `--object secret,id=s,data=${Buffer.from("open-sesame").toString("base64")},format=base64`,
      `--object secret,id=k,data=${key64},format=base64 --object secret,id=s,data=${packed},keyid=k,iv=${iv64},format=base64`,
      `--object {"qom-type":"secret","id":"s","data":"open-sesame"}`,
    ]) {
      const line = `convert ${object} --image-opts ${image} -O raw k.raw`;
      expect({ line, ...(await ours(line)) }).toMatchObject({ line, ...succeeds });
      expect({ line, ...theirs(line) }).toMatchObject({ line, ...succeeds });
    }
  });

  for (const format of ["luks", "qcow2"]) {
    it(`gets and loses keys as with qemu-img: ${format}`, async () => {
      const create = prefixed(format, "key-secret=s,iter-time=10");
      await ours(`create -q ${secret} -f ${format} -o ${create} k.ours 1M`);
      writeFileSync("k.theirs", readFileSync("k.ours"));
      const others = "--object secret,id=n,data=new --object secret,id=m,data=more";
      const prefix = format === "luks" ? "" : "encrypt.";
      const slots = (file: string): string =>
        [...peer(["info", file], directory).stdout.matchAll(/active: (\w+)/g)].join(" ");
      for (const options of [
        "state=foo",
        "new-secret=n",
        "state=active",
        "state=active,new-secret=nobody",
        "state=active,new-secret=n,old-secret=s",
        "state=active,keyslot=0,new-secret=n",
        "state=active,keyslot=9,new-secret=n",
        "state=active,new-secret=n,iter-time=10",
        "state=active,keyslot=5,new-secret=m,iter-time=10",
        "state=inactive",
        "state=inactive,new-secret=n",
        "state=inactive,keyslot=3",
        "state=inactive,keyslot=1",
        "state=inactive,old-secret=n",
        "state=inactive,old-secret=m",
        "state=inactive,old-secret=s",
        "state=inactive,keyslot=0",
        "nonsense=1",
        ...(format === "luks" ? ["size=2M"] : []),
      ]) {
        const words = options.split(",").map((option) => `${prefix}${option}`);
        const line = (file: string) =>
          `amend ${secret} ${others} -o ${words.join(",")} --image-opts ${opened(format, file)}`;
        const [our, their] = [await ours(line("k.ours")), theirs(line("k.theirs"))];
        expect({ options, ...our }).toEqual({ options, ...their });
        expect([options, slots("k.ours")]).toEqual([options, slots("k.theirs")]);
      }
      // A key that we added opens with qemu-img, and the other way round.
      for (const [maker, reader, file] of [
        [ours, theirs, "k.ours"],
        [theirs, ours, "k.theirs"],
      ] as const) {
        const add = `amend ${secret} ${others} -o ${prefix}state=active,${prefix}new-secret=m,${prefix}iter-time=10`;
        expect(await maker(`${add} --image-opts ${opened(format, file)}`)).toMatchObject(succeeds);
        const other = opened(format, file).replace("key-secret=s", "key-secret=m");
        const read = `convert ${others} --image-opts ${other} -O raw k.raw`;
        expect(await reader(read)).toMatchObject(succeeds);
      }
    }, 60_000);
  }

  it("is as large as measure says", async () => {
    for (const line of [
      `measure ${secret} -O luks -o key-secret=s,iter-time=10 --size 1G`,
      `measure ${secret} -O luks -o key-secret=s,iter-time=10,cipher-alg=aes-128,cipher-mode=cbc data.raw`,
      `measure ${secret} -O qcow2 -o encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10 data.raw`,
    ]) {
      expect({ line, ...(await ours(line)) }).toEqual({ line, ...theirs(line) });
    }
  });

  it("says as qemu-img what is wrong", async () => {
    const ids = await mkImages();
    await expectSideBySide([
      "create -q -f luks a.luks 1M",
      "create -q -f luks -o key-secret=x a.luks 1M",
      `create -q ${secret} -f luks -o key-secret=s,cipher-alg=foo a.luks 1M`,
      `create -q ${secret} -f luks -o key-secret=s,hash-alg=foo a.luks 1M`,
      `create -q ${secret} -f luks -o key-secret=s,ivgen-alg=foo a.luks 1M`,
      `create -q ${secret} -f luks -o key-secret=s,cipher-mode=foo a.luks 1M`,
      `create -q ${secret} -f luks -b x -F raw -o key-secret=s a.luks 1M`,
      "create -q -f qcow2 -o encrypt.format=foo a.qcow2 1M",
      "create -q -f qcow2 -o encrypt.format=luks a.qcow2 1M",
      "create -q -f qcow2 -o encryption=on a.qcow2 1M",
      "create -q -f qcow2 -o encrypt.key-secret=s a.qcow2 1M",
      `create -q ${secret} -f qcow2 -o encryption=on,encrypt.format=aes,encrypt.key-secret=s a.qcow2 1M`,
      "create -f luks -o help",
      "create -f qcow2 -o help",
      ...ids.flatMap(([format, file]) => [
        `convert ${file} -O raw x.raw`,
        `map ${file}`,
        `check --image-opts ${opened(format, file)}`,
        `compare --object secret,id=s,data=wrong --image-opts ${opened(format, file)} ${opened(format, file)}`,
        `resize -f ${format} ${file} 8M`,
      ]),
    ]);
  });

  /** Two images in places that both sides can name. */
  async function mkImages(): Promise<ReadonlyArray<readonly [format: string, file: string]>> {
    const made: Array<readonly [string, string]> = [];
    for (const format of ["luks", "qcow2"]) {
      const file = join(directory, `shared.${format}`);
      const options = prefixed(format, "key-secret=s,iter-time=10");
      await ours(`create -q ${secret} -f ${format} -o ${options} ${file} 1M`);
      made.push([format, file]);
    }
    return made;
  }
});
