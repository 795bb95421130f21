import { Disk, DiskStorage, type BackingReference, type FileReference } from "../disk/index.ts";
import { PlatterError } from "../errors.ts";
import {
  formatNamed,
  formats,
  openDisk,
  probe,
  raw,
  type Format,
  type RuntimeOptions,
} from "../formats/index.ts";
import type { Storage } from "../storage/index.ts";
import type { CommandContext } from "./context.ts";
import { nodeError, NodeOptions } from "./node-options.ts";
import {
  nativeNeedsDirect,
  openReference,
  sharedWriter,
  type ImageMode,
  refuseUntrusted,
} from "./open-reference.ts";
import { jsonName, type NodeJson } from "./qdict.ts";

/** How the nodes of an image are opened. */
export interface NodeMode extends ImageMode {
  /** Open the image alone: it is looked at, not read. */
  readonly inspect?: boolean;
}

/** An opened image, and what QEMU calls it. */
export interface OpenedNode {
  readonly disk: Disk;
  /** A plain name, or `json:{…}` where that would not open the same. */
  readonly filename: string;
}

/** A node: the bytes of a file, or a disk. */
interface Node {
  readonly storage?: Storage;
  readonly disk?: Disk;
  /** The name of the driver of a storage. */
  readonly driver?: string;
  /** The plain name that opens the same thing, if one does. */
  readonly plainName: string | undefined;
  readonly json: NodeJson;
}

/** Where in the graph a node is. */
interface Position {
  readonly context: CommandContext;
  readonly mode: NodeMode;
  /** Below a format: what has no driver is a file. */
  readonly isProtocol: boolean;
  readonly above: readonly Storage[];
}

/** Options of every node, taken out of its list. */
interface CommonOptions {
  readonly mode: NodeMode;
  readonly noBacking: boolean;
}

const protocols: readonly string[] = ["file", "host_device"];

/** Drivers of QEMU's that are not here; any other name nobody knows. */
const absentDrivers = new Set(
  (
    "blkdebug blklogwrites blkreplay blkverify bochs cloop compress copy-before-write copy-on-read " +
    "dmg ftp ftps gluster host_cdrom http https io_uring iscsi iser luks nbd nfs null-aio null-co " +
    "nvme parallels preallocate qcow qed quorum rbd replication snapshot-access ssh throttle vdi " +
    "vhdx vmdk vpc vvfat"
  ).split(" "),
);

/**
 * Opens the image that `options` describe, as QEMU builds a graph of them: formats over formats over
 * a file, backing images as the options or else the images say.
 *
 * @param above storages of the images that this one is behind
 * @throws what opening throws, and `E_INVALID_ARGUMENT` with QEMU's words for options that are wrong
 */
export async function openNodes(
  options: NodeOptions,
  mode: NodeMode,
  context: CommandContext,
  above: readonly Storage[] = [],
): Promise<OpenedNode> {
  const node = await openNode(options, { context, mode, isProtocol: false, above });
  const disk = node.disk ?? (await asDisk(node, mode, context));
  return { disk, filename: node.plainName ?? jsonName(node.json) };
}

/** A file without a format: its bytes are the disk, and QEMU calls its format "file". */
async function asDisk(
  { storage, driver }: Node,
  { writable, barriers }: NodeMode,
  { codecs }: CommandContext,
): Promise<Disk> {
  if (storage === undefined) throw new TypeError("a node is a storage or a disk");
  const image = await raw.open(storage, {
    writable,
    ...(barriers !== undefined && { barriers }),
  });
  return new Disk(Object.defineProperty(image, "format", { value: driver }), undefined, codecs);
}

async function openNode(options: NodeOptions, position: Position): Promise<Node> {
  const { isProtocol, context } = position;
  let driver = options.takeText("driver");
  if (driver === undefined && isProtocol) {
    if (!options.hasText("filename")) throw needsDriver();
    driver = "file";
  }
  if (driver !== undefined) refuseUnknownDriver(driver);
  const common = takeCommon(options, position.mode, context);
  const inner = { ...position, mode: common.mode };
  if (driver !== undefined && protocols.includes(driver)) {
    return openProtocol(driver, options, inner);
  }
  return openFormat(driver, options, inner, common.noBacking);
}

function refuseUnknownDriver(driver: string): void {
  if (protocols.includes(driver) || formats.some(({ name }) => name === driver)) return;
  if (!absentDrivers.has(driver)) formatNamed(driver, "open");
  throw new PlatterError(
    "E_UNSUPPORTED",
    `Image option driver=${driver}: QEMU has this driver, this program does not; it has ` +
      `${[...protocols, ...formats.map(({ name }) => name)].join(", ")}.`,
    {
      field: "driver",
      value: driver,
      qemu: `The driver '${driver}' is not supported by this version`,
    },
  );
}

