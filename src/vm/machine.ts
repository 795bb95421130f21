/**
 * What a guest is made of, whoever runs it: QEMU (qemu-command.ts) or libvirt (libvirt-xml.ts). Words that both
 * have are QEMU's.
 */
import { PlatterError } from "../errors.ts";

/** A guest. */
export interface Machine {
  /** 1 to 64 letters, digits, `.`, `_`, `-` and `+`; also the name of its directory. */
  readonly name: string;
  /** In the usual form with hyphens. */
  readonly uuid: string;
  /** Bytes; whole MiB. */
  readonly memory: number;
  readonly vcpus: number;
  /** QEMU's name of a model; undefined is the host's, or under TCG the best that it emulates. */
  readonly cpu?: string | undefined;
  readonly chipset: Chipset;
  readonly firmware: Firmware;
  readonly disks: readonly GuestDisk[];
  /**
   * Paths of images that the guest always has and may only read: the seed of cloud-init. They are on the bus of its
   * first disk, because it knows that one; Debian's kernel for clouds has no driver for SATA. On virtio they are disks.
   */
  readonly cdroms: readonly string[];
  /** What the firmware tries, in that order. */
  readonly boot: readonly BootDevice[];
  readonly networks: readonly GuestNetwork[];
  readonly graphics: Graphics;
  readonly serial: Serial;
}

/** What is there only while the guest is installed; it then does not start anew by itself. */
export interface InstallMedia {
  /** Path of an image for a CD drive. */
  readonly cdrom?: string | undefined;
  /** Started in place of what the firmware finds. */
  readonly kernel?: DirectKernel | undefined;
}

/** A kernel outside of the guest's disks. Paths are absolute. */
export interface DirectKernel {
  readonly kernel: string;
  readonly initrd?: string | undefined;
  /** The kernel's command line. */
  readonly arguments: string;
}

/** A disk of a guest. */
export interface GuestDisk {
  /** Absolute. */
  readonly path: string;
  /** Where it is: a file, or a block device of the host. */
  readonly place: "file" | "device";
  readonly format: string;
  readonly bus: DiskBus;
  readonly cache: DiskCache;
  /** Whether what the guest discards is given back to the host. */
  readonly discard: DiskDiscard;
}

/** A network card of a guest. */
export interface GuestNetwork {
  /** `user` needs no rights: the guest reaches the network, nobody reaches the guest. */
  readonly kind: "user" | "bridge";
  /** The host's bridge. */
  readonly bridge?: string | undefined;
  readonly model: NetworkModel;
  readonly mac?: string | undefined;
}

/** Where the guest's screen is to be seen. */
export interface Graphics {
  readonly kind: GraphicsKind;
  /** Address of the host; 127.0.0.1 if not given. */
  readonly listen?: string | undefined;
  /** The first free one if not given. */
  readonly port?: number | undefined;
}

/** Where the guest's first serial port leads. */
export type Serial =
  | { readonly kind: "console" | "none" }
  | { readonly kind: "file"; readonly path: string };

/** The values of {@link Machine.chipset} and so on. */
export const chipsets = ["q35", "pc"] as const;
export type Chipset = (typeof chipsets)[number];
export const firmwares = ["bios", "uefi"] as const;
export type Firmware = (typeof firmwares)[number];
export const bootDevices = ["hd", "cdrom", "network"] as const;
export type BootDevice = (typeof bootDevices)[number];
export const diskBuses = ["virtio", "scsi", "sata"] as const;
export type DiskBus = (typeof diskBuses)[number];
export const diskCaches = ["none", "writeback", "writethrough", "directsync", "unsafe"] as const;
export type DiskCache = (typeof diskCaches)[number];
export const diskDiscards = ["ignore", "unmap"] as const;
export type DiskDiscard = (typeof diskDiscards)[number];
export const networkModels = ["virtio", "e1000e", "e1000"] as const;
export type NetworkModel = (typeof networkModels)[number];
export const graphicsKinds = ["none", "vnc", "spice"] as const;
export type GraphicsKind = (typeof graphicsKinds)[number];

/** A disk's device as QEMU and its statistics call it: `disk0`, `disk1` … */
export const diskId = (index: number): string => `disk${index}`;

