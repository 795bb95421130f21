/** The sizes that QEMU's cache is given decide where clusters end up: ours end up there, too. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { describePeer } from "../peers.ts";
import { ourIo, theirIo } from "./io.ts";
import { generator, KiB, temporaryDirectory } from "./kit.ts";

const options: ReadonlyArray<Readonly<Record<string, string>>> = [
  {},
  { "l2-cache-entry-size": "512" },
  { "l2-cache-entry-size": "4k", "l2-cache-size": "64M" },
  { "l2-cache-size": "64k" },
  { "cache-size": "128k" },
  { "cache-size": "1M", "refcount-cache-size": "256k" },
  { "refcount-cache-size": "16k", "cache-clean-interval": "1" },
];

describePeer(["qemu-img@7.2", "qemu-io"], "options of the cache", (qemuImg, qemuIo) => {
  const directory = temporaryDirectory();
  const file = (name: string): string => join(directory, name);

  for (const runtime of options) {
    test.each([4, 64])(`${JSON.stringify(runtime)}, clusters of %i KiB`, async (cluster) => {
      const create = ["create", "-q", "-f", "qcow2", "-o", `cluster_size=${cluster}k`];
      await qemuImg.run([...create, file("theirs"), "64M"]);
      writeFileSync(file("ours"), readFileSync(file("theirs")));
      const next = generator(cluster);
      const unit = cluster * KiB;
      const commands = Array.from({ length: 30 }, () => {
        const length = (1 + next(cluster === 4 ? 900 : 60)) * unit;
        return `write -P ${1 + next(200)} ${next((2 ** 26 - length) / unit) * unit} ${length}`;
      });
      const said = await ourIo(file("ours"), commands, { runtime });
      expect(said).toEqual(await theirIo(qemuIo, file("theirs"), commands, { runtime }));
      expect(readFileSync(file("ours")).equals(readFileSync(file("theirs")))).toBe(true);
    });
  }
});