/** The options that every node has. */
function takeCommon(
  options: NodeOptions,
  mode: NodeMode,
  { onWarning }: CommandContext,
): CommonOptions {
  const name = options.takeText("node-name");
  if (name !== undefined && !/^[a-zA-Z][-._a-zA-Z0-9]*$/.test(name)) {
    throw nodeError("node-name", name, `Invalid node-name: '${name}'`, "begin with a letter");
  }
  const backing = options.has("backing") ? options.take("backing") : undefined;
  if (backing === "") {
    onWarning?.(`Use of "backing": "" is deprecated; use "backing": null instead`);
  } else if (backing !== undefined && backing !== null) options.set("backing", backing);
  const direct = options.takeBoolean("cache.direct") ?? mode.direct;
  const noFlush = options.takeBoolean("cache.no-flush");
  const readOnly = options.takeBoolean("read-only");
  const isReadOnly = readOnly ?? false;
  options.takeBoolean("auto-read-only");
  const shared = (options.takeBoolean("force-share") ?? false) || mode.shared;
  const asked = { ...mode, direct, shared };
  checkWriting(options, mode.writable && !isReadOnly);
  if (shared && (mode.writable || readOnly === false)) throw sharedWriter();
  if (isReadOnly && mode.writable) {
    throw new PlatterError("E_READ_ONLY", "Image option read-only=on: it is to be written.", {
      field: "read-only",
      qemu: "Block node is read-only",
    });
  }
  return {
    mode: noFlush === true ? { ...asked, barriers: false } : asked,
    noBacking: backing === "" || backing === null,
  };
}

/** Options about writing. What differs from what is done anyway is refused when it would matter. */
function checkWriting(options: NodeOptions, writable: boolean): void {
  const discard = options.take("discard");
  if (discard !== undefined && !["ignore", "off", "unmap", "on"].includes(String(discard))) {
    throw nodeError("discard", discard, "Invalid discard option", "say unmap or ignore");
  }
  const unmaps = discard === "unmap" || discard === "on";
  const detect = options.take("detect-zeroes");
  if (detect !== undefined && !["off", "on", "unmap"].includes(String(detect))) {
    const qemu = `invalid parameter value: ${String(detect)}`;
    throw nodeError("detect-zeroes", detect, qemu, "say off, on or unmap");
  }
  if (detect === "unmap" && !unmaps) {
    const qemu =
      "setting detect-zeroes to unmap is not allowed without setting discard operation to unmap";
    throw nodeError("detect-zeroes", detect, qemu, "say discard=unmap too");
  }
  if (!writable) return;
  if (discard !== undefined && !unmaps) throw unsupported("discard", discard);
  if (detect !== undefined && detect !== "off") throw unsupported("detect-zeroes", detect);
}

function unsupported(field: string, value: unknown): PlatterError {
  return new PlatterError(
    "E_UNSUPPORTED",
    `Image option ${field}=${String(value)}: not supported for an image that is written.`,
    {
      field,
      value: String(value),
      qemu: `The option '${field}' is not supported by this version`,
    },
  );
}

async function openProtocol(
  driver: string,
  options: NodeOptions,
  { context, mode }: Position,
): Promise<Node> {
  const path = options.takeText("filename");
  if (path === undefined || path === "") {
    const qemu = `The '${driver}' block driver requires a file name`;
    throw nodeError("filename", path, qemu, "name a file");
  }
  const locking = takeLocking(options);
  takeAio(options, mode.direct ?? false, context);
  refuseRest(options, "protocol", driver);
  // The name is a path as it stands; for the provider a colon needs a prefix.
  const isDevice = driver === "host_device";
  const name = isDevice ? `host_device:${path}` : path.includes(":") ? `file:${path}` : path;
  const storage = await context.provider.open(name, {
    writable: mode.writable,
    lock: "none",
    ...(mode.direct === true && { direct: true }),
  });
  return {
    storage: locking ? storage : unlocked(storage),
    driver,
    plainName: name,
    json: { driver, filename: path },
  };
}

function takeLocking(options: NodeOptions): boolean {
  const value = options.take("locking");
  if (value === undefined || ["on", "auto", "true"].includes(String(value))) return true;
  if (value === "off" || value === false) return false;
  const qemu = `invalid parameter value: ${String(value)}`;
  throw nodeError("locking", value, qemu, "say on, off or auto");
}

