import type { Table } from "./tables.ts";

/** What corrects an image while it is checked. */
export interface Mender {
  /** Counts that are too high are to be lowered. */
  readonly leaks: boolean;
  /** All else is to be repaired. */
  readonly errors: boolean;
  readonly fixed: { leaks: number; corruptions: number };
  /** Sets the refcount of a cluster, which has a block. */
  setCount(index: number, count: number): Promise<void>;
  setEntry(table: Table, index: number, upper: number, lower: number): void;
  /** Makes an entry zeros without a place. */
  zeroEntry(table: Table, index: number): void;
}
