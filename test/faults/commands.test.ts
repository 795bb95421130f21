/**
 * Crashes of every command that writes: the command line runs on images in memory, each change of any file is
 * recorded, and after each of them, and after samples of what may have reached the disk since the last flush,
 * the images that were there pass the check, and show the guest the same where the command is not to change that.
 */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import type { Disk } from "../../src/disk/index.ts";
import { PlatterError } from "../../src/errors.ts";
import { openDisk } from "../../src/formats/index.ts";
import { nodeCodecs } from "../../src/host/index.ts";
import {
  applyRecorded,
  MemoryStorage,
  RecordingStorage,
  type Recorded,
  type StorageProvider,
} from "../../src/storage/index.ts";
import { FakeEnvironment } from "../cli/harness.ts";
import { describePeer } from "../peers.ts";
import { generator, temporaryDirectory } from "../qcow2/kit.ts";
import { imageNames, makeImages, scenarios, type Scenario } from "./writing.ts";

/** What was done to which file, in order. */
type Log = Array<{ readonly file: string; readonly entry: Recorded }>;
type Files = Map<string, MemoryStorage>;

const totals = { lines: 0, prefixes: 0, samples: 0 };
const next = generator(inject("seed") ?? 7);

afterAll(() => {
  const { lines, prefixes, samples } = totals;
  process.stdout.write(
    `crash points of commands: ${prefixes} prefixes and ${samples} samples in between, of ${lines} command lines\n`,
  );
});

/** Files in memory; what is done to them goes to `log`. */
function recordedFiles(files: Files, log: Log): StorageProvider {
  const open = (name: string, storage: MemoryStorage): RecordingStorage => {
    const recording = new RecordingStorage(storage);
    const push = Array.prototype.push.bind(recording.log);
    Object.defineProperties(recording, { close: { value: () => Promise.resolve() } });
    Object.defineProperty(recording.log, "push", {
      value: (entry: Recorded) => {
        log.push({ file: name, entry });
        return push(entry);
      },
    });
    return recording;
  };
  return {
    open: async (name) => {
      const storage = files.get(name);
      if (storage !== undefined) return open(name, storage);
      throw new PlatterError("E_NOT_FOUND", `${name} does not exist`, { file: name });
    },
    create: async (name) => {
      const storage = new MemoryStorage({ name });
      files.set(name, storage);
      return {
        storage: open(name, storage),
        publish: () => Promise.resolve(),
        discard: () => Promise.resolve(),
      };
    },
    exists: async (name) => files.has(name),
    resolve: (reference) => reference,
  };
}

describePeer(["qemu-img", "qemu-io"], "a crash while a command works", (qemuImg, qemuIo) => {
  const clean = join(temporaryDirectory(), "clean");

  beforeAll(async () => {
    mkdirSync(clean);
    await makeImages(qemuImg, qemuIo, clean);
  });

  const cleanFiles = (): Files =>
    new Map(
      imageNames.map((name) => [name, MemoryStorage.from(readFileSync(join(clean, name)), name)]),
    );

  test.for(scenarios)("$words", async (scenario) => {
    const { words } = scenario;
    // Without barriers, nothing holds when the machine ends.
    const line = words.startsWith("convert")
      ? words.replace("convert", "convert -t writeback")
      : words;
    const log: Log = [];
    const environment = new FakeEnvironment();
    const provider = recordedFiles(cleanFiles(), log);
    const code = await main(["node", "/bin/platter", ...line.split(" ")], environment, {
      ...services,
      surroundings: async () => ({ provider, codecs: nodeCodecs, sameBytes: undefined }),
    });
    expect(code, environment.stderr.text).toBe(0);
    expect(log.length).toBeGreaterThan(0);
    totals.lines++;

    const state = cleanFiles();
    const before = scenario.same === undefined ? undefined : await contents(state, scenario.same);
    /** What certainly is on the disk: the state at the last flush, and how far the log was then. */
    const stable = copied(state);
    let since: Log = [];
    const flushes = log.filter(({ entry }) => entry.kind === "flush").length;
    const perFlush = Math.max(1, Math.round((60 * inject("effort")) / Math.max(1, flushes)));
    for (const [i, change] of log.entries()) {
      const isFlush = change.entry.kind === "flush";
      if (isFlush || i === log.length - 1) {
        // Before the flush returns, anything of what was done since the last one may be there.
        for (let sample = 0; sample < perFlush && since.length > 1; sample++) {
          const torn = copied(stable);
          const share = next(1000) / 1000;
          for (const one of since) if (next(1000) / 1000 < share) await apply(one, torn);
          totals.samples++;
          await examine(scenario, torn, before, `sample ${sample} before ${i} of ${log.length}`);
        }
      }
      await apply(change, state);
      // A flush of one file says nothing about another.
      since.push(change);
      if (isFlush) {
        for (const one of since) if (one.file === change.file) await apply(one, stable);
        since = since.filter(({ file }) => file !== change.file);
      }
      totals.prefixes++;
      await examine(scenario, state, i % 8 === 0 ? before : undefined, `${i} of ${log.length}`);
    }
    await examine(scenario, state, before, "the end");
  });
});

function copied(files: Files): Files {
  return new Map([...files].map(([name, storage]) => [name, storage.clone(name)]));
}

async function apply({ file, entry }: Log[number], files: Files): Promise<void> {
  const storage = files.get(file) ?? new MemoryStorage({ name: file });
  files.set(file, storage);
  await applyRecorded(entry, storage);
}

/** Opens an image of a state, for reading. */
const opened = (files: Files, name: string): Promise<Disk> =>
  openDisk(files.get(name)!.clone(name), {
    format: "qcow2",
    codecs: nodeCodecs,
    references: async (reference) => files.get(reference.name)!.clone(reference.name),
  });

async function contents(files: Files, name: string): Promise<Buffer> {
  const disk = await opened(files, name);
  const bytes = Buffer.alloc(disk.size);
  await disk.read(0, bytes);
  await disk.close();
  return bytes;
}

async function examine(
  { images, same, makes }: Scenario,
  files: Files,
  before: Buffer | undefined,
  where: string,
): Promise<void> {
  for (const name of images) await mustBeSound(await opened(files, name), `${where}: ${name}`);
  if (makes !== undefined && files.has(makes)) {
    // It is not there yet, or not finished and says so, or whole.
    const disk = await opened(files, makes).catch((error: unknown) => error as PlatterError);
    if (!(disk instanceof Error)) await mustBeSound(disk, `${where}: ${makes}`);
    else expect(disk, where).toBeInstanceOf(PlatterError);
  }
  if (before === undefined || same === undefined) return;
  const found = await contents(files, same);
  expect(found.equals(before), `${where}: what the guest sees in ${same}`).toBe(true);
}

async function mustBeSound(disk: Disk, where: string): Promise<void> {
  const { corruptions, checkErrors, problems } = await disk.image.check!({});
  await disk.close();
  const texts = problems.filter(({ kind }) => kind !== "leak").map(({ message }) => message);
  expect({ corruptions, checkErrors }, `${where}\n${texts.join("\n")}`).toEqual({
    corruptions: 0,
    checkErrors: 0,
  });
}