/** Requests go through this program's threads; it says so where others are asked for. */
function takeAio(options: NodeOptions, direct: boolean, { onWarning }: CommandContext): void {
  const aio = options.take("aio");
  if (aio === undefined || aio === "threads") return;
  if (aio !== "native" && aio !== "io_uring") {
    const qemu = `invalid parameter value: ${String(aio)}`;
    throw nodeError("aio", aio, qemu, "say threads");
  }
  if (aio === "native" && !direct) throw nativeNeedsDirect();
  onWarning?.(`aio=${aio} is not there; requests go through threads`);
}

/** The same storage, whose locks nobody can take. */
function unlocked(storage: Storage): Storage {
  return Object.defineProperty(storage, "lock", { value: undefined });
}

async function openFormat(
  driver: string | undefined,
  options: NodeOptions,
  position: Position,
  noBacking: boolean,
): Promise<Node> {
  const child = await openChild(driver, options, position);
  const storage = child.storage ?? new DiskStorage(child.disk!);
  let format: Format;
  const { runtime, below, json, isPlain, dataFile } = await closingOnError(storage, async () => {
    format = driver === undefined ? await probe(storage) : formatNamed(driver, "open");
    return readFormatOptions(format, options, position.mode, noBacking);
  });
  const isProbed = driver === undefined;
  const { context, mode } = position;
  if (isProbed && mode.writable && format!.name === "raw") {
    context.onProbedRaw?.(child.plainName ?? storage.name);
  }
  const disk = await openLayer(format!, isProbed, storage, runtime, below, dataFile, position);
  const plainName = isPlain && child.storage !== undefined ? child.plainName : undefined;
  return {
    disk,
    plainName,
    json: {
      ...json,
      driver: format!.name,
      file: child.json,
      ...backingJson(below, disk),
      ...(dataFile.opened && { "data-file": dataFile.opened.json }),
    },
  };
}

/** What a node with another backing image than its own says about it. */
function backingJson(below: Below, disk: Disk): { readonly [key: string]: NodeJson } {
  if (!below.isOverridden || disk.image.backing === undefined) return {};
  return { backing: below.opened?.json ?? null };
}

/** The storage that a format is in. */
async function openChild(
  driver: string | undefined,
  options: NodeOptions,
  position: Position,
): Promise<Node> {
  const reference = options.takeText("file");
  const inside = options.takeBelow("file.");
  if (reference !== undefined) throw noSuchNode("file", reference);
  if (inside.names.length === 0) {
    if (driver === undefined) throw needsDriver();
    const qemu = `A block device must be specified for "file"`;
    throw nodeError("file", undefined, qemu, "say where the image is, as in file.filename=disk");
  }
  const mode = { ...position.mode, snapshot: undefined, repair: undefined };
  return openNode(inside, { ...position, mode, isProtocol: true });
}

/** What is known of the backing image before the image is opened. */
interface Below {
  /** The options say another thing than the image. */
  readonly isOverridden: boolean;
  readonly isNone: boolean;
  readonly options: NodeOptions;
  /** Filled when the backing image has been opened. */
  opened?: Node;
}

interface FormatOptions {
  readonly runtime: RuntimeOptions;
  readonly below: Below;
  /** Options that decide what the guest sees, for the image's name. */
  readonly json: { readonly [key: string]: NodeJson };
  readonly isPlain: boolean;
  /** Where the data of the image is, if not where the image says. */
  readonly dataFile: DataFile;
}

/** The data file as the options have it. */
interface DataFile {
  readonly options: NodeOptions;
  /** Filled when it has been opened. */
  opened?: Node;
}

/** Options that make another disk of the same file. */
const strongOptions = ["offset", "size", "key-secret", "encrypt.key-secret"];

