/** A guest as QEMU's command line. */
import type { Acceleration } from "./acceleration.ts";
import {
  type BootDevice,
  type DirectKernel,
  diskId,
  type DiskBus,
  type DiskCache,
  type Drive,
  drivesOf,
  effectiveBoot,
  type Graphics,
  type GuestDisk,
  type GuestNetwork,
  type InstallMedia,
  type Machine,
} from "./machine.ts";

/** What QEMU is told besides what the guest is made of. */
export interface QemuRun {
  readonly acceleration: Acceleration["kind"];
  /** Sockets and files of this run; absolute paths. */
  readonly qmpSocket: string;
  readonly serialSocket: string;
  readonly serialLog: string;
  readonly pidFile: string;
  /** UEFI's code, and the guest's own copy of its variables. */
  readonly uefi?: { readonly code: string; readonly variables: string } | undefined;
  /** Where the screen can be had. */
  readonly graphicsPort?: number | undefined;
  readonly install?: InstallMedia | undefined;
}

/** The words behind `qemu-system-x86_64`. QEMU goes to the background when all devices are there. */
export function qemuCommand(machine: Machine, run: QemuRun): string[] {
  const { install } = run;
  const order = bootOrder(machine, install);
  const words = [
    ["-name", `guest=${escapeCommas(machine.name)}`, "-uuid", machine.uuid],
    ["-nodefaults", "-no-user-config", "-daemonize", "-pidfile", run.pidFile],
    ["-machine", machine.chipset, "-accel", run.acceleration, "-cpu", cpuWord(machine, run)],
    ["-m", `${machine.memory / 2 ** 20}M`, "-smp", String(machine.vcpus)],
    ["-qmp", `unix:${escapeCommas(run.qmpSocket)},server=on,wait=off`],
    ["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"],
    uefiWords(run),
    serialWords(machine, run),
    graphicsWords(machine.graphics, run),
    controllerWords(machine, install),
    ...machine.disks.map((disk, index) => diskWords(disk, index, order)),
    ...drivesOf(machine, install).map((drive, index) => driveWords(drive, index, order)),
    ...machine.networks.map((network, index) => networkWords(network, index, order)),
    install?.kernel === undefined ? [] : kernelWords(install.kernel),
    install === undefined ? [] : ["-no-reboot"],
  ];
  return words.flat();
}

/** `,bootindex=…` for the first device of a kind, and nothing for those that the firmware shall not try. */
export type BootIndex = (device: BootDevice) => string;

function bootOrder(machine: Machine, install: InstallMedia | undefined): BootIndex {
  const order = effectiveBoot(machine, install);
  return (device) => {
    const index = order.indexOf(device);
    // A kernel given to QEMU takes 0.
    return index === -1 ? "" : `,bootindex=${index + 1}`;
  };
}

function cpuWord({ cpu }: Machine, { acceleration }: QemuRun): string {
  return cpu ?? (acceleration === "kvm" ? "host" : "max");
}

function uefiWords({ uefi }: QemuRun): string[] {
  if (uefi === undefined) return [];
  const drive = "if=pflash,format=raw";
  return [
    ["-drive", `${drive},unit=0,readonly=on,file=${escapeCommas(uefi.code)}`],
    ["-drive", `${drive},unit=1,file=${escapeCommas(uefi.variables)}`],
  ].flat();
}

function serialWords({ serial }: Machine, run: QemuRun): string[] {
  if (serial.kind === "none") return [];
  // The log begins anew with each start; whoever attaches to the console sees from it what was before.
  const target =
    serial.kind === "file"
      ? `file,id=serial0,path=${escapeCommas(serial.path)}`
      : `socket,id=serial0,path=${escapeCommas(run.serialSocket)},server=on,wait=off,` +
        `logfile=${escapeCommas(run.serialLog)},logappend=off`;
  return ["-chardev", target, "-serial", "chardev:serial0"];
}

