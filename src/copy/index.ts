export { copy } from "./copy.ts";
export { concatenate } from "./source.ts";
export type { CopySource } from "./source.ts";