function readFormatOptions(
  format: Format,
  options: NodeOptions,
  { inspect = false }: NodeMode,
  isNone: boolean,
): FormatOptions {
  const isLayered = format.name !== "raw" && !inspect;
  if (isLayered && options.has("backing") && !isNone) {
    const error = noSuchNode("backing", options.takeText("backing") ?? "");
    const qemu = `Could not open backing file: ${error.details.qemu ?? ""}`;
    throw new PlatterError(error.code, error.message, { ...error.details, qemu });
  }
  const below = isLayered ? options.takeBelow("backing.") : new NodeOptions();
  const isOverridden = isNone || below.names.length > 0;
  const known = format.runtimeOptions ?? [];
  const hasData = known.includes("data-file.") && !inspect;
  const dataFile = { options: hasData ? options.takeBelow("data-file.") : new NodeOptions() };
  const runtime: Record<string, string | number | boolean | null> = {};
  for (const name of options.names) {
    const isKnown = known.some((one) => (one.endsWith(".") ? name.startsWith(one) : one === name));
    if (isKnown) runtime[name] = options.take(name) ?? null;
  }
  refuseRest(options, "format", format.name);
  const strong = strongOptions.flatMap((name) => {
    const value = runtime[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return {
    runtime,
    below: { isOverridden, isNone, options: below },
    json: Object.fromEntries(strong),
    isPlain: strong.length === 0 && below.names.length === 0 && dataFile.options.names.length === 0,
    dataFile,
  };
}

async function openLayer(
  format: Format,
  isProbed: boolean,
  storage: Storage,
  runtime: RuntimeOptions,
  below: Below,
  dataFile: DataFile,
  { context, mode, above }: Position,
): Promise<Disk> {
  const { codecs, signal } = context;
  const disk = await openDisk(storage, {
    format: format.name,
    isProbed,
    writable: mode.writable,
    codecs,
    secrets: context.secrets,
    signal,
    runtime,
    above,
    ...(mode.inspect === true && { inspect: true }),
    ...(mode.barriers !== undefined && { barriers: mode.barriers }),
    writableDepth: mode.writableDepth,
    snapshot: mode.snapshot,
    ...(mode.repair !== undefined && { repair: mode.repair }),
    onRepair: context.onRepair,
    onCorruption: context.onCorruption,
    lock: (name) => mode.lock(name, mode.shared),
    alone: below.isNone,
    references:
      mode.inspect === true
        ? "ignore"
        : (reference, image, chain) =>
            reference.kind === "data-file"
              ? openData(reference, image, chain, dataFile, context, mode)
              : openBelow(reference, image, chain, below, context, mode),
  });
  if (dataFile.options.names.length > 0 && dataFile.opened === undefined) {
    await disk.close();
    const qemu = "'data-file' can only be set for images with an external data file";
    throw nodeError("data-file", undefined, qemu, "the image has its data in itself");
  }
  if (below.options.names.length === 0 || below.opened !== undefined) return disk;
  await disk.close();
  throw new PlatterError(
    "E_UNSUPPORTED",
    `${storage.name}: the image names no backing file, so none can be put in its place.`,
    { file: storage.name, field: "backing", qemu: "Driver doesn't support backing files" },
  );
}

/** The data file: as the options say, and where they are silent as the image does. */
async function openData(
  reference: FileReference,
  image: Storage,
  above: readonly Storage[],
  dataFile: DataFile,
  context: CommandContext,
  mode: NodeMode,
): Promise<Storage | Disk> {
  const inner = { ...mode, writable: reference.writable };
  const { options } = dataFile;
  if (options.names.length === 0) return openReference(reference, image, above, inner, context);
  const node = await openNode(options, { context, mode: inner, isProtocol: true, above });
  dataFile.opened = node;
  return node.storage ?? new DiskStorage(node.disk!);
}

/** The backing image: as the options say, and where they are silent as the image does. */
async function openBelow(
  reference: BackingReference,
  image: Storage,
  above: readonly Storage[],
  below: Below,
  context: CommandContext,
  mode: NodeMode,
): Promise<Storage | Disk> {
  const { options } = below;
  const lower = {
    ...mode,
    writable: above.length === mode.writableDepth,
    snapshot: undefined,
    repair: undefined,
  };
  if (options.names.length === 0) return openReference(reference, image, above, lower, context);
  if (!options.names.some((name) => name === "file" || name.startsWith("file."))) {
    refuseUntrusted(reference, image, context);
    options.set("file.filename", context.provider.resolve(reference.name, image.name));
  }
  if (reference.format !== undefined) options.setDefault("driver", reference.format);
  const node = await openNode(options, { context, mode: lower, isProtocol: false, above });
  below.opened = node;
  return node.disk ?? asDisk(node, lower, context);
}

function refuseRest(options: NodeOptions, kind: "format" | "protocol", driver: string): void {
  const [name] = options.names;
  if (name === undefined) return;
  const qemu =
    kind === "format"
      ? `Block format '${driver}' does not support the option '${name}'`
      : `Block protocol '${driver}' doesn't support the option '${name}'`;
  throw nodeError(name, options.take(name), qemu, `the driver ${driver} does not know it`);
}

function noSuchNode(field: string, name: string): PlatterError {
  const qemu = `Cannot find device='${name}' nor node-name='${name}'`;
  return nodeError(field, name, qemu, "there are no nodes to refer to; describe the image instead");
}

const needsDriver = (): PlatterError =>
  nodeError("driver", undefined, "Must specify either driver or file", "say what to open");

/** Runs `work`; closes the storage when it fails. */
async function closingOnError<T>(storage: Storage, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await storage.close();
    throw error;
  }
}
