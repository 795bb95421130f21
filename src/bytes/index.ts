export { Buffers } from "./buffers.ts";
export type { Bytes } from "./buffers.ts";
export { dataRuns, wideRuns } from "./data-runs.ts";
export { advance, alignDown, alignUp, divideUp, guest, host, lower } from "./offsets.ts";
export type { GuestOffset, HostOffset } from "./offsets.ts";
export { formatExactSize, formatSize, parseSize, readSize } from "./size.ts";
export { Structure } from "./structure.ts";
export type { Values } from "./structure.ts";
export { isZero } from "./zero.ts";
