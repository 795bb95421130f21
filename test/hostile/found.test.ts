/** What fuzzing found once, it does not find again. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { makeCorpus } from "../fuzz/corpus.ts";
import { exercise } from "../fuzz/exercise.ts";
import { mutated } from "../fuzz/mutations.ts";
import { compareWithPeer } from "../fuzz/peer.ts";
import { describePeer } from "../peers.ts";
import { foundImages } from "./found.ts";

/** Commands that change an image take turns in the fuzzer. */
const turns = 10;

describePeer("qemu-img@7.2", "what fuzzing found", () => {
  const corpus = makeCorpus();

  for (const { name, field, base: from, mutations } of foundImages) {
    it(`${name} (${field})`, async () => {
      const base = (await corpus).find((one) => one.name === from)!;
      const image = mutated(base.bytes, mutations);
      const top = mkdtempSync(join(tmpdir(), "platter-found-"));
      try {
        for (let turn = 0; turn < turns; turn++) {
          const exercised = await exercise(image, base, turn);
          expect(exercised.findings).toEqual([]);
          if (turn > 0) continue;
          const { findings } = await compareWithPeer(image, base, exercised, top);
          expect(findings).toEqual([]);
        }
      } finally {
        rmSync(top, { recursive: true, force: true });
      }
    });
  }
});
