/** Something that is wrong with an image. */
export interface CheckProblem {
  /**
   * `error`: data is or may get corrupted. `leak`: space is lost, nothing else. `check-error`: the
   * check itself could not look at something. `note`: what a repair does.
   */
  readonly kind: "error" | "leak" | "check-error" | "note";
  /** One line, in QEMU's words. */
  readonly message: string;
  /** Where in the image file, in bytes. */
  readonly hostOffset?: number;
  /** Which guest bytes are concerned. */
  readonly guest?: { readonly start: number; readonly end: number };
}

/** What a check found. */
export interface CheckReport {
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
  /** Offset after the last cluster in use. */
  readonly imageEndOffset: number;
  readonly corruptions: number;
  readonly leaks: number;
  readonly checkErrors: number;
  /** The first problems found; the counts are complete. */
  readonly problems: readonly CheckProblem[];
  /** Problems found beyond those listed. */
  readonly problemsOmitted: number;
}

/** What may be repaired. */
export interface RepairImageOptions extends CheckImageOptions {
  /** `leaks`: only space that is lost; `all`: whatever is understood. */
  readonly what: "leaks" | "all";
}

/** What a repair found and did. The problems say "Repairing" where something was done about them. */
export interface RepairReport {
  readonly leaksFixed: number;
  readonly corruptionsFixed: number;
  /** What could not be looked at, or not be repaired. */
  readonly checkErrors: number;
  /** The refcounts have to be made anew, which was not asked for: nothing has been repaired. */
  readonly needsMore: boolean;
  readonly problems: readonly CheckProblem[];
  /** Problems beyond those listed. */
  readonly problemsOmitted: number;
}

/** How far something has come: shares of a whole. */
export interface Progress {
  readonly done: number;
  readonly total: number;
}

/** How to check. */
export interface CheckImageOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}
