import type { Codecs } from "../codec/index.ts";
import type { Secrets } from "../formats/index.ts";
import type { StorageProvider } from "../storage/index.ts";

/** How far a long operation has come. */
export interface Progress {
  /** Bytes of guest data dealt with so far. */
  readonly done: number;
  /** Bytes in all. */
  readonly total: number;
  /** Where the work is no copying of bytes: what is being done. `done` and `total` are shares then. */
  readonly step?: string | undefined;
}

/** What every command gets from its surroundings. It prints nothing and touches nothing else. */
export interface CommandContext {
  /** Where names become storages. */
  readonly provider: StorageProvider;
  readonly codecs: Codecs;
  /** Whether two arrays hold the same bytes, where there is a faster way than a loop. */
  readonly sameBytes?: ((a: Uint8Array, b: Uint8Array) => boolean) | undefined;
  /** Gives the secrets of encrypted images, by their names. */
  readonly secrets?: Secrets | undefined;
  /**
   * Images come from strangers: no file that an image names is opened; where one is needed the command
   * throws `E_REFERENCE_DENIED`. What the caller names itself is opened as always. Default false.
   */
  readonly untrusted?: boolean | undefined;
  /** Cancels the command; it rejects with `E_ABORTED` and removes what it made. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Told the name of a raw image that is opened for writing and whose format nobody stated. */
  readonly onProbedRaw?: ((name: string) => void) | undefined;
  /** Receives what an image that was not closed cleanly is repaired of when it is opened, line by line. */
  readonly onRepair?: ((message: string) => void) | undefined;
  /** Receives what QEMU says on stderr of damage that is found while an image is in use. */
  readonly onCorruption?: ((message: string) => void) | undefined;
  /** Receives sentences that the user should see but that are not errors. */
  readonly onWarning?: ((message: string) => void) | undefined;
}
