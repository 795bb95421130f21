/** `virt-install`'s words made into what is to be installed. */
import { readFileSync } from "node:fs";
import {
  type BootDevice,
  bootDevices,
  chipsets,
  type CloudInit,
  type Firmware,
  type Graphics,
  graphicsKinds,
  type GuestNetwork,
  type InstallOptions,
  type Location,
  networkModels,
  readKeys,
  type Serial,
} from "../../vm/index.ts";
import { type FormatServices, parseSize } from "../contract.ts";
import { PlatterError } from "../../errors.ts";
import type { Parsed } from "../parse.ts";
import { oneOf, SubOptions } from "../sub-options.ts";
import { argumentError } from "../usage.ts";
import { readDisk } from "./install-disk.ts";

const MIB = 2 ** 20;
const DEFAULT_MEMORY = 1024;

/** Everything that the options say about the guest. */
export function readInstall(parsed: Parsed, formats: FormatServices): InstallOptions {
  const name = parsed.value("name");
  if (name === undefined) throw missing("--name", "how the guest shall be called");
  const disks = parsed.values("disk");
  if (disks.length === 0) throw missing("--disk", "which disk the guest shall have");
  const { boot, firmware } = readBoot(parsed.values("boot"));
  // Those that know virtio get it.
  const old = needsOldDevices(parsed.value("osVariant"));
  const location = readLocation(parsed);
  refuseSeveralSources(parsed);
  if (location === undefined) refuseWithoutLocation(parsed);
  return {
    machine: {
      name,
      memory: readMemory(parsed.value("memory")),
      vcpus: readCount("--vcpus", parsed.value("vcpus") ?? "1"),
      cpu: readCpu(parsed.value("cpu")),
      chipset: oneOf("--machine", parsed.value("machine") ?? "q35", chipsets),
      firmware,
      boot,
      networks: readNetworks(parsed.values("network"), old ? "e1000e" : "virtio"),
      graphics: readGraphics(parsed.value("graphics") ?? "none"),
      serial: readSerial(parsed.value("serial"), parsed.value("console")),
    },
    disks: disks.map((text) => readDisk(text, formats, { bus: old ? "sata" : "virtio" })),
    cdrom: parsed.value("cdrom"),
    location,
    kernelArguments: parsed.values("extraArgs").join(" "),
    cloudInit: readCloudInit(parsed.value("cloudInit")),
    force: parsed.has("force"),
  };
}

/** Systems that come without drivers for virtio. */
const needsOldDevices = (variant: string | undefined): boolean =>
  variant !== undefined && /^(win|generic$|msdos|freedos)/.test(variant);

function refuseSeveralSources(parsed: Parsed): void {
  const given = ["cdrom", "location", "import"].filter((id) => parsed.has(id));
  if (given.length === 1) return;
  const list = given.map((id) => `--${id}`).join(" and ");
  throw argumentError(
    "source",
    list,
    given.length === 0
      ? "Say what to install from: --cdrom, --location, or --import for a disk that has a system already."
      : `${list} contradict each other.`,
    "An install method must be specified",
  );
}

function refuseWithoutLocation(parsed: Parsed): void {
  for (const [id, option] of [
    ["extraArgs", "--extra-args"],
    ["inject", "--initrd-inject"],
  ] as const) {
    if (!parsed.has(id)) continue;
    const message = `${option} needs --location: only a kernel that is started directly can be given it.`;
    throw argumentError(option, undefined, message, message);
  }
}

/** MiB, as in virt-install, unless a unit says otherwise. */
function readMemory(text = String(DEFAULT_MEMORY)): number {
  if (/^\d+$/.test(text)) return Number(text) * MIB;
  return parseSize(text, { what: "--memory" });
}

function readCount(option: string, text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  const message = `${option} takes a whole number, not "${text}".`;
  throw argumentError(option, text, message, message);
}

/** What is libvirt's word for the host's processor is the default here. */
function readCpu(text: string | undefined): string | undefined {
  if (text === "host-model") {
    const message =
      "--cpu host-model is not supported; host-passthrough or the name of a model is.";
    throw argumentError("--cpu", text, message, message);
  }
  return text === "host-passthrough" || text === "host" ? undefined : text;
}

