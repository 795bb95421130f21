import type { Bytes } from "../bytes/index.ts";
import type { Codec, Codecs, CompressionType } from "./codec.ts";
import { readsOnly } from "./reads-only.ts";

/**
 * Packs and unpacks many clusters at once: on other threads, where there are any. The buffers of a job
 * belong to the pool until its result hands them back, possibly as other objects.
 */
export interface CodecPool {
  /** How many jobs are worked on at the same time. */
  readonly width: number;
  /** Throws `E_CODEC`, and `E_IO` when a thread has ended. */
  pack(job: PackJob): Promise<Packed>;
  /** Throws as {@link CodecPool.pack}; a cluster that is damaged is no error of the job. */
  unpack(job: UnpackJob): Promise<Unpacked>;
  /** Ends the threads. Jobs under way fail. */
  close(): Promise<void>;
}

/** Clusters to be compressed. */
export interface PackJob {
  readonly type: CompressionType;
  readonly level?: number | undefined;
  readonly clusterSize: number;
  readonly data: Bytes;
  /** Where in `data` the clusters start. */
  readonly clusters: readonly number[];
  /** Where the packed clusters go, one after the other: as many bytes as the clusters have. */
  readonly room: Bytes;
}

/** What came of a {@link PackJob}. */
export interface Packed {
  readonly data: Bytes;
  readonly room: Bytes;
  /** Packed bytes of each cluster; 0 for one that does not get smaller. */
  readonly lengths: readonly number[];
}

/** A packed cluster and the part of it that is wanted. */
export interface PackedCluster {
  /** Where it is in the packed bytes. */
  readonly from: number;
  readonly length: number;
  /** Where in `data` the wanted bytes go. */
  readonly at: number;
  /** The wanted bytes [start, end) of the cluster. */
  readonly start: number;
  readonly end: number;
}

/** Clusters to be decompressed. */
export interface UnpackJob {
  readonly type: CompressionType;
  readonly clusterSize: number;
  readonly packed: Bytes;
  readonly data: Bytes;
  readonly clusters: readonly PackedCluster[];
}

/** What came of an {@link UnpackJob}. */
export interface Unpacked {
  readonly packed: Bytes;
  readonly data: Bytes;
  /** The first cluster that is damaged, by its index, and what is wrong with it. */
  readonly failure?: { readonly index: number; readonly reason: string } | undefined;
}

/** Does the job here and now. Throws `E_CODEC` when `codec` only reads. */
export function pack(codec: Codec & Required<Pick<Codec, "compress">>, job: PackJob): Packed {
  const { data, clusters, clusterSize, room, level } = job;
  const lengths: number[] = [];
  let filled = 0;
  for (const at of clusters) {
    const into = room.subarray(filled, filled + clusterSize - 1);
    const length = codec.compress(data.subarray(at, at + clusterSize), into, level) ?? 0;
    lengths.push(length);
    filled += length;
  }
  return { data, room, lengths };
}

/** Does the job here and now. */
export function unpack(codec: Codec, job: UnpackJob): Unpacked {
  const { packed, data, clusters, clusterSize } = job;
  let whole: Uint8Array | undefined;
  for (const [index, { from, length, at, start, end }] of clusters.entries()) {
    const isWhole = start === 0 && end === clusterSize;
    const into = isWhole
      ? data.subarray(at, at + clusterSize)
      : (whole ??= new Uint8Array(clusterSize));
    try {
      codec.decompress(packed.subarray(from, from + length), into);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { packed, data, failure: { index, reason } };
    }
    if (!isWhole) data.set(into.subarray(start, end), at);
  }
  return { packed, data };
}

/** Whether a codec writes as well as reads. */
export const canPack = (codec: Codec): codec is Codec & Required<Pick<Codec, "compress">> =>
  codec.compress !== undefined;

/** A pool without threads: each job is done when it is asked for. */
export function localPool(codecs: Codecs): CodecPool {
  return {
    width: 1,
    async pack(job) {
      const codec = await codecs.load(job.type);
      if (!canPack(codec)) throw readsOnly(job.type);
      return pack(codec, job);
    },
    unpack: async (job) => unpack(await codecs.load(job.type), job),
    close: () => Promise.resolve(),
  };
}
