/** What is measured in a guest, and how the guest is told and tells. */
import { PlatterError } from "../errors.ts";

const KiB = 1024;

/** One kind of access to a disk. */
export interface GuestWorkload {
  readonly id: string;
  /** As tables and plots call it. */
  readonly label: string;
  /** fio's word. */
  readonly mode: "write" | "randwrite" | "read" | "randread";
  /** Nobody has written there before. */
  readonly isFirst: boolean;
  /** The guest flushes its disk after each request, and sends one at a time; otherwise once, at the end. */
  readonly flush: boolean;
  /** Bytes of a request. */
  readonly blockSize: number;
  /** Which quarter of the disk it is about. */
  readonly quarter: 0 | 1 | 2 | 3;
}

/** In this order on each disk; what comes later needs what comes before. */
export const guestWorkloads: readonly GuestWorkload[] = [
  workload("first-sequential", "First write, 64 KiB in sequence", 0),
  workload("first-sequential-flush", "First write, 64 KiB in sequence, flushed each", 1),
  workload("first-random", "First write, 4 KiB at random", 2),
  workload("first-random-flush", "First write, 4 KiB at random, flushed each", 3),
  workload("again-random", "Rewrite, 4 KiB at random", 0),
  workload("again-random-flush", "Rewrite, 4 KiB at random, flushed each", 0),
  workload("read-sequential", "Read, 64 KiB in sequence", 0),
  workload("read-random", "Read, 4 KiB at random", 0),
];

/** Those that are measured where there is little time. */
export const quickWorkloads: readonly GuestWorkload[] = guestWorkloads.filter(({ id }) =>
  [
    "first-sequential",
    "first-random",
    "first-random-flush",
    "again-random",
    "read-random",
  ].includes(id),
);

function workload(id: string, label: string, quarter: 0 | 1 | 2 | 3): GuestWorkload {
  const random = id.includes("random");
  const kind = id.startsWith("read") ? "read" : "write";
  return {
    id,
    label,
    mode: random ? `rand${kind}` : kind,
    isFirst: id.startsWith("first"),
    flush: id.endsWith("flush"),
    blockSize: random ? 4 * KiB : 64 * KiB,
    quarter,
  };
}

/** What is asked of each disk. */
export interface JobSize {
  readonly workloads: readonly GuestWorkload[];
  /** Bytes of the disk; four quarters of whole 64 KiB. */
  readonly disk: number;
  /** Requests of a workload in sequence, of one at random, and of one that flushes after each. */
  readonly sequential: number;
  readonly random: number;
  readonly flushed: number;
}

/** Requests of a workload; never more than fit in its quarter of the disk. */
export function requestsOf({ flush, blockSize }: GuestWorkload, size: JobSize): number {
  const count = flush ? size.flushed : blockSize > 4 * KiB ? size.sequential : size.random;
  return Math.min(count, size.disk / 4 / blockSize);
}

const QUEUE = 8;
const DISK_WORD = "PLATTER-LAB disk";

/**
 * The shell script for the guest: `disks` are the devices' serial numbers, in the order in which they are measured.
 * All is one run of fio, because under TCG starting it takes longer than a workload; it says when a disk's turn
 * comes, and all times at its end.
 */
export function jobScript(disks: readonly string[], size: JobSize, seed: number): string {
  const common = [
    // What is flushed at the end is part of the time.
    "direct=1\nioengine=libaio\nthread=1\nstonewall\nend_fsync=1",
    // Every disk gets the same requests, with the same bytes in them.
    `randrepeat=1\nrandseed=${seed}`,
  ].join("\n");
  const sections = disks.flatMap((serial) =>
    size.workloads.map((kind, index) => section(serial, kind, size, index === 0)),
  );
  return `cat > /lab.fio <<'END'
[global]
${common}
${sections.join("\n")}
END
for block in /sys/block/vd*; do
  sed -i "s,@$(cat $block/serial)$,/dev/\${block##*/}," /lab.fio
done
fio --output-format=terse --terse-version=3 /lab.fio
`;
}

/** A workload on a disk, as fio's job. `@` and the disk's serial number stand for its device. */
function section(serial: string, kind: GuestWorkload, size: JobSize, isFirst: boolean): string {
  const quarter = size.disk / 4;
  const bytes = requestsOf(kind, size) * kind.blockSize;
  return [
    `[${serial}.${kind.id}]`,
    `filename=@${serial}`,
    ...(isFirst ? [`exec_prerun=sh -c "echo ${DISK_WORD} ${serial} > /dev/console"`] : []),
    `rw=${kind.mode}\nbs=${kind.blockSize}`,
    `offset=${kind.quarter * quarter}`,
    `size=${kind.mode.startsWith("rand") ? quarter : bytes}`,
    `io_size=${bytes}`,
    kind.flush ? "fsync=1\niodepth=1" : `iodepth=${QUEUE}`,
  ].join("\n");
}

/** Something that the guest said. */
export type GuestLine =
  | { readonly kind: "disk"; readonly serial: string }
  | {
      readonly kind: "time";
      readonly serial: string;
      readonly workload: string;
      readonly milliseconds: number;
    }
  | { readonly kind: "other" };

/** Fields of fio's terse output, version 3, counted from 0 (fio's manual, "TERSE OUTPUT"). */
const FIELD = { version: 0, name: 2, error: 4, readRuntime: 8, writeRuntime: 49 } as const;

/**
 * Understands a line of the guest.
 *
 * @throws `E_EXTERNAL` if fio says that a workload failed
 */
export function readLine(line: string): GuestLine {
  // The kernel may have left half a line before it.
  const disk = new RegExp(`${DISK_WORD} (\\S+)\\s*$`).exec(line);
  if (disk?.[1] !== undefined) return { kind: "disk", serial: disk[1] };
  const fields = line.trim().split(";");
  const [serial = "", id] = (fields[FIELD.name] ?? "").split(".");
  const kind = guestWorkloads.find((each) => each.id === id);
  if (fields[FIELD.version] !== "3" || kind === undefined) return { kind: "other" };
  if (fields[FIELD.error] !== "0") {
    throw new PlatterError(
      "E_EXTERNAL",
      `fio in the guest: ${kind.id} failed with error ${fields[FIELD.error] ?? "unknown"}.`,
      { value: kind.id },
    );
  }
  const reads = kind.mode.endsWith("read");
  const text = fields[reads ? FIELD.readRuntime : FIELD.writeRuntime] ?? "";
  const time = Number(text);
  if (!/^[0-9]{1,12}$/.test(text)) {
    throw new PlatterError("E_EXTERNAL", `fio in the guest: ${kind.id} took "${text}".`, {
      value: text,
    });
  }
  // Whole milliseconds; none at all would make ratios without end.
  return { kind: "time", serial, workload: kind.id, milliseconds: Math.max(time, 0.5) };
}
