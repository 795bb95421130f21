/**
 * A file that is cut while a command reads it: before each of its reads in turn, another program makes the
 * file shorter. The command ends with an error, or has not missed anything: its result is the one that it
 * has with a whole file. It never takes for zeros what is not there any more.
 */
import { createHash } from "node:crypto";
import {
  copyFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { PlatterError } from "../../src/errors.ts";
import { check, compare, convert, dd, map, type CommandOptions } from "../../src/index.ts";
import { describePeer } from "../peers.ts";
import { temporaryDirectory } from "../qcow2/kit.ts";
import { system } from "./kit.ts";
import { watchedProvider } from "./watched-provider.ts";

/** How much of the file is left. */
const shares = [0, 0.3, 0.75, 0.99];

const totals = { runs: 0, failed: 0 };
afterAll(() => {
  process.stdout.write(`cut files: ${totals.runs} runs, ${totals.failed} ended with an error\n`);
});

/** What a command finds out about, or makes of, the image `source`. */
type Task = (source: string, context: CommandOptions) => Promise<unknown>;

describePeer(["qemu-img", "qemu-io"], "a file that is cut", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const clean = join(directory, "clean");
  const work = join(directory, "work");
  const at = (name: string): string => join(work, name);
  const sources = ["raw", "sparse", "qcow2", "packed", "zstd", "top"];

  beforeAll(async () => {
    mkdirSync(clean);
    mkdirSync(work);
    const here = { cwd: clean };
    const write = (image: string, ...commands: string[]) =>
      qemuIo.run([...commands.flatMap((one) => ["-c", one]), image], here);
    const make = (name: string, ...options: string[]) =>
      qemuImg.run(["convert", "-f", "raw", "-S", "4k", ...options, "sparse", name], here);
    await qemuImg.run(["create", "-q", "-f", "raw", "sparse", "3M"], here);
    const data = ["write -P 7 64k 300k", "write -P 9 2M 1M"];
    await qemuIo.run(["-f", "raw", ...data.flatMap((one) => ["-c", one]), "sparse"], here);
    await make("raw", "-O", "raw", "-S", "0");
    await make("qcow2", "-O", "qcow2", "-o", "cluster_size=4k");
    await make("packed", "-O", "qcow2", "-c");
    await make("zstd", "-O", "qcow2", "-c", "-o", "compression_type=zstd");
    await qemuImg.run(["create", "-q", "-f", "qcow2", "-b", "qcow2", "-F", "qcow2", "top"], here);
    await write("top", "write -P 3 1M 200k");
    // What the images would be, were all that is cut off zeros.
    await qemuImg.run(["create", "-q", "-f", "raw", "zeros", "3M"], here);
    await qemuImg.run(["create", "-q", "-f", "qcow2", "empty", "3M"], here);
  });

  const digest = (name: string): string =>
    createHash("sha256")
      .update(readFileSync(at(name)))
      .digest("hex");

  const tasks: Readonly<Record<string, Task>> = {
    "convert to raw": async (source, context) => {
      await convert({ sources: [source], target: at("new"), targetFormat: "raw" }, context);
      return digest("new");
    },
    "convert to qcow2": async (source, context) => {
      await convert({ sources: [source], target: at("new"), targetFormat: "qcow2" }, context);
      await convert({ sources: [at("new")], target: at("new.raw"), targetFormat: "raw" });
      return digest("new.raw");
    },
    "convert into an image": async (source, context) => {
      const target = { target: at("empty"), targetFormat: "qcow2", createTarget: false };
      await convert({ sources: [source], ...target }, context);
      await convert({ sources: [at("empty")], target: at("new.raw"), targetFormat: "raw" });
      return digest("new.raw");
    },
    dd: async (source, context) => {
      const target = { target: at("new"), targetFormat: "raw", blockSize: 65536 };
      await dd({ source, ...target }, context);
      return digest("new");
    },
    "compare with the same": (source, context) =>
      compare({ first: source, second: join(clean, "sparse") }, context),
    "compare with zeros": (source, context) =>
      compare({ first: source, second: at("zeros") }, context),
    map: async (source, context) => {
      const zeros: number[] = [];
      for await (const { start, length, zero } of map({ name: source }, context)) {
        if (!zero) continue;
        for (let place = start; place < start + length; place += 4096) zeros.push(place);
      }
      return zeros;
    },
    check: async (source, context) => {
      const { corruptions, checkErrors, leaks } = await check({ name: source }, context);
      if (corruptions + checkErrors > 0) throw new PlatterError("E_CORRUPT", "found");
      return leaks;
    },
  };

  test.for(sources.flatMap((source) => Object.keys(tasks).map((task) => [source, task] as const)))(
    "%s: %s",
    async ([source, name]) => {
      if (name === "check" && ["raw", "sparse"].includes(source)) return;
      const task = tasks[name]!;
      let calls = 0;
      refill(source);
      const counting = watchedProvider((call) => (calls = call));
      const right = await task(at(source), { provider: counting });
      // With a backing file, that is the one that is cut.
      const victim = at(source === "top" ? "qcow2" : source);
      const size = statSync(join(clean, source === "top" ? "qcow2" : source)).size;
      const step = Math.max(1, Math.ceil(calls / (6 * inject("effort"))));
      let failed = 0;
      for (const share of shares) {
        for (let nth = 1; nth <= calls; nth += step) {
          refill(source);
          totals.runs++;
          const provider = watchedProvider((call) => {
            if (call === nth) truncateSync(victim, Math.floor((share * size) / 512) * 512);
          });
          let result: unknown;
          try {
            result = await task(at(source), { provider });
          } catch (error) {
            expect(error).toBeInstanceOf(PlatterError);
            failed++;
            continue;
          }
          const where = `cut to ${share} before call ${nth} of ${calls}`;
          // A map reads nothing. It may take for data what is not there any more, but not for zeros.
          if (name === "map")
            expect(right, where).toEqual(expect.arrayContaining(result as number[]));
          else expect(result, where).toEqual(right);
        }
      }
      totals.failed += failed;
      if (name !== "map") expect(failed).toBeGreaterThan(0);
    },
  );

  function refill(source: string): void {
    for (const name of readdirSync(work)) rmSync(at(name));
    const wanted = [source, "empty", "zeros", ...(source === "top" ? ["qcow2"] : [])];
    for (const name of wanted) {
      if (name !== "sparse") copyFileSync(join(clean, name), at(name));
      else system("cp", "--sparse=always", join(clean, name), at(name));
    }
  }
});
