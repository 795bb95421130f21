import type { Storage } from "../storage/index.ts";

/** A format that a file can be taken for, by a signature at a fixed place. */
export interface Signature {
  readonly format: string;
  readonly means: string;
  /** Byte offset; negative: counted from the end of the file. */
  readonly at: number;
  /** The bytes, one character each. */
  readonly bytes: string;
  /**
   * `image`: a program that probes takes the whole file for it. `content`: what a guest's disk starts
   * with, at home in every raw image.
   */
  readonly kind: "image" | "content";
}

/** Signatures of image formats and of what disks hold, most of them as QEMU's drivers probe for them. */
export const signatures: readonly Signature[] = [
  { format: "qcow2", means: "QEMU copy-on-write", at: 0, bytes: "QFI\xfb", kind: "image" },
  { format: "qed", means: "QEMU enhanced disk", at: 0, bytes: "QED\0", kind: "image" },
  { format: "vmdk", means: "VMware sparse extent", at: 0, bytes: "KDMV", kind: "image" },
  { format: "vmdk", means: "VMware COW extent", at: 0, bytes: "COWD", kind: "image" },
  {
    format: "vmdk",
    means: "VMware SE sparse extent",
    at: 0,
    bytes: "\xbe\xba\xfe\xca",
    kind: "image",
  },
  {
    format: "vmdk",
    means: "VMware descriptor",
    at: 0,
    bytes: "# Disk DescriptorFile",
    kind: "image",
  },
  { format: "vdi", means: "VirtualBox disk", at: 0x40, bytes: "\x7f\x10\xda\xbe", kind: "image" },
  { format: "vhdx", means: "Hyper-V disk", at: 0, bytes: "vhdxfile", kind: "image" },
  { format: "vpc", means: "Virtual PC dynamic disk", at: 0, bytes: "conectix", kind: "image" },
  { format: "vpc", means: "Virtual PC footer", at: -512, bytes: "conectix", kind: "image" },
  {
    format: "vpc",
    means: "Virtual PC footer, old length",
    at: -511,
    bytes: "conectix",
    kind: "image",
  },
  { format: "parallels", means: "Parallels disk", at: 0, bytes: "WithoutFreeSpace", kind: "image" },
  { format: "parallels", means: "Parallels disk", at: 0, bytes: "WithouFreSpacExt", kind: "image" },
  { format: "bochs", means: "Bochs disk", at: 0, bytes: "Bochs Virtual HD Image", kind: "image" },
  {
    format: "cloop",
    means: "compressed loop",
    at: 0,
    bytes: "#!/bin/sh\n#V2.0 Format",
    kind: "image",
  },
  { format: "dmg", means: "Apple disk image trailer", at: -512, bytes: "koly", kind: "image" },
  { format: "luks", means: "LUKS container", at: 0, bytes: "LUKS\xba\xbe", kind: "image" },
  { format: "iso9660", means: "CD or DVD image", at: 0x8001, bytes: "CD001", kind: "content" },
  { format: "gpt", means: "GUID partition table", at: 512, bytes: "EFI PART", kind: "content" },
  { format: "gpt", means: "GUID partition table", at: 4096, bytes: "EFI PART", kind: "content" },
  { format: "mbr", means: "boot sector", at: 510, bytes: "\x55\xaa", kind: "content" },
  { format: "zip", means: "ZIP archive", at: 0, bytes: "PK\x03\x04", kind: "content" },
  { format: "gzip", means: "gzip file", at: 0, bytes: "\x1f\x8b\x08", kind: "content" },
  { format: "xz", means: "xz file", at: 0, bytes: "\xfd7zXZ\0", kind: "content" },
  { format: "elf", means: "program", at: 0, bytes: "\x7fELF", kind: "content" },
];

/** The signatures that the storage has, in the order of the table. */
export async function findSignatures(storage: Storage): Promise<Signature[]> {
  const found: Signature[] = [];
  for (const signature of signatures) {
    const at = signature.at < 0 ? storage.size + signature.at : signature.at;
    if (at < 0 || at + signature.bytes.length > storage.size) continue;
    const bytes = new Uint8Array(signature.bytes.length);
    await storage.read(at, bytes);
    if (bytes.every((byte, i) => byte === signature.bytes.charCodeAt(i))) found.push(signature);
  }
  return found;
}
