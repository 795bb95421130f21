export { Ahead } from "./ahead.ts";
export { copy, type CopyOptions } from "./copy.ts";
export { salvaging } from "./salvage.ts";
export type { ShareMode } from "./sharing.ts";
export { concatenate, fromDisk } from "./source.ts";
export type { CopySource } from "./source.ts";
