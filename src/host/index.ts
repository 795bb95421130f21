export { missingCapabilities } from "./capabilities.ts";
export { nodeCodecs } from "./codecs.ts";
export { FileStorage } from "./file.ts";
export { systemLibc } from "./libc.ts";
export { fileProvider } from "./provider.ts";
export { nodeSecretReader } from "./secrets.ts";
export type { FileProviderOptions } from "./provider.ts";
export { sameBytes } from "./same-bytes.ts";
