/**
 * The parts of a small guest, from Debian's packages: a kernel for virtual machines, its modules, and a busybox
 * that needs no libraries. They are fetched with apt-get once and kept in .cache/guest. Where that cannot be done,
 * the tests that need them are skipped; under CI=true they fail.
 */
import { spawnSync } from "node:child_process";
import {
  existsSync,
  globSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
} from "node:fs";
import { basename, join } from "node:path";
import { cpioArchive, type InjectedFile } from "../../src/vm/cpio.ts";

const cache = join(import.meta.dirname, "../../.cache/guest");

/** Where the parts are. */
export interface GuestParts {
  readonly kernel: string;
  /** Files for the root of an initrd: busybox and modules. */
  readonly files: readonly string[];
  /** A boot loader for CDs, and the module that it needs. */
  readonly isolinux: readonly string[];
  /** What puts a boot loader on a filesystem, and a boot record that starts it; the program's libraries. */
  readonly extlinux: readonly string[];
}

/** What the guest needs of the kernel's modules, in the order in which they are loaded. */
const modules = [
  "virtio_ring",
  "virtio",
  "virtio_pci_legacy_dev",
  "virtio_pci_modern_dev",
  "virtio_pci",
  "virtio_blk",
  "cdrom",
  "isofs",
  "button",
  "evdev",
] as const;

/** The parts; undefined, or an error under CI=true, where they cannot be had. */
export function guestParts(): GuestParts | undefined {
  const found = find() ?? (fetchParts() ? find() : undefined);
  if (found === undefined && process.env["CI"] === "true") {
    throw new Error("The packages of the guest for tests cannot be fetched (apt-get download).");
  }
  return found;
}

function find(): GuestParts | undefined {
  const [kernel] = globSync(join(cache, "boot/vmlinuz-*"));
  const paths = modules.map(
    (name) => globSync(join(cache, `lib/modules/*/kernel/**/${name}.ko`))[0],
  );
  const busybox = [join(cache, "bin/busybox"), join(cache, "usr/bin/busybox")].find(existsSync);
  const files = [busybox, ...paths];
  const isolinux = [
    join(cache, "usr/lib/ISOLINUX/isolinux.bin"),
    join(cache, "usr/lib/syslinux/modules/bios/ldlinux.c32"),
  ];
  if (kernel === undefined || !files.every((path) => path !== undefined)) return undefined;
  const library = "{lib,usr/lib}/x86_64-linux-gnu";
  const extlinux = [
    "usr/bin/extlinux",
    "usr/lib/syslinux/mbr/mbr.bin",
    `${library}/libc.so.6`,
    `${library}/ld-linux-x86-64.so.2`,
  ].flatMap((pattern) => globSync(join(cache, pattern)));
  if (!isolinux.every(existsSync) || extlinux.length !== 4) return undefined;
  return { kernel, files, isolinux, extlinux };
}

function fetchParts(): boolean {
  const meta = "linux-image-cloud-amd64";
  const depends = spawnSync("apt-cache", ["depends", meta], { encoding: "utf8" });
  const kernel = /Depends: (linux-image-\S+)/.exec(depends.stdout ?? "")?.[1];
  if (kernel === undefined) return false;
  mkdirSync(join(cache, ".."), { recursive: true });
  const work = mkdtempSync(`${cache}-`);
  const packages = [kernel, "busybox-static", "isolinux", "syslinux-common", "extlinux", "libc6"];
  const get = spawnSync("apt-get", ["-q", "download", ...packages], { cwd: work });
  const unpacked = globSync(join(work, "*.deb")).map(
    (file) => spawnSync("dpkg-deb", ["-x", file, join(work, "tree")]).status === 0,
  );
  const whole = get.status === 0 && unpacked.length === packages.length && unpacked.every(Boolean);
  if (whole) {
    rmSync(cache, { recursive: true, force: true });
    renameSync(join(work, "tree"), cache);
  }
  rmSync(work, { recursive: true, force: true });
  return whole;
}

/** An initrd with the parts in its root, and more files; without those, nothing starts them. */
export function initrd({ files }: GuestParts, more: readonly InjectedFile[] = []): Uint8Array {
  const parts = files.map((path) => ({
    name: basename(path),
    contents: readFileSync(path),
    mode: 0o755,
  }));
  return cpioArchive([...parts, ...more]);
}

/** The beginning of an `init`: modules are loaded, and busybox's commands can be called by their names. */
export const initHead = `#!/busybox sh
/busybox mkdir -p /bin /dev /proc /sys /mnt /etc
/busybox --install -s /bin
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in ${modules.join(" ")}; do insmod /$module.ko; done
`;

/** A boot sector that writes `message` on the first serial port and then waits for ever. */
export function bootSector(message: string): Uint8Array {
  const sector = new Uint8Array(512);
  const code = [
    [0x31, 0xc0, 0x8e, 0xd8], // xor ax, ax; mov ds, ax
    [0xbe, 0x22, 0x7c, 0xfc], // mov si, message; cld
    [0xac, 0x84, 0xc0, 0x74, 0x12], // next: lodsb; test al, al; jz end
    [0x88, 0xc3, 0xba, 0xfd, 0x03], // mov bl, al; mov dx, line status
    [0xec, 0xa8, 0x20, 0x74, 0xfb], // wait: in al, dx; test al, empty; jz wait
    [0x88, 0xd8, 0xba, 0xf8, 0x03], // mov al, bl; mov dx, data
    [0xee, 0xeb, 0xe9], // out dx, al; jmp next
    [0xf4, 0xeb, 0xfd], // end: hlt; jmp end
  ];
  sector.set([...code.flat(), ...new TextEncoder().encode(message)]);
  sector.set([0x55, 0xaa], 510);
  return sector;
}
