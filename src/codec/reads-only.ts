import { PlatterError } from "../errors.ts";
import type { CompressionType } from "./codec.ts";

/** The error for a codec without `compress`. */
export const readsOnly = (type: CompressionType): PlatterError =>
  new PlatterError("E_CODEC", `The ${type} codec at hand only reads.`, { value: type });
