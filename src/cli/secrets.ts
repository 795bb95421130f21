import type { CommandContext } from "./contract.ts";
import { PlatterError } from "../errors.ts";
import type { UserObject } from "./objects.ts";

/** What reading secrets takes of the system. */
export interface SecretReader {
  readFile(name: string): Promise<Uint8Array>;
  /** AES-256 in CBC mode, with padding (PKCS #7). */
  decrypt(key: Uint8Array, iv: Uint8Array, data: Uint8Array): Uint8Array;
}

/**
 * The secrets that `--object secret` defined. A secret has its data on the command line or in a file, as
 * it is or in base64, and may be encrypted with another one, its `keyid`.
 */
export function secretsOf(
  objects: readonly UserObject[],
  reader: () => Promise<SecretReader>,
): NonNullable<CommandContext["secrets"]> {
  const find = async (id: string, depth = 0): Promise<Uint8Array> => {
    const object = objects.find((candidate) => candidate.id === id);
    if (object === undefined || depth > objects.length) {
      throw secretError(
        id,
        `there is no secret of that name; define it with --object secret,id=${id},...`,
        `No secret with id '${id}'`,
      );
    }
    const { data, file, format, keyid, iv } = object.properties;
    const bytes = file === undefined ? new TextEncoder().encode(data ?? "") : await read(id, file);
    if (keyid === undefined) {
      if (iv !== undefined) {
        throw secretError(
          id,
          "it has an iv and no keyid",
          "'iv' should not be set if 'keyid' is not",
        );
      }
      return format === "base64" ? fromBase64(id, bytes) : bytes;
    }
    if (iv === undefined) {
      throw secretError(id, "it has a keyid and no iv", "'iv' is required if 'keyid' is set");
    }
    const key = await find(keyid, depth + 1);
    const vector = fromBase64(id, new TextEncoder().encode(iv));
    if (key.length !== 32) {
      throw secretError(
        id,
        `its key has ${key.length} bytes, not 32`,
        `Key should be 32 bytes in length not ${key.length}`,
      );
    }
    if (vector.length !== 16) {
      throw secretError(
        id,
        `its iv has ${vector.length} bytes, not 16`,
        `IV should be 16 bytes in length not ${vector.length}`,
      );
    }
    const packed = format === "base64" ? fromBase64(id, bytes) : bytes;
    try {
      return (await reader()).decrypt(key, vector, packed);
    } catch (cause) {
      throw secretError(
        id,
        "its key does not fit",
        "Incorrect number of padding bytes (0) found on decrypted data",
        cause,
      );
    }
  };
  const read = async (id: string, file: string): Promise<Uint8Array> => {
    try {
      return await (await reader()).readFile(file);
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const reason = code === "ENOENT" ? "No such file or directory" : message;
      throw secretError(
        id,
        `${file} cannot be read: ${reason}`,
        `Unable to read ${file}: Failed to open file “${file}”: ${reason}`,
        cause,
      );
    }
  };
  return (id) => find(id);
}

function fromBase64(id: string, bytes: Uint8Array): Uint8Array {
  const text = new TextDecoder().decode(bytes).replaceAll(/[\n\r]/g, "");
  try {
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new TypeError("not base64");
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch (cause) {
    const qemu = `Base64 data '${text}' is not valid`;
    throw secretError(id, "it is no valid base64", qemu, cause);
  }
}

function secretError(id: string, reason: string, qemu: string, cause?: unknown): PlatterError {
  return new PlatterError("E_SECRET", `The secret "${id}" cannot be had: ${reason}.`, {
    field: id,
    qemu,
    cause,
  });
}
