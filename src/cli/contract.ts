/**
 * What the command line needs from the other rooms, in one place.
 */
import type { CommandContext } from "../commands/context.ts";
import type { BackingReference } from "../disk/image.ts";

export type { CommandContext, Progress } from "../commands/context.ts";
export { formatExactSize, formatSize, parseSize, readSize } from "../bytes/size.ts";

/** Creation options by QEMU's names. */
export type FormatOptionValues = Readonly<Record<string, string | number | boolean>>;

/** Formats that can be written. */
export type WritableFormat = "raw" | "qcow2";

export interface CreateOptions {
  readonly name: string;
  readonly format: WritableFormat;
  readonly size?: number;
  readonly backing?: BackingReference;
  readonly unsafe?: boolean;
  readonly formatOptions?: FormatOptionValues;
  /** Called once everything is known and before anything is written. */
  readonly onPlanned?: (planned: CreateResult) => void;
}

export interface CreateResult {
  readonly name: string;
  readonly format: string;
  readonly size: number;
  readonly options: ReadonlyArray<readonly [name: string, value: string | number | boolean]>;
}

export interface InfoOptions {
  readonly name: string;
  readonly format?: string;
  readonly backingChain?: boolean;
  readonly shared?: boolean;
}

export interface ImageInfo {
  readonly filename: string;
  readonly format: string;
  readonly virtualSize: number;
  readonly allocatedSize: number | undefined;
  readonly clusterSize: number | undefined;
  readonly dirty: boolean;
  readonly backingFilename: string | undefined;
  readonly fullBackingFilename: string | undefined;
  readonly backingFormat: string | undefined;
  readonly formatSpecific: Readonly<Record<string, unknown>> | undefined;
}

export interface MapOptions {
  readonly name: string;
  readonly format?: string;
  readonly start?: number;
  readonly maxLength?: number;
  readonly shared?: boolean;
}

export interface MapEntry {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly offset?: number | undefined;
  readonly filename?: string | undefined;
}

export interface CompareOptions {
  readonly first: string;
  readonly second: string;
  readonly firstFormat?: string;
  readonly secondFormat?: string;
  readonly strict?: boolean;
  readonly shared?: boolean;
}

export interface CompareResult {
  readonly identical: boolean;
  readonly difference?:
    | { readonly kind: "size" }
    | { readonly kind: "content"; readonly offset: number }
    | { readonly kind: "allocation"; readonly offset: number }
    | undefined;
  readonly sizeDiffers: boolean;
  readonly largerIs?: "first" | "second" | undefined;
  /** Size of the smaller image in bytes. */
  readonly commonSize?: number | undefined;
}

export interface CheckOptions {
  readonly name: string;
  readonly format?: string;
  readonly shared?: boolean;
}

export interface CheckProblem {
  readonly kind: "error" | "leak" | "check-error";
  readonly message: string;
  readonly hostOffset?: number | undefined;
  readonly guest?: { readonly start: number; readonly end: number } | undefined;
}

export interface CheckReport {
  readonly filename: string;
  readonly format: string;
  readonly imageEndOffset: number;
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
  readonly corruptions: number;
  readonly leaks: number;
  readonly checkErrors: number;
  readonly problems: readonly CheckProblem[];
  readonly problemsOmitted: number;
}

export interface ConvertOptions {
  readonly sources: readonly string[];
  readonly target: string;
  readonly sourceFormat?: string;
  readonly targetFormat: WritableFormat;
  readonly targetOptions?: FormatOptionValues;
  readonly compress?: boolean;
  readonly backing?: BackingReference;
  readonly sparseSize?: number;
  readonly createTarget?: boolean;
  readonly targetIsZero?: boolean;
  readonly shared?: boolean;
  readonly sync?: boolean;
}

export interface ConvertResult {
  readonly size: number;
}

/** The command functions by name. */
export interface Commands {
  create(options: CreateOptions, context: CommandContext): Promise<CreateResult>;
  info(options: InfoOptions, context: CommandContext): Promise<readonly ImageInfo[]>;
  map(options: MapOptions, context: CommandContext): AsyncIterable<MapEntry>;
  compare(options: CompareOptions, context: CommandContext): Promise<CompareResult>;
  check(options: CheckOptions, context: CommandContext): Promise<CheckReport>;
  convert(options: ConvertOptions, context: CommandContext): Promise<ConvertResult>;
}

/** A creation option of a format, as `-o help` shows it. */
export interface FormatOptionDescription {
  readonly name: string;
  readonly type: "string" | "size" | "number" | "boolean";
  readonly summary: string;
}

/** What the command line asks the formats. */
export interface FormatServices {
  /** Names for `--help`, sorted. */
  readonly names: readonly string[];
  /** Whether images of that format can be made. */
  isWritable(format: string): format is WritableFormat;
  /**
   * The format's creation options, sorted by name; with `includeFile` also those of the file
   * underneath.
   */
  describe(format: WritableFormat, includeFile: boolean): readonly FormatOptionDescription[];
  /**
   * Checks names and values. Pairs come in the order given; where a name repeats, the last wins.
   *
   * @throws `E_INVALID_ARGUMENT` or `E_INVALID_SIZE` with QEMU's words
   */
  parse(
    format: WritableFormat,
    pairs: ReadonlyArray<readonly [name: string, value: string]>,
  ): FormatOptionValues;
}

/** Everything behind the command line, loaded when needed. */
export interface Services {
  /** Loads one command function. */
  command<Name extends keyof Commands>(name: Name): Promise<Commands[Name]>;
  formats(): Promise<FormatServices>;
  /** Where names become storages, and the codecs. */
  surroundings(): Promise<Pick<CommandContext, "provider" | "codecs">>;
}