/**
 * Checks a name for a guest.
 *
 * @throws `E_INVALID_ARGUMENT`
 */
export function checkName(name: string): void {
  if (/^[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}$/.test(name)) return;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    `"${name}" cannot be a guest's name: letters, digits, "_", and behind the first also ".", "-" and "+", 64 at most.`,
    { field: "name", value: name },
  );
}

/** A drive whose medium is an image of a CD. */
export interface Drive {
  readonly path: string;
  readonly bus: DiskBus;
  /** The guest is installed from it. */
  readonly installs: boolean;
}

/** All such drives of a run: the one that the guest is installed from, where installers look for it, and its own. */
export function drivesOf(machine: Machine, install: InstallMedia | undefined): Drive[] {
  const bus = machine.disks[0]?.bus ?? "sata";
  const own = machine.cdroms.map((path): Drive => ({ path, bus, installs: false }));
  if (install?.cdrom === undefined) return own;
  return [{ path: install.cdrom, bus: "sata", installs: true }, ...own];
}

/** What the firmware tries: a CD that the guest is installed from comes first. */
export function effectiveBoot(
  { boot }: Machine,
  install: InstallMedia | undefined,
): readonly BootDevice[] {
  if (install?.cdrom === undefined) return boot;
  return ["cdrom", ...boot.filter((device) => device !== "cdrom")];
}

/** The fewest bytes of memory a guest is made with, and the most. */
const MEMORY = { least: 2 ** 20, most: 2 ** 44 } as const;
const MOST_VCPUS = 1024;
const SATA_PORTS = 6;

/**
 * Checks what the types do not say.
 *
 * @throws `E_INVALID_ARGUMENT` naming the member
 */
export function checkMachine(machine: Machine): void {
  checkName(machine.name);
  const { memory, vcpus, cpu, disks, cdroms, networks } = machine;
  if (memory % 2 ** 20 !== 0 || memory < MEMORY.least || memory > MEMORY.most) {
    throw invalid("memory", memory, "has to be whole MiB, 1 at least");
  }
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MOST_VCPUS) {
    throw invalid("vcpus", vcpus, `has to be 1 to ${MOST_VCPUS}`);
  }
  if (cpu !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(cpu)) {
    throw invalid("cpu", cpu, "is no processor's name; features behind commas are not supported");
  }
  for (const path of [...disks.map((disk) => disk.path), ...cdroms]) checkPath(path);
  for (const { mac, bridge } of networks) {
    if (mac !== undefined && !/^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/i.test(mac)) {
      throw invalid("mac", mac, "is no address of a network card");
    }
    if (bridge !== undefined && !/^[A-Za-z0-9._-]{1,15}$/.test(bridge)) {
      throw invalid("bridge", bridge, "is no name of a bridge");
    }
  }
  checkGraphics(machine.graphics);
  const ports = [...disks, ...drivesOf(machine, { cdrom: "/any" })].filter(
    ({ bus }) => bus === "sata",
  );
  if (ports.length > SATA_PORTS) {
    throw invalid(
      "disks",
      ports.length,
      `disks and CDs are more than the ${SATA_PORTS} that fit on SATA`,
    );
  }
  if (machine.serial.kind === "file") checkPath(machine.serial.path);
}

function checkGraphics({ kind, listen, port }: Graphics): void {
  if (listen !== undefined && !/^[0-9A-Za-z.:-]+$/.test(listen)) {
    throw invalid("listen", listen, "is no address");
  }
  const least = kind === "vnc" ? 5900 : 1;
  if (port !== undefined && !(Number.isInteger(port) && port >= least && port <= 65_535)) {
    throw invalid("port", port, `has to be ${least} to 65535`);
  }
}

/** XML cannot hold control characters, nor is there a reason for them. */
function checkPath(path: string): void {
  if (!path.startsWith("/")) throw invalid("path", path, "has to be absolute");
  if (/\p{Cc}|\p{Cs}|[\ufffe\uffff]/u.test(path)) {
    throw invalid("path", JSON.stringify(path), "has characters that libvirt cannot be told");
  }
}

function invalid(field: string, value: string | number, why: string): PlatterError {
  return new PlatterError("E_INVALID_ARGUMENT", `${field}: ${value} ${why}.`, { field, value });
}
