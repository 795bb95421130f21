import type { LabEnvironment } from "./environment.ts";
import type { Sample } from "./guest-run.ts";
import type { GuestWorkload } from "./guest-workloads.ts";
import type { Comparison, Summary } from "./statistics.ts";

/** What making an image cost, before a guest wrote to it. Bytes. */
export interface GuestCost {
  readonly label: string;
  /** Until it was on stable storage. */
  readonly milliseconds: number;
  readonly fileLength: number;
  readonly allocated: number;
}

/** One way of making an image beside another one, for one kind of work. */
export interface GuestComparison {
  readonly workload: string;
  readonly baseline: string;
  readonly label: string;
  readonly comparison: Comparison;
}

/** What was measured with one cache mode. Times are milliseconds. */
export interface GuestMeasure {
  readonly cache: "none" | "writeback";
  readonly costs: readonly GuestCost[];
  /** How each image's file grew while the guest worked. */
  readonly samples: Readonly<Record<string, readonly Sample[]>>;
  /** Processor time of QEMU. */
  readonly processor: number;
  /** By label, then by workload, one number a round. */
  readonly times: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
  readonly summaries: Readonly<Record<string, Readonly<Record<string, Summary>>>>;
  readonly comparisons: readonly GuestComparison[];
}

/** Everything that one run of `lab --guest` found. */
export interface GuestLabReport {
  readonly report: "platter lab --guest";
  readonly version: 1;
  readonly environment: LabEnvironment;
  readonly guest: {
    readonly acceleration: "kvm" | "tcg";
    /** Why not KVM. */
    readonly reason?: string;
    readonly system: string;
  };
  readonly rounds: number;
  /** Of each disk, in bytes. */
  readonly diskSize: number;
  /** How long all of it took. */
  readonly seconds: number;
  readonly workloads: readonly GuestWorkload[];
  readonly measures: readonly GuestMeasure[];
  /** What the numbers say, in sentences; the last one is a recommendation. */
  readonly conclusions: readonly string[];
}
