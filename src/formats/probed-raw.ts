import { Serial } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import { FilterStorage, type Storage, type StorageCall } from "../storage/index.ts";
import type { Format } from "./format.ts";
import { signatures } from "./signatures.ts";

/** Bytes that QEMU looks at before it lets a write through: what formats are recognized by. */
const blockBytes = 512;

/** A descriptor of VMware without its usual first line: comments, empty lines, and a version. */
const vmdkDescriptor = /^(?:#[^\n]*\n|[ \t]*\r?\n)*version=[123]\r?\n/;

/**
 * A storage in front of a raw image whose format was guessed and that is written: what may be written to
 * its first block is restricted, as QEMU restricts it. A guest that writes the header of another format to
 * its disk would have the next program that guesses open what that header names. Throws `E_PERMISSION`.
 */
export class ProbedRawStorage extends FilterStorage {
  private readonly known: readonly Format[];
  private readonly serial = new Serial();

  /** `known` are the formats that are recognized, besides those of the table of signatures. */
  constructor(inner: Storage, known: readonly Format[]) {
    super(inner);
    this.known = known;
    // Two writes that are harmless each may be a header together, so they wait for one another.
    Object.defineProperty(this, "writeSync", { value: undefined });
  }

  protected override around<T>(call: StorageCall, run: () => Promise<T>): Promise<T> {
    const isChange = call.kind === "write" || call.kind === "zero";
    if (!isChange || call.offset >= blockBytes) return run();
    const change =
      call.kind === "write"
        ? call.bytes.subarray(0, blockBytes - call.offset)
        : new Uint8Array(Math.min(call.length, blockBytes - call.offset));
    return this.serial.run(async () => {
      await this.refuseHeader(call.offset, change);
      return run();
    });
  }

  protected override aroundSync<T>(_call: StorageCall, run: () => T): T {
    return run();
  }

  private async refuseHeader(offset: number, change: Uint8Array): Promise<void> {
    const head = new Uint8Array(blockBytes);
    await this.inner.read(0, head);
    head.set(change, offset);
    const format = this.recognize(head);
    if (format === undefined) return;
    throw new PlatterError(
      "E_PERMISSION",
      `${this.name}: this write would make the raw image look like ${format}, and its format was ` +
        `guessed; if it really is raw, say so (-f raw, or format: "raw")`,
      { file: this.name, offset, value: format, qemu: "Operation not permitted" },
    );
  }

  /** The format other than raw that a file with that first block would be taken for. */
  private recognize(head: Uint8Array): string | undefined {
    const format = this.known.find((one) => one.name !== "raw" && one.probe(head) > 0);
    if (format !== undefined) return format.name;
    const text = String.fromCharCode(...head);
    if (vmdkDescriptor.test(text)) return "vmdk";
    return signatures.find(
      ({ kind, at, bytes }) => kind === "image" && at >= 0 && text.startsWith(bytes, at),
    )?.format;
  }
}
