/** A guest as a domain of libvirt (https://libvirt.org/formatdomain.html). */
import type { Acceleration } from "./acceleration.ts";
import {
  type Drive,
  drivesOf,
  effectiveBoot,
  type GuestDisk,
  type GuestNetwork,
  type InstallMedia,
  type Machine,
  type Serial,
} from "./machine.ts";
import { element, toXml, type Element } from "./xml.ts";

/** The domain's XML. With `install`, that of the guest while it is installed: it then ends at its first restart. */
export function libvirtXml(
  machine: Machine,
  acceleration: Acceleration["kind"],
  install?: InstallMedia,
): string {
  const domain = element("domain", { type: acceleration === "kvm" ? "kvm" : "qemu" }, [
    element("name", {}, machine.name),
    element("uuid", {}, machine.uuid),
    element("memory", { unit: "KiB" }, String(machine.memory / 1024)),
    element("vcpu", {}, String(machine.vcpus)),
    osElement(machine, install),
    element("features", {}, [element("acpi"), element("apic")]),
    cpuElement(machine, acceleration),
    element("clock", { offset: "utc" }),
    element("on_poweroff", {}, "destroy"),
    element("on_reboot", {}, install === undefined ? "restart" : "destroy"),
    element("on_crash", {}, "destroy"),
    devicesElement(machine, install),
  ]);
  return toXml(domain);
}

function osElement(machine: Machine, install: InstallMedia | undefined): Element {
  const { chipset, firmware } = machine;
  const kernel = install?.kernel;
  return element("os", firmware === "uefi" ? { firmware: "efi" } : {}, [
    element("type", { arch: "x86_64", machine: chipset }, "hvm"),
    ...(kernel === undefined
      ? []
      : [
          element("kernel", {}, kernel.kernel),
          kernel.initrd === undefined ? undefined : element("initrd", {}, kernel.initrd),
          kernel.arguments === "" ? undefined : element("cmdline", {}, kernel.arguments),
        ]),
    ...effectiveBoot(machine, install).map((dev) => element("boot", { dev })),
  ]);
}

function cpuElement({ cpu }: Machine, acceleration: Acceleration["kind"]): Element {
  if (cpu !== undefined && cpu !== "host" && cpu !== "max") {
    return element("cpu", { mode: "custom", match: "exact" }, [
      element("model", { fallback: "forbid" }, cpu),
    ]);
  }
  const most = acceleration === "kvm" ? "host-passthrough" : "maximum";
  return element("cpu", { mode: cpu === "max" ? "maximum" : most });
}

function devicesElement(machine: Machine, install: InstallMedia | undefined): Element {
  const targets = new Targets();
  const { graphics } = machine;
  return element("devices", {}, [
    ...machine.disks.map((disk) => diskElement(disk, targets)),
    ...drivesOf(machine, install).map((drive) => driveElement(drive, targets)),
    ...machine.networks.map(networkElement),
    ...serialElements(machine.serial),
    ...(graphics.kind === "none"
      ? []
      : [
          element("input", { type: "tablet", bus: "usb" }),
          element("graphics", {
            type: graphics.kind,
            port: graphics.port ?? -1,
            autoport: graphics.port === undefined ? "yes" : "no",
            listen: graphics.listen ?? "127.0.0.1",
          }),
          element("video", {}, [element("model", { type: "vga" })]),
        ]),
    element("rng", { model: "virtio" }, [element("backend", { model: "random" }, "/dev/urandom")]),
  ]);
}

/** Names of the guest's disks, `vda`, `sda`, `sdb` …: a letter each, counted by prefix. */
class Targets {
  readonly #counts = new Map<string, number>();

  next(prefix: string): string {
    const index = this.#counts.get(prefix) ?? 0;
    this.#counts.set(prefix, index + 1);
    const letter = (n: number): string => String.fromCodePoint(97 + (n % 26));
    return prefix + (index < 26 ? "" : letter(Math.floor(index / 26) - 1)) + letter(index);
  }
}

function diskElement(disk: GuestDisk, targets: Targets): Element {
  const { path, place, format, bus, cache, discard } = disk;
  const device = place === "device";
  return element("disk", { type: device ? "block" : "file", device: "disk" }, [
    element("driver", { name: "qemu", type: format, cache, discard }),
    element("source", device ? { dev: path } : { file: path }),
    element("target", { dev: targets.next(bus === "virtio" ? "vd" : "sd"), bus }),
  ]);
}

function driveElement({ path, bus }: Drive, targets: Targets): Element {
  const disk = bus === "virtio";
  return element("disk", { type: "file", device: disk ? "disk" : "cdrom" }, [
    element("driver", { name: "qemu", type: "raw" }),
    element("source", { file: path }),
    element("target", { dev: targets.next(disk ? "vd" : "sd"), bus }),
    element("readonly"),
  ]);
}

function networkElement({ kind, bridge, model, mac }: GuestNetwork): Element {
  return element("interface", { type: kind }, [
    mac === undefined ? undefined : element("mac", { address: mac }),
    kind === "bridge" ? element("source", { bridge }) : undefined,
    element("model", { type: model }),
  ]);
}

function serialElements(serial: Serial): Element[] {
  if (serial.kind === "none") return [];
  const target = element("target", { port: 0 });
  return serial.kind === "file"
    ? [element("serial", { type: "file" }, [element("source", { path: serial.path }), target])]
    : [
        element("serial", { type: "pty" }, [target]),
        element("console", { type: "pty" }, [element("target", { type: "serial", port: 0 })]),
      ];
}
