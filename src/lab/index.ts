export { guestLab } from "./guest-lab.ts";
export type { GuestLabOptions, GuestLabResult } from "./guest-lab.ts";
export type { GuestLabReport } from "./guest-report.ts";
export { milliseconds } from "./conclusions.ts";
export { lab, spaceNeeded } from "./lab.ts";
export type { LabEvent, LabOptions, LabResult } from "./lab.ts";
export type { LabReport } from "./report.ts";
