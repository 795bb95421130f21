/** Slots to begin with: a power of two. */
const firstSlots = 64;

/**
 * Marks on clusters, of which few have any: a hash table with open addressing, in typed arrays, so that
 * looking something up allocates nothing and a marked cluster takes about 20 to 40 bytes. Nothing can be removed.
 */
export class ClusterMarks {
  /** Cluster numbers, which may be larger than 2^32. */
  private clusters = new Float64Array(firstSlots);
  /** The marks of the cluster in the same slot; 0 where the slot is free. */
  private marks = new Uint16Array(firstSlots);
  private count = 0;

  /** Adds marks, bits of a mask of 16, to a cluster. */
  add(cluster: number, marks: number): void {
    if (marks === 0) return;
    let slot = this.slotOf(cluster);
    if (this.marks[slot] === 0) {
      if (this.count * 2 >= this.marks.length) {
        this.grow();
        slot = this.slotOf(cluster);
      }
      this.count++;
      this.clusters[slot] = cluster;
    }
    this.marks[slot]! |= marks;
  }

  /** All marks that clusters of [first, end) have. */
  find(first: number, end: number): number {
    let found = 0;
    if (end - first > this.marks.length) {
      for (let slot = 0; slot < this.marks.length; slot++) {
        const cluster = this.clusters[slot]!;
        if (cluster >= first && cluster < end) found |= this.marks[slot]!;
      }
      return found;
    }
    for (let cluster = first; cluster < end; cluster++) found |= this.marks[this.slotOf(cluster)]!;
    return found;
  }

  /** The slot that a cluster is in, or would be put into. */
  private slotOf(cluster: number): number {
    const { clusters, marks } = this;
    const mask = marks.length - 1;
    // Metadata tends to lie at multiples of some power of two: all bits have to have their say.
    let hash = Math.imul((cluster | 0) ^ (cluster / 2 ** 32), 0x9e37_79b1);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      if (marks[slot] === 0 || clusters[slot] === cluster) return slot;
    }
  }

  private grow(): void {
    const { clusters, marks } = this;
    this.clusters = new Float64Array(clusters.length * 2);
    this.marks = new Uint16Array(marks.length * 2);
    for (let old = 0; old < marks.length; old++) {
      if (marks[old] === 0) continue;
      const slot = this.slotOf(clusters[old]!);
      this.clusters[slot] = clusters[old]!;
      this.marks[slot] = marks[old]!;
    }
  }
}
