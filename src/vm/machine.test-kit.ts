import {
  diskBuses,
  diskCaches,
  type GuestDisk,
  type InstallMedia,
  type Machine,
} from "./machine.ts";

/** A guest with a bit of everything; `changes` on top. */
export function guest(changes: Partial<Machine> = {}): Machine {
  return {
    name: "demo",
    uuid: "6a1f5a2e-98c4-4a43-9f30-0d6c2a1f4b11",
    memory: 256 * 2 ** 20,
    vcpus: 2,
    chipset: "q35",
    firmware: "bios",
    disks: [disk("/disk")],
    cdroms: [],
    boot: ["hd"],
    networks: [],
    graphics: { kind: "none" },
    serial: { kind: "console" },
    ...changes,
  };
}

/** A raw disk; `changes` on top. */
export function disk(path: string, changes: Partial<GuestDisk> = {}): GuestDisk {
  return {
    path,
    place: "file",
    format: "raw",
    bus: "virtio",
    cache: "writeback",
    discard: "ignore",
    ...changes,
  };
}

/** One of everything, by what is special about it. Paths are in `directory`; files to be there, in `files`. */
export function guests(directory: string): ReadonlyArray<{
  readonly title: string;
  readonly machine: Machine;
  readonly install?: InstallMedia;
}> {
  const at = (name: string): string => `${directory}/${name}`;
  const plain = { disks: [disk(at("disk"))] };
  return [
    { title: "plain", machine: guest(plain) },
    {
      title: "old chipset, a model of processor",
      machine: guest({ ...plain, chipset: "pc", cpu: "qemu64" }),
    },
    {
      title: "every bus and cache mode",
      machine: guest({
        disks: diskBuses.flatMap((bus, row) =>
          [0, 1].map((column) =>
            disk(at(`disk${row}${column}`), {
              bus,
              cache: diskCaches[(2 * row + column) % diskCaches.length]!,
              discard: column === 0 ? "ignore" : "unmap",
            }),
          ),
        ),
      }),
    },
    {
      title: "commas, quotes and brackets",
      machine: guest({ disks: [disk(at(`a,b "c" <d> & 'e'`))] }),
    },
    {
      title: "installed from a CD, with a seed",
      machine: guest({ ...plain, cdroms: [at("seed")] }),
      install: { cdrom: at("cd") },
    },
    ...diskBuses.map((bus) => ({
      title: `a seed on ${bus}`,
      machine: guest({ disks: [disk(at("disk"), { bus })], cdroms: [at("seed")] }),
    })),
    {
      title: "installed by a kernel",
      machine: guest(plain),
      install: {
        kernel: {
          kernel: at("kernel"),
          initrd: at("initrd"),
          arguments: "console=ttyS0 a=b,c <x>",
        },
      },
    },
    {
      title: "a screen and a network",
      machine: guest({
        ...plain,
        boot: ["network", "hd"],
        graphics: { kind: "vnc" },
        networks: [
          { kind: "user", model: "virtio", mac: "52:54:00:12:34:56" },
          { kind: "user", model: "e1000e" },
        ],
        serial: { kind: "file", path: at("serial,out") },
      }),
    },
    { title: "neither", machine: guest({ ...plain, serial: { kind: "none" } }) },
  ];
}
