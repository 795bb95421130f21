import { advance, guest, lower, type GuestOffset } from "../../bytes/index.ts";
import { Kind, nowhere, type Mapping, type Runs } from "../../disk/index.ts";
import { copiedBit, compressedBit, decodeCompressed, hostOffset, zeroBit } from "./entries.ts";
import { entrySize } from "./geometry.ts";
import { address, misplacement } from "./invalid.ts";
import {
  alike,
  hasCluster,
  hostClusterOf,
  isCompressed,
  isZeroFlagged,
  lowerOf,
  upperOf,
} from "./l2-table.ts";
import type { Metadata } from "./metadata.ts";
import {
  allocatedSubclusters,
  invalidSubclusters,
  isInvalid,
  zeroSubclusters,
} from "./subclusters.ts";
import type { Table } from "./tables.ts";

/** Where guest bytes are, from the active L1 table and the L2 tables (specification, "Cluster mapping"). */
export class Qcow2Mapping implements Mapping {
  private readonly metadata: Metadata;

  constructor(metadata: Metadata) {
    this.metadata = metadata;
  }

  /** {@inheritDoc Mapping.map} Ends before an entry that is wrong; {@link Qcow2Mapping.load} tells of it. */
  map(at: GuestOffset, end: GuestOffset, into: Runs): GuestOffset {
    const { geometry, l1, l2, corruption } = this.metadata;
    if (corruption.isFatal) return at;
    let position = at;
    while (position < end) {
      const index = Math.floor(position / geometry.l2Span);
      const tableEnd = lower(end, guest((index + 1) * geometry.l2Span));
      const offset = l1.l2Offset(index);
      if (offset === 0) {
        if (!into.add(Kind.unallocated, position, tableEnd - position)) return position;
        position = tableEnd;
        continue;
      }
      const table = l2.get(offset);
      if (table === undefined) return position;
      const own = l1.isCopied(index) && !this.metadata.frozen;
      position = geometry.hasSubclusters
        ? this.mapExtended(table, own, position, tableEnd, into)
        : this.mapTable(table, own, position, tableEnd, into);
      if (position < tableEnd) return position;
    }
    return position;
  }

  /** {@inheritDoc Mapping.load} Throws `E_CORRUPT` when `at` cannot be mapped. */
  async load(at: GuestOffset, forChange = false): Promise<void> {
    const { metadata } = this;
    const { geometry, l1, corruption } = metadata;
    corruption.refuseUse();
    const l1Index = Math.floor(at / geometry.l2Span);
    const offset = l1.l2Offset(l1Index);
    if (offset === 0) return;
    const table = await metadata.loadMappedL2(offset, l1Index);
    if (forChange) return;
    const index = Math.floor(at / geometry.clusterSize) % geometry.l2Entries;
    const problem = this.problemOf(table, index, at - (at % geometry.clusterSize));
    if (problem === undefined) return;
    const place = { field: "L2 entry", offset: table.offset + index * table.entrySize };
    throw await corruption.signal(problem, place);
  }

  /** Maps the guest bytes [at, end), all of which `table` covers. */
  private mapTable(
    table: Table,
    own: boolean,
    at: GuestOffset,
    end: GuestOffset,
    into: Runs,
  ): GuestOffset {
    const { clusterSize, l2Entries } = this.metadata.geometry;
    const external = this.metadata.hasDataFile;
    const { view } = table;
    let position = at;
    let index = Math.floor(position / clusterSize) % l2Entries;
    while (position < end) {
      const inside = position % clusterSize;
      const length = Math.min(clusterSize - inside, end - position);
      const upperBits = view.getUint32(index * entrySize);
      const lowerBits = view.getUint32(index * entrySize + 4);
      let fits: boolean;
      /** How much further on the next cluster is, if its entry says the same. */
      let step: number | undefined;
      if ((upperBits & compressedBit) !== 0) {
        if (external) return position;
        // A packed cluster is an indivisible run; a request may still start or end inside it.
        const packed = decodeCompressed(upperBits, lowerBits, this.metadata.geometry.clusterBits);
        fits = into.add(
          Kind.compressed,
          advance(position, -inside),
          clusterSize,
          packed.offset,
          false,
          packed.length,
        );
      } else {
        const host = hostOffset(upperBits, lowerBits);
        if (host % clusterSize !== 0) return position;
        const copied = (upperBits & copiedBit) !== 0;
        const zero = (lowerBits & zeroBit) !== 0;
        // In a data file the cluster at offset 0 is one like others.
        const isPlace = host !== 0 || (external && copied && !zero);
        if (external && isPlace && host !== position - inside) return position;
        const inPlace = own && copied;
        step = isPlace ? clusterSize : 0;
        if (zero) {
          if (this.metadata.header.fields.version < 3) return position;
          const place = isPlace ? advance(host, inside) : nowhere;
          fits = into.add(Kind.zero, position, length, place, inPlace);
        } else if (!isPlace) {
          fits = into.add(Kind.unallocated, position, length);
        } else {
          fits = into.add(Kind.data, position, length, advance(host, inside), inPlace);
        }
      }
      if (!fits) return position;
      position = advance(position, length);
      index++;
      if (step === undefined || position >= end) continue;
      // Most entries say the same as the one before, a cluster further on.
      const repeated = alike(table, index, Math.ceil((end - position) / clusterSize), step);
      const rest = Math.min(repeated * clusterSize, end - position);
      into.lengthen(rest);
      position = advance(position, rest);
      index += repeated;
    }
    return position;
  }

