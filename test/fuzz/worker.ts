/**
 * Does to an image what the library can do, in a thread that may be ended from outside. Nothing but
 * PlatterErrors may come of it.
 */
import { parentPort } from "node:worker_threads";
import { audit, check, explain, info, map, measure } from "../../src/commands/index.ts";
import { MemoryProvider } from "../../src/commands/provider.test-kit.ts";
import { PlatterError } from "../../src/errors.ts";
import { openDisk } from "../../src/formats/index.ts";
import { nodeCodecs } from "../../src/host/index.ts";
import { MemoryStorage } from "../../src/storage/index.ts";
import { password } from "./corpus.ts";

/** An image to be looked at. */
export interface Question {
  readonly bytes: Uint8Array;
  readonly format: "qcow2" | "luks";
  readonly others: ReadonlyMap<string, Uint8Array>;
}

/** What came of it. */
export interface Reply {
  /** By operation: "ok", or the code of the error. */
  readonly outcomes: Readonly<Record<string, string>>;
  /** The first error that is none of ours, with its stack. */
  readonly crash?: string;
  /** Corruptions that check found; undefined when it failed. */
  readonly corruptions: number | undefined;
  /** The disk, where it could be read as a whole. */
  readonly contents: Uint8Array | undefined;
}

/** Larger disks are read in part. */
const wholeDisk = 32 * 1024 * 1024;

const secrets = (): Promise<Uint8Array> => Promise.resolve(new TextEncoder().encode(password));

async function answer({ bytes, format, others }: Question): Promise<Reply> {
  const outcomes: Record<string, string> = {};
  let crash: string | undefined;
  const attempt = async <T>(name: string, work: () => Promise<T>): Promise<T | undefined> => {
    try {
      const result = await work();
      outcomes[name] = "ok";
      return result;
    } catch (error) {
      if (error instanceof PlatterError && !error.message.includes("\n"))
        outcomes[name] = error.code;
      else {
        outcomes[name] = "crash";
        crash ??= `${name}: ${error instanceof Error ? String(error.stack) : String(error)}`;
      }
      return undefined;
    }
  };
  const provider = new MemoryProvider();
  provider.put("image", bytes.slice());
  for (const [name, other] of others) provider.put(name, other.slice());
  const context = { provider, codecs: nodeCodecs, secrets };
  const name = "image";
  await attempt("info", () => info({ name, format }, context));
  await attempt("audit", () => audit({ names: [name] }, context));
  const report = await attempt("check", () => check({ name, format }, context));
  await attempt("explain", () => explain({ name, format }, context));
  await attempt("map", async () => {
    let count = 0;
    for await (const entry of map({ name, format }, context)) if (count++ > 500) return entry;
    return count;
  });
  await attempt("measure", () =>
    measure({ source: { name, format }, targetFormat: "qcow2" }, context),
  );
  const prefix = format === "luks" ? "" : "encrypt.";
  const open = (storage: MemoryStorage, writable: boolean) =>
    openDisk(storage, {
      format,
      writable,
      codecs: nodeCodecs,
      secrets,
      ...((format === "luks" || bytes[35] !== 0) && { runtime: { [`${prefix}key-secret`]: "s" } }),
      references: ({ name: other }) => {
        const found = others.get(other);
        if (found !== undefined) return Promise.resolve(MemoryStorage.from(found.slice(), other));
        throw new PlatterError("E_NOT_FOUND", `${other}: no such file`, { file: other });
      },
    });
  let contents: Uint8Array | undefined;
  await attempt("read", async () => {
    await using disk = await open(MemoryStorage.from(bytes.slice(), name), false);
    const length = Math.min(disk.size, wholeDisk);
    const found = new Uint8Array(length);
    await disk.read(0, found);
    if (disk.size <= wholeDisk) contents = found;
  });
  await attempt("write", async () => {
    const disk = await open(MemoryStorage.from(bytes.slice(), name), true);
    try {
      const length = Math.min(disk.size, 5000);
      await disk.write(0, new Uint8Array(length).fill(0xee));
      await disk.writeZeroes(0, Math.min(length, 2048));
      if (disk.size > 40_000) await disk.discard(20_000, 8192);
      await disk.flush();
    } catch (error) {
      // What has failed once may fail again when the rest is written out.
      await disk.close().catch((second: unknown) => {
        if (!(second instanceof PlatterError)) throw second;
      });
      throw error;
    }
    await disk.close();
  });
  await attempt("repair", () => check({ name, format, repair: "all" }, context));
  return {
    outcomes,
    ...(crash !== undefined && { crash }),
    corruptions: report?.corruptions,
    contents,
  };
}

async function reply(question: Question): Promise<void> {
  const found = await answer(question);
  const { contents } = found;
  parentPort?.postMessage(found, contents === undefined ? [] : [contents.buffer as ArrayBuffer]);
}

parentPort?.on("message", (question: Question) => void reply(question));
