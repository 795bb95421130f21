import { PlatterError } from "../errors.ts";
import type { Place } from "./open.ts";

/** Protocols that QEMU has and this program cannot open yet; the rest are unknown to both. */
const others = new Set([
  "blkdebug",
  "blklogwrites",
  "blkverify",
  "fat",
  "ftp",
  "ftps",
  "gluster",
  "gluster+rdma",
  "gluster+tcp",
  "gluster+unix",
  "host_cdrom",
  "http",
  "https",
  "iscsi",
  "iser",
  "nbd",
  "nbd+tcp",
  "nbd+unix",
  "nfs",
  "null-aio",
  "null-co",
  "nvme",
  "rbd",
  "ssh",
]);

/** A file name and whether it was asked to be a device. */
export interface LocalName extends Place {
  readonly mustBeDevice: boolean;
}

/**
 * The protocol prefix of a name, without its colon, by QEMU's rule: what stands before a colon that
 * comes before any slash. `./a:b` has none. On Windows a drive letter is not one either.
 */
export function protocolOf(name: string): string | undefined {
  if (process.platform === "win32" && /^[A-Za-z]:/.test(name)) return undefined;
  return /^([^:/]*):/.exec(name)?.[1];
}

const isAbsolute = (name: string): boolean =>
  name.startsWith("/") || (process.platform === "win32" && /^([A-Za-z]:|[\\/])/.test(name));

/**
 * The local file that `name` stands for. Takes `file:` and `host_device:` prefixes as qemu-img does.
 * Throws `E_INVALID_ARGUMENT` for an empty name and `E_UNSUPPORTED` for any other protocol.
 */
export function localName(name: string): LocalName {
  const protocol = protocolOf(name);
  const mustBeDevice = protocol === "host_device";
  if (protocol !== undefined && protocol !== "file" && !mustBeDevice) {
    throw refuseProtocol(protocol, name);
  }
  const path = protocol === undefined ? name : name.slice(protocol.length + 1);
  if (path === "") {
    throw new PlatterError("E_INVALID_ARGUMENT", "The file name is empty. Name an image file.", {
      file: name,
      qemu: "The 'file' block driver requires a file name",
    });
  }
  // The prefix protected a colon of the file's own; outside it, "./" has to.
  const bare = protocolOf(path) === undefined ? path : `./${path}`;
  return { path, name: bare, mustBeDevice };
}

function refuseProtocol(protocol: string, name: string): PlatterError {
  if (others.has(protocol)) {
    return new PlatterError(
      "E_UNSUPPORTED",
      `${name}: images cannot be reached over '${protocol}:' here. Name a local file.`,
      { file: name, value: protocol },
    );
  }
  return new PlatterError(
    "E_UNSUPPORTED",
    `${name}: unknown protocol '${protocol}'. For a local file with a colon in its name, write './${name}'.`,
    { file: name, value: protocol, qemu: `Unknown protocol '${protocol}'` },
  );
}

/**
 * The name that `reference`, found inside the image `image`, stands for, by QEMU's rules: absolute
 * names and names with a protocol stay; others are relative to the directory in the image's name.
 * Throws `E_UNSUPPORTED` for a relative reference in an image whose own name has no directory
 * (`json:`).
 */
export function resolveReference(reference: string, image: string): string {
  if (reference === "" || isAbsolute(reference) || protocolOf(reference) !== undefined) {
    return reference;
  }
  if (image === "" || image.startsWith("json:")) {
    throw new PlatterError(
      "E_UNSUPPORTED",
      `${image}: the relative name '${reference}' in it cannot be followed. Use an absolute name.`,
      {
        file: image,
        value: reference,
        qemu: `Cannot use relative backing file names for '${image}'`,
      },
    );
  }
  const prefix = protocolOf(image);
  const start = prefix === undefined ? 0 : prefix.length + 1;
  let directory = image.lastIndexOf("/") + 1;
  if (process.platform === "win32") directory = Math.max(directory, image.lastIndexOf("\\") + 1);
  return image.slice(0, Math.max(start, directory)) + reference;
}
