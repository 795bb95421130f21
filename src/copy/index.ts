export { copy } from "./copy.ts";
export type { CopyOptions, CopyProgress } from "./copy.ts";
export { dataRuns } from "./data-runs.ts";
export { plan, planTopLayer } from "./plan.ts";
export type { PlanOptions, Range, Segment } from "./plan.ts";
export { concatenate } from "./source.ts";
export type { CopySource } from "./source.ts";
