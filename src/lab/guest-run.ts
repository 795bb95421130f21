/** One guest with the disks of several images: started, heard, sampled, and gone at the end. */
import { mkdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { PlatterError, throwIfAborted } from "../errors.ts";
import {
  findProcess,
  injectInto,
  killProcess,
  startQemu,
  type Acceleration,
  type GuestPaths,
  type Machine,
} from "../vm/index.ts";
import { guestModules, type GuestSystem } from "./guest-system.ts";
import { jobFile } from "./guest-workloads.ts";

/** An image that the guest has as a disk. */
export interface GuestImage {
  readonly label: string;
  readonly path: string;
  readonly format: "raw" | "qcow2";
}

/** How a guest is run. */
export interface GuestRunOptions {
  readonly system: GuestSystem;
  readonly acceleration: Acceleration;
  readonly images: readonly GuestImage[];
  /** For each round, the images in the order in which they are worked on. */
  readonly order: ReadonlyArray<readonly GuestImage[]>;
  readonly cache: "none" | "writeback";
  /** A directory of its own, not there yet. */
  readonly directory: string;
  readonly signal?: AbortSignal | undefined;
  /** Share of the work that is done. */
  readonly onShare: (share: number) => void;
}

/** How a file was at a moment. */
export interface Sample {
  /** Milliseconds since the guest was started. */
  readonly time: number;
  readonly fileLength: number;
  readonly allocated: number;
}

/** What came of a run. */
export interface GuestRun {
  /** What fio said for each image, one text a round. */
  readonly said: Readonly<Record<string, readonly string[]>>;
  /** How each file grew. */
  readonly samples: Readonly<Record<string, readonly Sample[]>>;
  /** Processor time of QEMU in milliseconds. */
  readonly processor: number;
}

const MiB = 2 ** 20;
const memory = 640 * MiB;
const pollEvery = 200;
/** Milliseconds for starting, and without a sign of work. */
const patience = 300_000;
/** Linux counts processor time in hundredths of a second for programs. */
const tick = 10;

/**
 * Runs a guest from its start to its end. No QEMU is left, and no file but those of the images.
 *
 * @throws as `startQemu`; `E_EXTERNAL` when the guest ends or says nothing any more, `E_ABORTED`
 */
export async function runGuest(options: GuestRunOptions): Promise<GuestRun> {
  const { directory, system, images, order, acceleration, signal } = options;
  await mkdir(directory);
  const paths = pathsIn(directory);
  const machine = machineFor(images, options.cache, paths);
  try {
    await writeFile(paths.initrd, injectInto(system.initrd, workFor(images, order)));
    const install = {
      kernel: {
        kernel: system.kernel,
        initrd: paths.initrd,
        arguments: "console=ttyS0 quiet panic=-1",
      },
    };
    await startQemu(machine, paths, { install, acceleration, signal });
    return await follow(machine, paths, options);
  } finally {
    await killProcess(machine, paths);
    await rm(directory, { recursive: true, force: true });
  }
}

function pathsIn(directory: string): GuestPaths {
  const at = (name: string): string => join(directory, name);
  return {
    directory,
    description: at("guest.json"),
    qmpSocket: at("qmp"),
    serialSocket: at("serial"),
    serialLog: at("serial.log"),
    pidFile: at("pid"),
    seed: at("seed.iso"),
    kernel: at("vmlinuz"),
    initrd: at("initrd"),
    uefiVariables: at("uefi.fd"),
  };
}

function machineFor(
  images: readonly GuestImage[],
  cache: GuestRunOptions["cache"],
  paths: GuestPaths,
): Machine {
  return {
    name: "platter-lab",
    uuid: randomUUID(),
    memory,
    vcpus: 1,
    chipset: "q35",
    firmware: "bios",
    disks: images.map(({ path, format }) => ({
      path,
      place: "file",
      format,
      bus: "virtio",
      cache,
      discard: "ignore",
    })),
    cdroms: [],
    boot: [],
    networks: [],
    graphics: { kind: "none" },
    serial: { kind: "file", path: paths.serialLog },
  };
}

const nameOf = (round: number, disk: number): string => `job-${round}-${disk}`;

/** The guest's first program, and what it has fio do. */
function workFor(images: readonly GuestImage[], order: GuestRunOptions["order"]) {
  const jobs = order.flatMap((inOrder, round) =>
    inOrder.map((image) => ({ round, disk: images.indexOf(image) })),
  );
  const device = (disk: number): string => `/dev/vd${String.fromCharCode(97 + disk)}`;
  const init = `#!/busybox sh
/busybox mkdir -p /bin /dev /proc /sys /tmp
/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in ${guestModules.join(" ")}; do [ ! -e /$module.ko ] || insmod /$module.ko; done
until [ -b ${device(images.length - 1)} ]; do sleep 0.1; done
fio() { if [ -e /ld-linux-x86-64.so.2 ]; then /ld-linux-x86-64.so.2 --library-path / /fio "$@"; else /fio "$@"; fi; }
for job in ${jobs.map(({ round, disk }) => nameOf(round, disk)).join(" ")}; do
echo "PLATTER begin $job"
fio --minimal --terse-version=3 /$job 2>&1
echo "PLATTER end $job"
done
echo "PLATTER done"
poweroff -f
`;
  const file = (name: string, text: string, mode: number) => ({
    name,
    contents: new TextEncoder().encode(text),
    mode,
  });
  return [
    file("init", init, 0o755),
    ...jobs.map(({ round, disk }) =>
      file(nameOf(round, disk), jobFile(device(disk), round), 0o644),
    ),
  ];
}

/** Listens to the guest and looks at its disks until it has ended. */
async function follow(
  machine: Machine,
  paths: GuestPaths,
  { images, order, signal, onShare }: GuestRunOptions,
): Promise<GuestRun> {
  const start = performance.now();
  const samples: Record<string, Sample[]> = Object.fromEntries(
    images.map(({ label }) => [label, []]),
  );
  const total = order.reduce((sum, inOrder) => sum + inOrder.length, 0);
  let processor = 0;
  let heard = "";
  let lastNews = start;
  for (;;) {
    throwIfAborted(signal);
    const pid = await findProcess(machine, paths);
    if (pid !== undefined) processor = Math.max(processor, await processorTime(pid));
    const text = await readFile(paths.serialLog, "latin1");
    if (text.length > heard.length) lastNews = performance.now();
    heard = text;
    await sample(images, performance.now() - start, samples);
    onShare(heard.split("PLATTER end ").length / (total + 1));
    if (pid === undefined) break;
    if (performance.now() - lastNews > patience) throw silent(heard);
    await sleep(pollEvery);
  }
  if (!heard.includes("PLATTER done")) throw silent(heard);
  return { said: saidOf(heard, images, order.length), samples, processor };
}

function silent(heard: string): PlatterError {
  const last = heard.trim().split("\n").at(-1)?.trim() ?? "";
  return new PlatterError(
    "E_EXTERNAL",
    `The guest ended, or said nothing for ${patience / 1000} seconds; its last line was "${last.slice(0, 200)}".`,
    { value: last },
  );
}

/** What stands between the marks of each job. */
function saidOf(
  heard: string,
  images: readonly GuestImage[],
  rounds: number,
): Record<string, string[]> {
  const text = heard.replaceAll("\r", "");
  const between = (name: string): string => {
    const begin = text.indexOf(`PLATTER begin ${name}\n`);
    const end = text.indexOf(`PLATTER end ${name}\n`, begin);
    return begin < 0 || end < 0 ? "" : text.slice(begin, end);
  };
  return Object.fromEntries(
    images.map(({ label }, disk) => [
      label,
      Array.from({ length: rounds }, (_, round) => between(nameOf(round, disk))),
    ]),
  );
}

async function sample(
  images: readonly GuestImage[],
  time: number,
  into: Record<string, Sample[]>,
): Promise<void> {
  for (const { label, path } of images) {
    const { size, blocks } = await stat(path);
    const list = into[label]!;
    const now = { time: Math.round(time), fileLength: size, allocated: blocks * 512 };
    const before = list.at(-1);
    // What has not changed is said by the sample before.
    if (before?.fileLength !== size || before.allocated !== now.allocated) list.push(now);
  }
}

/** Processor time of a process and its threads (proc(5), fields 14 and 15 of `stat`), in milliseconds. */
async function processorTime(pid: number): Promise<number> {
  try {
    const text = await readFile(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) * tick;
  } catch {
    // It has ended meanwhile.
    return 0;
  }
}
