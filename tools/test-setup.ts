import { configureGlobal } from "fast-check";
import { inject } from "vitest";

// Properties run 100 times, and 20 times that under LONG=1. A test that has to say its own number
// multiplies it: `{ numRuns: 20 * inject("effort") }`.
configureGlobal({ numRuns: 100 * inject("effort") });
