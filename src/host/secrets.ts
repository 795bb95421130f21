import { readFile } from "node:fs";
import { promised } from "./promised.ts";

/** Reads secrets from files, and decrypts those that are encrypted with another one. */
export const nodeSecretReader = {
  readFile: (name: string): Promise<Uint8Array> =>
    promised<Uint8Array>((done) => readFile(name, done)),
  decrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array {
    // Loaded when needed: it takes longer than the rest of the program.
    const { createDecipheriv } = process.getBuiltinModule("node:crypto");
    const cipher = createDecipheriv("aes-256-cbc", key, iv);
    return Buffer.concat([cipher.update(data), cipher.final()]);
  },
};
