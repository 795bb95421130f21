import { configureGlobal } from "fast-check";
import { inject } from "vitest";

// Properties run 100 times, and 20 times that under LONG=1. A test that has to say its own number
// multiplies it: `{ numRuns: 20 * inject("effort") }`.
//
// Whether a commit passes must not depend on luck, so the short run takes the same cases every
// time. The long run looks for new ones; SEED=n takes those of that seed.
const seed = inject("seed");
configureGlobal({ numRuns: 100 * inject("effort"), ...(seed === null ? {} : { seed }) });
