/**
 * Files out of an ISO 9660 image, by their path: an installer's kernel. Names are looked up in the Joliet tree, or
 * where there is none by those of ISO 9660, without their versions and without regard to case.
 */
import { open, type FileHandle } from "node:fs/promises";
import { PlatterError } from "../errors.ts";

const SECTOR = 2048;
/** Descriptors, from sector 16: a handful, so a list without an end is none. */
const MOST_DESCRIPTORS = 32;
/** A directory, and a file taken out of it, are read whole. */
const MOST_DIRECTORY = 16 * 2 ** 20;
const MOST_FILE = 2 ** 30;

interface Extent {
  readonly sector: number;
  readonly length: number;
  readonly isDirectory: boolean;
}

/** An image, open for reading. */
export class IsoReader implements AsyncDisposable {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #size: number;
  readonly #root: Extent;
  readonly #joliet: boolean;

  private constructor(
    file: FileHandle,
    path: string,
    size: number,
    tree: { root: Extent; joliet: boolean },
  ) {
    this.#file = file;
    this.#path = path;
    this.#size = size;
    this.#root = tree.root;
    this.#joliet = tree.joliet;
  }

  /** Opens an image; undefined if the file is none. */
  static async open(path: string): Promise<IsoReader | undefined> {
    const file = await open(path, "r");
    try {
      const { size } = await file.stat();
      const tree = await findTree(file, size);
      if (tree !== undefined) return new IsoReader(file, path, size, tree);
      await file.close();
      return undefined;
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * The file's bytes; undefined if there is no such file.
   *
   * @throws `E_CORRUPT` for an extent outside of the image, `E_LIMIT` above 1 GiB
   */
  async read(path: string): Promise<Uint8Array | undefined> {
    let current = this.#root;
    for (const name of path.split("/").filter((part) => part !== "")) {
      if (!current.isDirectory) return undefined;
      const found = this.#find(await this.#bytes(current, MOST_DIRECTORY), name);
      if (found === undefined) return undefined;
      current = found;
    }
    return current.isDirectory ? undefined : this.#bytes(current, MOST_FILE);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  #find(directory: Uint8Array, wanted: string): Extent | undefined {
    const name = this.#joliet ? wanted : wanted.toLowerCase();
    for (let at = 0; at + 34 <= directory.length;) {
      const length = directory[at] ?? 0;
      if (length === 0) {
        // The rest of the sector is empty: no record crosses into the next one.
        at = (Math.floor(at / SECTOR) + 1) * SECTOR;
        continue;
      }
      const record = directory.subarray(at, at + length);
      if (record.length >= 34 && this.#nameOf(record) === name) return readExtent(record);
      at += length;
    }
    return undefined;
  }

  #nameOf(record: Uint8Array): string {
    const bytes = record.subarray(33, 33 + (record[32] ?? 0));
    const name = this.#joliet
      ? new TextDecoder("utf-16be").decode(bytes)
      : new TextDecoder("latin1").decode(bytes).toLowerCase();
    return name.replace(/;\d+$/, "").replace(/\.$/, "");
  }

  async #bytes({ sector, length }: Extent, most: number): Promise<Uint8Array> {
    const at = sector * SECTOR;
    if (at + length > this.#size) {
      throw new PlatterError(
        "E_CORRUPT",
        `${this.#path}: ${length} bytes at ${at} are past the image's end; it is cut off or damaged.`,
        {
          file: this.#path,
          offset: at,
          value: length,
        },
      );
    }
    if (length > most) {
      throw new PlatterError(
        "E_LIMIT",
        `${this.#path}: ${length} bytes at ${at} are more than can be read at once (${most}).`,
        {
          file: this.#path,
          offset: at,
          value: length,
        },
      );
    }
    return readAt(this.#file, at, length);
  }
}

async function findTree(
  file: FileHandle,
  size: number,
): Promise<{ root: Extent; joliet: boolean } | undefined> {
  let primary: Extent | undefined;
  for (let n = 0; n < MOST_DESCRIPTORS && (17 + n) * SECTOR <= size; n++) {
    const descriptor = await readAt(file, (16 + n) * SECTOR, SECTOR);
    if (new TextDecoder("latin1").decode(descriptor.subarray(1, 6)) !== "CD001") return undefined;
    const [type] = descriptor;
    if (type === 255) break;
    const root = readExtent(descriptor.subarray(156, 190));
    if (type === 1) primary = root;
    const isJoliet = descriptor[88] === 0x25 && descriptor[89] === 0x2f;
    if (type === 2 && isJoliet) return { root, joliet: true };
  }
  return primary && { root: primary, joliet: false };
}

/** Position, length and kind in a directory record (ECMA-119 9.1). */
function readExtent(record: Uint8Array): Extent {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  return {
    sector: view.getUint32(2, true),
    length: view.getUint32(10, true),
    isDirectory: ((record[25] ?? 0) & 2) !== 0,
  };
}

/** Bytes of the file; fewer where it ends. */
async function readAt(file: FileHandle, at: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, at + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return bytes.subarray(0, done);
}
