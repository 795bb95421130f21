import { formatSize, type SnapshotInfo } from "./contract.ts";
import type { JsonValue } from "./json.ts";

const two = (value: number): string => String(value).padStart(2, "0");

/** "2026-11-23 15:04:05" in the time of this place. */
export function localTime(seconds: number): string {
  const date = new Date(seconds * 1000);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${day} ${time}`;
}

/** "01:02:03.456". */
export function clockTime(nanoseconds: bigint): string {
  const milliseconds = Number((nanoseconds / 1_000_000n) % 1000n);
  const seconds = Number(nanoseconds / 1_000_000_000n);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts.map(two).join(":")}.${String(milliseconds).padStart(3, "0")}`;
}

/** The list as qemu-img prints it. */
export function qemuSnapshotList(
  snapshots: readonly SnapshotInfo[],
  safe: (text: string) => string,
): string {
  const line = (
    [id, tag]: readonly [string, string],
    [size, date, clock, icount]: readonly [string, string, string, string],
  ): string =>
    `${id}${tag}${size.padStart(8)}${date.padStart(20)}${clock.padStart(13)}${icount.padStart(11)}\n`;
  const head = line(["ID".padEnd(10), "TAG".padEnd(17)], ["VM SIZE", "DATE", "VM CLOCK", "ICOUNT"]);
  const rows = snapshots.map(({ id, name, vmStateSize, date, vmClock, icount }) =>
    line(
      [`${safe(id).padEnd(9)} `, `${safe(name).padEnd(16)} `],
      [
        formatSize(vmStateSize),
        localTime(date.seconds),
        clockTime(vmClock),
        icount === undefined ? "" : String(BigInt.asIntN(64, icount)),
      ],
    ),
  );
  return `Snapshot list:\n${head}${rows.join("")}`;
}

/** A snapshot under the names that `qemu-img info --output=json` gives to its parts. */
export const snapshotJson = (snapshot: SnapshotInfo): { readonly [key: string]: JsonValue } => ({
  id: snapshot.id,
  name: snapshot.name,
  "vm-state-size": snapshot.vmStateSize,
  "date-sec": snapshot.date.seconds,
  "date-nsec": snapshot.date.nanoseconds,
  "vm-clock-sec": Number(snapshot.vmClock / 1_000_000_000n),
  "vm-clock-nsec": Number(snapshot.vmClock % 1_000_000_000n),
  ...(snapshot.icount !== undefined && { icount: Number(snapshot.icount) }),
});
