export { Ahead } from "./ahead.ts";
export { copy } from "./copy.ts";
export { salvaging } from "./salvage.ts";
export { concatenate, fromDisk } from "./source.ts";
export type { CopySource } from "./source.ts";
