/**
 * The programs that tests compare Platter with, or use to look at what it made. `node
 * tools/peers.ts [name …]` (npm runs it before the tests) installs what is missing when it can: as
 * root, with apt-get. Otherwise it says what will be skipped; under CI=true a missing peer is an error.
 *
 * `PEER_QEMU_IMG=/path/to/qemu-img` makes the tests use that one; likewise for the others.
 *
 * Tests get at them through test/peers.ts.
 */
import { spawnSync } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** Peer programs: the Debian package each comes from, and how it is asked for its version. */
export const peers = {
  "qemu-img": { package: "qemu-utils", version: "--version" },
  "qemu-io": { package: "qemu-utils", version: "--version" },
  "qemu-nbd": { package: "qemu-utils", version: "--version" },
  "qemu-storage-daemon": { package: "qemu-system-common", version: "--version" },
  nbdkit: { package: "nbdkit", version: "--version" },
  nbdfuse: { package: "libnbd-bin", version: "--version" },
  strace: { package: "strace", version: "--version" },
  "qemu-system-x86_64": { package: "qemu-system-x86", version: "--version" },
  genisoimage: { package: "genisoimage", version: "--version" },
  isoinfo: { package: "genisoimage", version: "--version" },
  mount: { package: "mount", version: "--version" },
  virsh: { package: "libvirt-clients", version: "--version" },
  xmllint: { package: "libxml2-utils", version: "--version" },
  "virt-xml-validate": { package: "libvirt-clients", version: "--version" },
  chromium: { package: "chromium", version: "--version" },
  mke2fs: { package: "e2fsprogs", version: "-V" },
  e2fsck: { package: "e2fsprogs", version: "-V" },
  "mkfs.xfs": { package: "xfsprogs", version: "-V" },
  debugfs: { package: "e2fsprogs", version: "-V" },
  sfdisk: { package: "fdisk", version: "--version" },
  losetup: { package: "mount", version: "--version" },
  time: { package: "time", version: "--version" },
  bash: { package: "bash", version: "--version" },
  zsh: { package: "zsh", version: "--version" },
  fish: { package: "fish", version: "--version" },
} as const satisfies Readonly<Record<string, { package: string; version: string }>>;

/** The name of a peer program. */
export type PeerName = keyof typeof peers;

const names = Object.keys(peers) as PeerName[];

/** Where the program is, or undefined when it is not installed. */
export function findPeer(name: PeerName): string | undefined {
  const override = process.env[`PEER_${name.replaceAll("-", "_").toUpperCase()}`];
  if (override !== undefined) return isExecutable(override) ? override : undefined;
  // The administrator's directories are not on everybody's path, but their programs can be run.
  const directories = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return directories.map((directory) => join(directory, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Runs apt-get quietly; shows what it said only if it failed. */
function aptGet(...args: string[]): boolean {
  const { status, stdout, stderr } = spawnSync("apt-get", ["-q", "-y", ...args], {
    encoding: "utf8",
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (status !== 0) console.error(`apt-get ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return status === 0;
}

/** The packages that these peers come from, each once. */
const packagesOf = (missing: readonly PeerName[]): string[] => [
  ...new Set(missing.map((name) => peers[name].package)),
];

/** Installs the packages with apt-get, where that can be done without asking anybody. */
function install(packages: readonly string[]): void {
  if (process.getuid?.() !== 0 || !isExecutable("/usr/bin/apt-get")) return;
  console.log(`peers: installing ${packages.join(" ")}`);
  aptGet("update");
  // Even with an old list: what it names may still be there.
  aptGet("install", "--no-install-recommends", ...packages);
}

if (import.meta.main) {
  const wanted = process.argv.slice(2);
  const concerned = wanted.length === 0 ? names : names.filter((name) => wanted.includes(name));
  const isMissing = (name: PeerName): boolean => findPeer(name) === undefined;
  if (concerned.some(isMissing)) install(packagesOf(concerned.filter(isMissing)));
  const missing = concerned.filter(isMissing);
  if (missing.length > 0) {
    console.error(
      `peers: no ${missing.join(", ")}: the tests that need them are skipped` +
        ` (Debian: apt-get install ${packagesOf(missing).join(" ")})`,
    );
    if (process.env["CI"] === "true") process.exitCode = 1;
  }
}
