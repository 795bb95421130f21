export { milliseconds } from "./conclusions.ts";
export { guestLab } from "./guest-lab.ts";
export type { GuestLabOptions, GuestLabResult } from "./guest-lab.ts";
export type { GuestReport } from "./guest-report.ts";
export { cacheDirectory } from "./guest-system.ts";
export { lab, spaceNeeded } from "./lab.ts";
export type { LabEvent, LabOptions, LabResult } from "./lab.ts";
export type { LabReport } from "./report.ts";
