/** The QMP commands that guests are kept with, their answers checked. Names are those of QEMU's QAPI schema. */
import type { QmpClient } from "./qmp.ts";
import { Shape } from "./shape.ts";

/** What a guest's processors are doing (`query-status`). */
export interface RunState {
  /** QEMU's word: `running`, `paused`, `shutdown`, `io-error`, `guest-panicked` … */
  readonly status: string;
  readonly running: boolean;
}

/** What a guest's disk has been asked since QEMU started (`query-blockstats`). */
export interface BlockStatistics {
  /** The device's id on the command line. */
  readonly device: string;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readOperations: number;
  readonly writeOperations: number;
  readonly flushOperations: number;
  /** The highest byte that was written, plus one. */
  readonly highestWrite: number;
  readonly failedReads: number;
  readonly failedWrites: number;
}

/** Whether the guest runs. */
export async function queryStatus(qmp: QmpClient): Promise<RunState> {
  const shape = new Shape(await qmp.execute("query-status"), "query-status");
  return { status: shape.text("status"), running: shape.flag("running") };
}

/** The counters of all disks that have a device. */
export async function queryBlockStatistics(qmp: QmpClient): Promise<BlockStatistics[]> {
  const answer = { list: await qmp.execute("query-blockstats") };
  const all = new Shape(answer, "query-blockstats").objects("list", (shape) => {
    const name = deviceName(shape.optionalText("qdev") ?? "");
    return name === "" ? undefined : statistics(name, shape.object("stats"));
  });
  return all.filter((entry) => entry !== undefined);
}

/** `/machine/peripheral/disk0/virtio-backend` is the device `disk0`. */
function deviceName(path: string): string {
  return /^\/machine\/peripheral\/([^/]+)/.exec(path)?.[1] ?? path;
}

function statistics(device: string, stats: Shape): BlockStatistics {
  return {
    device,
    readBytes: stats.count("rd_bytes"),
    writeBytes: stats.count("wr_bytes"),
    readOperations: stats.count("rd_operations"),
    writeOperations: stats.count("wr_operations"),
    flushOperations: stats.count("flush_operations"),
    highestWrite: stats.count("wr_highest_offset"),
    failedReads: stats.count("failed_rd_operations"),
    failedWrites: stats.count("failed_wr_operations"),
  };
}

/** Presses the guest's power button, which it may heed or not. */
export async function powerDown(qmp: QmpClient): Promise<void> {
  await qmp.execute("system_powerdown");
}

/** Lets a paused guest go on. */
export async function resume(qmp: QmpClient): Promise<void> {
  await qmp.execute("cont");
}

/** Ends QEMU, which writes back what it holds of its images first. */
export async function quit(qmp: QmpClient): Promise<void> {
  await qmp.execute("quit");
}

/** Has QEMU write a picture of the guest's screen to a file, as PNG (QEMU 7.1 and later). */
export async function screenDump(qmp: QmpClient, path: string): Promise<void> {
  await qmp.execute("screendump", { filename: path, format: "png" });
}
