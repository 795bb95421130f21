/** Bytes of unpacked clusters kept. */
const budget = 8 * 1024 * 1024;

/**
 * The last few unpacked clusters by their place in the storage: small reads of a compressed image
 * would otherwise unpack the same cluster again and again.
 */
export class ClusterCache {
  private readonly clusters = new Map<number, Uint8Array>();
  private readonly capacity: number;

  constructor(clusterSize: number) {
    this.capacity = Math.max(1, Math.floor(budget / clusterSize));
  }

  get(host: number): Uint8Array | undefined {
    return this.clusters.get(host);
  }

  set(host: number, cluster: Uint8Array): void {
    if (this.clusters.size >= this.capacity) {
      const oldest = this.clusters.keys().next().value;
      if (oldest !== undefined) this.clusters.delete(oldest);
    }
    this.clusters.set(host, cluster);
  }

  /** Forgets everything: places in the storage may have got other contents. */
  clear(): void {
    this.clusters.clear();
  }
}
