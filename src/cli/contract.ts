/**
 * What the command line needs from the other rooms, in one place.
 */
import type * as commands from "../commands/index.ts";
import type { CommandContext } from "../commands/index.ts";
import type { SecretReader } from "./secrets.ts";
import type * as laboratory from "../lab/index.ts";
import type * as guests from "../vm/index.ts";
import type { FormatOptionValues } from "../formats/index.ts";

export type {
  AuditedFile,
  BitmapAction,
  BitmapListing,
  BenchOptions,
  BenchResult,
  CheckOptions,
  CheckResult,
  CommandContext,
  CompareOptions,
  CompareResult,
  ConvertOptions,
  CreateOptions,
  CreateResult,
  DuResult,
  ExplainResult,
  FilePart,
  DdOptions,
  DdResult,
  ImageInfo,
  ImageUsage,
  InfoOptions,
  MapEntry,
  MapOptions,
  MeasureCommandOptions,
  Progress,
  ResizeResult,
  SnapshotAction,
  SnapshotResult,
} from "../commands/index.ts";
export type { SnapshotInfo, SnapshotReference } from "../disk/index.ts";
export type {
  GuestLabOptions,
  GuestLabResult,
  GuestReport,
  LabEvent,
  LabOptions,
} from "../lab/index.ts";
export type { QemuJson } from "../commands/index.ts";
export type { FormatOptionValues, Measurement } from "../formats/index.ts";
export type { DiskCost, DiskUsage, GuestState, GuestStore, InstallPlan } from "../vm/index.ts";
export { nativeNeedsDirect, parseQemuJson, qemuKeyOrder } from "../commands/index.ts";
export { formatExactSize, formatSize, parseSize, readSize } from "../bytes/index.ts";

/** The command functions by name. */
export type Commands = Pick<
  typeof commands,
  | "amend"
  | "audit"
  | "bitmap"
  | "bench"
  | "check"
  | "commit"
  | "compare"
  | "convert"
  | "create"
  | "dd"
  | "du"
  | "explain"
  | "info"
  | "listBitmaps"
  | "map"
  | "measure"
  | "rebase"
  | "resize"
  | "snapshot"
>;

/** A creation option of a format, as `-o help` shows it. */
export interface FormatOptionDescription {
  readonly name: string;
  readonly type: "string" | "size" | "number" | "boolean";
  readonly summary: string;
  /** QEMU 7.2 does not have it. */
  readonly newer?: boolean;
}

/** What the command line asks the formats. */
export interface FormatServices {
  /** Names for `--help`, sorted. */
  readonly names: readonly string[];
  /** Whether images of that format can be made. */
  isWritable(format: string): boolean;
  /**
   * The format's creation options, sorted by name; with `includeFile` also those of the file
   * underneath.
   */
  describe(format: string, includeFile: boolean): readonly FormatOptionDescription[];
  /** What can be changed about images of the format, sorted by name. */
  describeAmend(format: string): readonly FormatOptionDescription[];
  /** As {@link FormatServices.parse}, of what can be changed about an existing image. */
  parseAmend(
    format: string,
    pairs: ReadonlyArray<readonly [name: string, value: string]>,
  ): FormatOptionValues;
  /**
   * Checks names and values. Pairs come in the order given; where a name repeats, the last wins.
   *
   * @throws `E_INVALID_ARGUMENT` or `E_INVALID_SIZE` with QEMU's words
   */
  parse(
    format: string,
    pairs: ReadonlyArray<readonly [name: string, value: string]>,
  ): FormatOptionValues;
}

/** Everything behind the command line, loaded when needed. */
export interface Services {
  /** Loads one command function. */
  command<Name extends keyof Commands>(name: Name): Promise<Commands[Name]>;
  formats(): Promise<FormatServices>;
  /** The laboratory, and how it writes times. */
  laboratory(): Promise<
    Pick<typeof laboratory, "lab" | "guestLab" | "cacheDirectory" | "milliseconds">
  >;
  /** Guests, and what runs them. */
  guests(): Promise<typeof guests>;
  /** Understands the text of a policy file. */
  auditPolicy(): Promise<typeof commands.parseAuditPolicy>;
  /** The words about what images take. */
  usageWords(): Promise<Pick<typeof commands, "explainUsage" | "explainVolumes" | "percent">>;
  /** What secrets of encrypted images take. */
  secretReader(): Promise<SecretReader>;
  /** What cannot be done on this system, and why: a sentence each. */
  missing(): Promise<readonly string[]>;
  /** Where names become storages, and the codecs. */
  surroundings(
    onWarning: (message: string) => void,
    dataFilesFrom: "image" | "working directory",
    timeout: number | undefined,
  ): Promise<Pick<CommandContext, "provider" | "codecs" | "sameBytes">>;
}