function graphicsWords({ kind, listen }: Graphics, { graphicsPort }: QemuRun): string[] {
  if (kind === "none") return ["-display", "none"];
  const address = listen ?? "127.0.0.1";
  const bracketed = address.includes(":") ? `[${address}]` : address;
  // A tablet: the pointer is where the viewer's is.
  const screen = ["-vga", "std", "-device", "qemu-xhci,id=usb", "-device", "usb-tablet,bus=usb.0"];
  if (kind === "vnc") {
    // Without a port of its own, the first that is free.
    const display = graphicsPort === undefined ? "0,to=99" : String(graphicsPort - 5900);
    return [...screen, "-display", "none", "-vnc", `${bracketed}:${display}`];
  }
  const spice = `addr=${address},port=${graphicsPort ?? 5900},disable-ticketing=on`;
  return [...screen, "-display", "none", "-spice", spice];
}

function controllerWords(machine: Machine, install: InstallMedia | undefined): string[] {
  const buses = new Set([...machine.disks, ...drivesOf(machine, install)].map(({ bus }) => bus));
  return [
    buses.has("scsi") ? ["-device", "virtio-scsi-pci,id=scsi"] : [],
    buses.has("sata") ? ["-device", "ich9-ahci,id=sata"] : [],
  ].flat();
}

const drivers: Readonly<Record<DiskBus, string>> = {
  virtio: "virtio-blk-pci",
  scsi: "scsi-hd,bus=scsi.0",
  sata: "ide-hd,bus=sata",
};

/** How QEMU says cache modes since there are block nodes: of the node, and of the guest's device. */
const caches: Readonly<
  Record<
    DiskCache,
    { readonly direct: boolean; readonly noFlush: boolean; readonly write: boolean }
  >
> = {
  none: { direct: true, noFlush: false, write: true },
  writeback: { direct: false, noFlush: false, write: true },
  writethrough: { direct: false, noFlush: false, write: false },
  directsync: { direct: true, noFlush: false, write: false },
  unsafe: { direct: false, noFlush: true, write: true },
};

/** A disk: its node, and as the last word its device. */
export function diskWords(disk: GuestDisk, index: number, order: BootIndex): string[] {
  const id = diskId(index);
  const { direct, noFlush, write } = caches[disk.cache];
  const behaviour = { cache: { direct, "no-flush": noFlush }, discard: disk.discard };
  const node = {
    driver: disk.format,
    "node-name": `${id}-node`,
    ...behaviour,
    file: {
      driver: disk.place === "device" ? "host_device" : "file",
      filename: disk.path,
      ...behaviour,
    },
  };
  const bus = disk.bus === "sata" ? `${drivers.sata}.${index}` : drivers[disk.bus];
  const device = `${bus},drive=${id}-node,id=${id},write-cache=${write ? "on" : "off"}`;
  // Further disks are none that the firmware tries.
  const boots = index === 0 ? order("hd") : "";
  return ["-blockdev", JSON.stringify(node), "-device", device + boots];
}

function driveWords({ path, bus, installs }: Drive, index: number, order: BootIndex): string[] {
  const node = {
    driver: "raw",
    "node-name": `cd${index}-node`,
    "read-only": true,
    file: { driver: "file", filename: path },
  };
  // Counted from the controller's last port, away from the disks.
  const driver = {
    virtio: "virtio-blk-pci",
    scsi: "scsi-cd,bus=scsi.0",
    sata: `ide-cd,bus=sata.${5 - index}`,
  }[bus];
  const device = `${driver},drive=cd${index}-node,id=cd${index}`;
  const boots = installs ? order("cdrom") : "";
  return ["-blockdev", JSON.stringify(node), "-device", device + boots];
}

function networkWords(network: GuestNetwork, index: number, order: BootIndex): string[] {
  const { kind, bridge, model, mac } = network;
  const driver = model === "virtio" ? "virtio-net-pci" : model;
  const id = `net${index}`;
  const backend = kind === "user" ? `user,id=${id}-host` : `bridge,id=${id}-host,br=${bridge}`;
  const address = mac === undefined ? "" : `,mac=${mac}`;
  const boots = index === 0 ? order("network") : "";
  const device = `${driver},netdev=${id}-host,id=${id}${address}${boots}`;
  return ["-netdev", backend, "-device", device];
}

function kernelWords({ kernel, initrd, arguments: line }: DirectKernel): string[] {
  return [
    ["-kernel", kernel, "-append", line],
    initrd === undefined ? [] : ["-initrd", initrd],
  ].flat();
}

/** In QEMU's lists of options, a comma that is part of a value is written twice. */
const escapeCommas = (value: string): string => value.replaceAll(",", ",,");