function readBoot(texts: readonly string[]): { boot: BootDevice[]; firmware: Firmware } {
  const words = texts.flatMap((text) => text.split(","));
  const devices = words
    .filter((word) => word !== "uefi")
    .map((word) => oneOf("--boot", word, [...bootDevices, "uefi"]))
    .filter((word): word is BootDevice => word !== "uefi");
  return {
    boot: devices.length === 0 ? ["hd"] : [...new Set(devices)],
    firmware: words.includes("uefi") ? "uefi" : "bios",
  };
}

function readNetworks(
  texts: readonly string[],
  defaultModel: GuestNetwork["model"],
): GuestNetwork[] {
  const list = texts.length === 0 ? ["user"] : texts;
  return list.flatMap((text) => {
    if (text === "none") return [];
    const given = new SubOptions("--network", text);
    const bridge = given.take("bridge");
    if (bridge === undefined) oneOf("--network", given.first ?? text, ["user", "none", "bridge="]);
    const network: GuestNetwork = {
      kind: bridge === undefined ? "user" : "bridge",
      bridge,
      model: given.word("model", networkModels) ?? defaultModel,
      mac: given.take("mac"),
    };
    given.finish();
    return [network];
  });
}

function readGraphics(text: string): Graphics {
  const given = new SubOptions("--graphics", text);
  const kind = given.oneOf(given.first ?? given.take("type") ?? "", graphicsKinds);
  if (kind === "none") {
    given.finish();
    return { kind };
  }
  const graphics = { kind, listen: given.take("listen"), port: given.number("port") };
  given.finish();
  return graphics;
}

function readSerial(serial: string | undefined, console: string | undefined): Serial {
  const wished = [
    serial === undefined ? undefined : readSerialPort("--serial", serial),
    console === undefined ? undefined : readSerialPort("--console", console),
  ].filter((port) => port !== undefined);
  const [first = { kind: "console" }, second = first] = wished;
  if (first.kind === second.kind) return first;
  const message = "--serial and --console contradict each other: there is one serial port.";
  throw argumentError("--serial", serial, message, message);
}

function readSerialPort(option: string, text: string): Serial {
  const given = new SubOptions(option, text);
  const kinds =
    option === "--serial" ? (["pty", "none", "file"] as const) : (["pty", "none"] as const);
  const kind = given.oneOf<"pty" | "none" | "file">(given.first ?? "", kinds);
  if (option === "--console") given.word("target_type", ["serial"]);
  const path = kind === "file" ? given.take("path") : undefined;
  given.finish();
  if (kind === "file") {
    if (path === undefined) throw missing(`${option} file,path=`, "which file");
    return { kind, path };
  }
  return { kind: kind === "pty" ? "console" : "none" };
}

function readLocation(parsed: Parsed): Location | undefined {
  const text = parsed.value("location");
  if (text === undefined) return undefined;
  const given = new SubOptions("--location", text);
  const location = {
    tree: given.first,
    kernel: given.take("kernel"),
    initrd: given.take("initrd"),
    inject: parsed.values("inject"),
  };
  given.finish();
  return location;
}

function readCloudInit(text: string | undefined): CloudInit | undefined {
  if (text === undefined) return undefined;
  const given = new SubOptions("--cloud-init", text);
  const keys = given.take("ssh-key");
  const password = given.take("password-file");
  const [userData, metaData, networkConfig] = ["user-data", "meta-data", "network-config"].map(
    (name) => {
      const path = given.take(name);
      return path === undefined ? undefined : read(path);
    },
  );
  const seed = {
    user: given.take("user"),
    sshKeys: keys === undefined ? undefined : readKeys(read(keys).toString()),
    passwordHash: given.take("password-hash"),
    password:
      password === undefined
        ? undefined
        : read(password)
            .toString()
            .replace(/\r?\n$/, ""),
    hostname: given.take("hostname"),
    userData,
    metaData,
    networkConfig,
  };
  given.finish();
  return seed;
}

function read(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new PlatterError(
      "E_NOT_FOUND",
      `--cloud-init: ${path} cannot be read: ${(error as Error).message}`,
      { file: path, cause: error },
    );
  }
}

function missing(option: string, what: string): PlatterError {
  return argumentError(
    option,
    undefined,
    `${option} is missing: say ${what}.`,
    `${option} is required`,
  );
}
