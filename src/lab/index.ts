export { milliseconds } from "./conclusions.ts";
export { lab, spaceNeeded } from "./lab.ts";
export type { LabEvent, LabOptions, LabResult } from "./lab.ts";
export type { LabReport } from "./report.ts";