  /** As {@link Qcow2Mapping.mapTable}, for extended entries: a cluster may be of several kinds. */
  private mapExtended(
    table: Table,
    own: boolean,
    at: GuestOffset,
    end: GuestOffset,
    into: Runs,
  ): GuestOffset {
    const { clusterSize, subclusterSize, l2Entries, clusterBits } = this.metadata.geometry;
    const external = this.metadata.hasDataFile;
    let position = at;
    let index = Math.floor(position / clusterSize) % l2Entries;
    while (position < end) {
      const inside = position % clusterSize;
      const start = advance(position, -inside);
      const stop = lower(end, advance(start, clusterSize));
      const upperBits = upperOf(table, index);
      const lowerBits = lowerOf(table, index);
      if ((upperBits & compressedBit) !== 0) {
        if (external) return position;
        const { offset, length } = decodeCompressed(upperBits, lowerBits, clusterBits);
        if (!into.add(Kind.compressed, start, clusterSize, offset, false, length)) return position;
        position = stop;
        index++;
        continue;
      }
      const host = hostOffset(upperBits, lowerBits);
      if (host % clusterSize !== 0) return position;
      const copied = (upperBits & copiedBit) !== 0;
      const isPlace = host !== 0 || (external && copied);
      if (external && isPlace && Number(host) !== start) return position;
      const zeros = zeroSubclusters(table, index);
      const allocated = allocatedSubclusters(table, index);
      if (isInvalid(isPlace, zeros, allocated)) return position;
      const inPlace = own && copied;
      let subcluster = Math.floor(inside / subclusterSize);
      while (position < stop) {
        const kind = subclusterKind(subcluster, zeros, allocated);
        subcluster++;
        while (subcluster < 32 && subclusterKind(subcluster, zeros, allocated) === kind) {
          subcluster++;
        }
        const next = lower(stop, advance(start, subcluster * subclusterSize));
        const place = !isPlace ? nowhere : advance(host, position - start);
        const mayOverwrite = inPlace && kind !== Kind.unallocated;
        if (!into.add(kind, position, next - position, place, mayOverwrite)) return position;
        position = next;
      }
      index++;
    }
    return position;
  }

  /**
   * What is wrong with an entry, in QEMU's words; undefined when it maps the cluster at guest offset
   * `start` to something.
   */
  private problemOf(table: Table, index: number, start: number): string | undefined {
    const { header, geometry, hasDataFile } = this.metadata;
    const place = `(L2 offset: ${address(table.offset)}, L2 index: ${address(index)})`;
    if (isCompressed(table, index)) {
      if (!hasDataFile) return undefined;
      return `Compressed cluster entry found in image with external data file ${place}`;
    }
    const host = hostClusterOf(table, index);
    if (geometry.hasSubclusters) {
      const [zeros, allocated] = [
        zeroSubclusters(table, index),
        allocatedSubclusters(table, index),
      ];
      if (isInvalid(hasCluster(table, index, hasDataFile), zeros, allocated)) {
        return invalidSubclusters(table, index, true);
      }
    } else if (isZeroFlagged(table, index) && header.fields.version < 3) {
      return `Zero cluster entry found in pre-v3 image ${place}`;
    }
    if (host % geometry.clusterSize !== 0) {
      return `Cluster allocation offset ${address(host)} unaligned ${place}`;
    }
    if (hasDataFile && hasCluster(table, index, true) && host !== start) {
      return misplacement(host, start, index);
    }
    return undefined;
  }
}

/** What subcluster number `n` is, by the words of its entry's bitmap. */
function subclusterKind(n: number, zeros: number, allocated: number): Kind {
  if (((zeros >>> n) & 1) !== 0) return Kind.zero;
  return ((allocated >>> n) & 1) !== 0 ? Kind.data : Kind.unallocated;
}
