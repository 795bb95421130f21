/**
 * Files added to an initial RAM filesystem: the kernel unpacks one archive behind another, so an uncompressed one
 * may follow whatever is there. The format is `newc` (Linux: Documentation/driver-api/early-userspace/buffer-format.rst).
 */
import { alignUp } from "../bytes/index.ts";
import { PlatterError } from "../errors.ts";

/** A file for the root directory of the RAM filesystem. */
export interface InjectedFile {
  readonly name: string;
  readonly contents: Uint8Array;
  /** Permissions; 0o644 if not given. */
  readonly mode?: number | undefined;
}

const REGULAR = 0o100000;
const HEADER = 110;

/**
 * An archive of those files, its end mark included, as long as a multiple of 512 bytes.
 *
 * @throws `E_INVALID_ARGUMENT` for a name with a slash or none at all, `E_LIMIT` for a file of 4 GiB
 */
export function cpioArchive(files: readonly InjectedFile[]): Uint8Array {
  const parts = files.map(({ name, contents, mode = 0o644 }, index) => {
    if (!/^[^/\0]+$/.test(name) || name === "." || name === "..") {
      throw new PlatterError(
        "E_INVALID_ARGUMENT",
        `"${name}" cannot be a file's name in an initrd.`,
        {
          field: "initrd-inject",
          value: name,
        },
      );
    }
    if (contents.length > 0xff_ff_ff_ff) {
      throw new PlatterError(
        "E_LIMIT",
        `${name}: ${contents.length} bytes are more than an initrd's file can have.`,
        {
          file: name,
          value: contents.length,
        },
      );
    }
    return entry(name, contents, REGULAR | mode, index + 1);
  });
  return concatenate([...parts, entry("TRAILER!!!", new Uint8Array(0), 0, 0)], 512);
}

/** An initrd with files added. What is there is padded to four bytes, which is what the kernel skips. */
export function injectInto(initrd: Uint8Array, files: readonly InjectedFile[]): Uint8Array {
  return concatenate([padded(initrd, 4), cpioArchive(files)], 1);
}

function entry(name: string, contents: Uint8Array, mode: number, inode: number): Uint8Array {
  const encoded = new TextEncoder().encode(`${name}\0`);
  const header = [inode, mode, 0, 0, 1, 0, contents.length, 0, 0, 0, 0, encoded.length, 0];
  const digits = header.map((value) => value.toString(16).padStart(8, "0")).join("");
  const head = new Uint8Array(alignUp(HEADER + encoded.length, 4));
  head.set(new TextEncoder().encode(`070701${digits}`));
  head.set(encoded, HEADER);
  return concatenate([head, padded(contents, 4)], 1);
}

function padded(bytes: Uint8Array, alignment: number): Uint8Array {
  const result = new Uint8Array(alignUp(bytes.length, alignment));
  result.set(bytes);
  return result;
}

function concatenate(parts: readonly Uint8Array[], alignment: number): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const result = new Uint8Array(alignUp(length, alignment));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
