import type { Codec, Codecs } from "../codec/index.ts";
import { PlatterError } from "../errors.ts";
import { alignedBytes } from "./aligned.ts";
import { threadPool } from "./codec-pool.ts";
import { fileMovers } from "./file-movers.ts";
import { findDirectCodecs, type DirectCodecs } from "./direct-codecs.ts";

let direct: DirectCodecs | undefined;
let zlib: Codec | undefined;

/** zlib, found in Node or called through it, with an encoder of our own. */
async function loadZlib(found: Codec | undefined): Promise<Codec> {
  const { withOwnDeflate } = await import("./own-deflate.ts");
  return withOwnDeflate(found ?? (await import("./node-zlib.ts")).zlibCodec);
}

/**
 * The codecs that Node has: called directly where that can be done, otherwise through `node:zlib`, which
 * is loaded then.
 */
export const nodeCodecs: Codecs = {
  pool: (threads) => threadPool(nodeCodecs, threads),
  movers: fileMovers,
  allocate: alignedBytes,
  crypto: async () => (await import("./crypto.ts")).nodeCrypto,
  async load(type) {
    direct ??= findDirectCodecs();
    switch (type) {
      case "zlib":
        return (zlib ??= await loadZlib(direct.zlib));
      case "zstd":
        return direct.zstd ?? (await import("./node-zlib.ts")).zstdCodec;
      default:
        throw new PlatterError("E_CODEC", `There is no codec for '${String(type)}'.`, {
          value: type,
        });
    }
  },
};
