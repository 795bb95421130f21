import type { WritableMetadata } from "./metadata.ts";
import type { MetadataPlaces } from "./metadata-places.ts";

/** The kinds of metadata that a write can be checked against: bits of a mask, in QEMU's order. */
export const section = {
  mainHeader: 1,
  activeL1: 2,
  activeL2: 4,
  refcountTable: 8,
  refcountBlock: 16,
  snapshotTable: 32,
  inactiveL1: 64,
  inactiveL2: 128,
  bitmapDirectory: 256,
} as const;

/** All L2 tables, whose snapshots they may be. */
export const anyL2 = section.activeL2 | section.inactiveL2;

const constant =
  section.mainHeader |
  section.activeL1 |
  section.refcountTable |
  section.snapshotTable |
  section.bitmapDirectory;
const cached = constant | section.activeL2 | section.refcountBlock | section.inactiveL1;

/** QEMU's names for what to check: what never moves; what is in memory; with what has to be read, too. */
export const overlapTemplates = {
  none: 0,
  constant,
  cached,
  all: cached | section.inactiveL2,
} as const;

/**
 * Sees to it that nothing is written over metadata: neither by a damaged table nor by refcounts that call
 * free what is in use. Each write asks; the answer comes from a table of the clusters in question, which is
 * made with the first write, at once and without allocating.
 */
export class OverlapGuard {
  private readonly metadata: WritableMetadata;
  private readonly sections: number;
  private places: MetadataPlaces | undefined;

  /** `sections` is a mask of {@link section}s. */
  constructor(metadata: WritableMetadata, sections: number) {
    this.metadata = metadata;
    this.sections = sections;
  }

  /**
   * Asks whether `length` bytes at `offset` may be written. Undefined: they may. Otherwise this is not known
   * yet, and the promise rejects with `E_CORRUPT` when they would destroy metadata, other than that of the
   * `ignored` sections; the image has been marked as corrupt then.
   */
  prevent(offset: number, length: number, ignored = 0): Promise<void> | undefined {
    const sections = this.sections & ~ignored;
    if (length <= 0 || sections === 0) return undefined;
    const { places } = this;
    if (places?.isCurrent(this.metadata) === true && places.find(offset, length, sections) === 0) {
      return undefined;
    }
    return this.examine(offset, length, sections);
  }

  /** Takes note of a table at `offset` in the {@link section} `kind` that is new in a table that was known. */
  add(offset: number, kind: number): void {
    this.places?.add(offset, kind & this.sections);
  }

  /**
   * What has been freed is still in the table of clusters: only one that has just been made tells for
   * certain that there is something in the way.
   */
  private async examine(offset: number, length: number, sections: number): Promise<void> {
    const { refusal, placesOf } = await import("./metadata-places.ts");
    this.places = await placesOf(this.metadata, this.sections);
    const found = this.places.find(offset, length, sections);
    if (found === 0) return;
    throw await this.metadata.corruption.signal(refusal(found), { offset });
  }
}
