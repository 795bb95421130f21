/** What the fuzzer and its children tell one another. */
import type { FileCoverage } from "./coverage.ts";
import type { Base } from "./corpus.ts";
import type { Finding } from "./exercise.ts";
import type { Case } from "./mutations.ts";

/** What a child is to do. */
export interface Task {
  readonly bases: readonly Base[];
  /** Where it may write. */
  readonly directory: string;
  readonly seed: number;
  /** One case in so many is compared with qemu-img; 0 for none. */
  readonly peerEvery: number;
  /** Only these, each compared. Absent: cases without end. */
  readonly cases?: readonly Case[];
}

/** What a child has to tell, now and then. */
export interface Report {
  readonly executions: number;
  readonly compared: Readonly<Record<string, number>>;
  /** "command outcome" or "table.field command outcome", and how often. */
  readonly reached: readonly string[];
  readonly outcomes: Readonly<Record<string, number>>;
  readonly skipped: number;
  readonly findings: ReadonlyArray<Finding & { readonly case: Case }>;
  readonly coverage: Readonly<Record<string, FileCoverage>>;
  /** It has done all that it was given. */
  readonly done: boolean;
}

/** The file in which a child says what it is about to try. */
export const currentFile = "current.json";
