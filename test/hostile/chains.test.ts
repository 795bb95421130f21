/**
 * Chains, and images that name files, with all that they name: what is opened is what qemu-img opens, and
 * with strace as the witness nothing else. Untrusted, nothing is.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { info, map, type ImageInfo } from "../../src/index.ts";
import { hasPeer } from "../cli/harness.ts";
import { errorOf } from "../qcow2/kit.ts";
import { hostileImages, isNaming } from "./all.ts";
import { hostileChains } from "./chains.ts";
import { hasStrace, makeSound, namesIn, runAll, traced, type Opened } from "./kit.ts";

const top = mkdtempSync(join(tmpdir(), "platter-chains-"));
afterAll(() => rmSync(top, { recursive: true, force: true }));
/** Images of one file that name another. */
const naming = hostileImages.filter(({ name }) => isNaming(name));

beforeAll(async () => {
  const { qcow2: sound } = await makeSound(top);
  for (const chain of hostileChains) {
    mkdirSync(join(top, chain.name));
    chain.make(join(top, chain.name), sound);
  }
  for (const image of naming) {
    mkdirSync(join(top, image.name));
    writeFileSync(join(top, image.name, "top"), image.make(sound));
  }
});

const chainOf = (directory: string, untrusted: boolean): Promise<ImageInfo[]> =>
  info({ name: join(top, directory, "top"), backingChain: true }, { untrusted });

describe(`${hostileChains.length} hostile chains`, () => {
  for (const { name, code } of hostileChains) {
    it(`${name}: ${code}`, async () => {
      if (code === "ok") await expect(chainOf(name, false)).resolves.toHaveLength(2);
      else expect(await errorOf(opened(name))).toMatchObject({ code });
    });

    it(`${name}: nothing is opened when it is not trusted`, async () => {
      const error = await errorOf(opened(name, true));
      expect(error.code).toBe("E_REFERENCE_DENIED");
    });
  }
});

/** Opens a chain as commands do that need the data. */
async function opened(directory: string, untrusted = false): Promise<void> {
  const name = join(top, directory, "top");
  await map({ name }, { untrusted }).next();
}

/** qemu-img follows a loop until something ends: its files, its memory, or its time. */
const limited = ["timeout", "-s", "KILL", "4", "prlimit", "--nofile=400", "--data=1000000000"];

describe.skipIf(!hasStrace || !hasPeer)("opened in the end", () => {
  const names = [...hostileChains, ...naming].map((one) => one.name);
  const images = names.map((name) => join(top, name, "top"));
  const seen = new Map<string, Opened>();

  beforeAll(() => {
    for (const mode of ["trusting", "untrusted"] as const) {
      seen.set(mode, runAll(mode, images).opened);
    }
  }, 250_000);

  for (const [i, name] of names.entries()) {
    it(`${name}: what qemu-img opens, and nothing else`, () => {
      const cwd = join(top, name);
      const { log } = traced([...limited, "/usr/bin/qemu-img", "map", "top"], cwd);
      const theirs = namesIn(log, cwd);
      const ours = seen.get("trusting")!.get(images[i]!)!;
      expect(ours).toContain(images[i]);
      const others = ours.filter((file) => !theirs.includes(file));
      expect(others.filter((file) => file !== `${cwd}.out`)).toEqual([]);
    });

    it(`${name}: nothing else when it is not trusted`, () => {
      const own = [images[i], `${join(top, name)}.out`];
      const ours = seen.get("untrusted")!.get(images[i]!)!;
      expect(ours.filter((file) => !own.includes(file))).toEqual([]);
    });
  }
});
