/** What a cluster of the file is used for, as the audit sees it. */
export const Claim = {
  header: 1,
  refcountTable: 2,
  refcountBlock: 3,
  l1: 4,
  l2: 5,
  data: 6,
  compressed: 7,
  snapshots: 8,
  bitmaps: 9,
  encryption: 10,
} as const;

/** One of the uses of {@link Claim}. */
export type ClaimKind = (typeof Claim)[keyof typeof Claim];

const names = Object.fromEntries(Object.entries(Claim).map(([name, kind]) => [kind, name]));

/** The use in words, for messages. */
export function claimName(kind: number): string {
  return names[kind] ?? "nothing";
}

const chunkClusters = 4096;
/** Pages of claims kept, 64 MiB of them; and claims made, so that time has an end, too. */
const maxChunks = 16_384;
const maxClaims = 16_777_216;

/** Notes who uses which cluster. Memory follows the clusters that are named, up to a limit. */
export class Claims {
  readonly #chunks = new Map<number, Uint8Array>();
  /** More clusters are in use than are looked through. */
  exceeded = false;
  #made = 0;

  /** Claims a cluster; returns what it was claimed for before, 0 for nothing. */
  claim(cluster: number, kind: ClaimKind): number {
    if (++this.#made > maxClaims) this.exceeded = true;
    const page = Math.floor(cluster / chunkClusters);
    let chunk = this.#chunks.get(page);
    if (chunk === undefined) {
      if (this.#chunks.size >= maxChunks) {
        this.exceeded = true;
        return 0;
      }
      chunk = new Uint8Array(chunkClusters);
      this.#chunks.set(page, chunk);
    }
    const at = cluster % chunkClusters;
    const before = chunk[at] ?? 0;
    if (before === 0) chunk[at] = kind;
    return before;
  }
}
