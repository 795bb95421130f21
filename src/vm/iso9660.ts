/**
 * A small ISO 9660 image with Joliet names: what a guest needs to find a cloud-init seed. The layout is that of
 * ECMA-119 (ISO 9660) sections 6 to 9; the second tree with names in UCS-2 is the Joliet specification.
 */
import { divideUp } from "../bytes/index.ts";
import { PlatterError } from "../errors.ts";

/** A file in the image's only directory. */
export interface IsoFile {
  /** As the guest sees it: at most 64 characters. */
  readonly name: string;
  readonly contents: Uint8Array;
}

/** What an image is made of. */
export interface IsoOptions {
  /** The volume's label; 1 to 16 of `A`–`Z`, `a`–`z`, `0`–`9`, `-` and `_`. */
  readonly volumeId: string;
  readonly files: readonly IsoFile[];
  /** What is written as the time of everything; 1980 if not given, so that the same files make the same bytes. */
  readonly date?: Date | undefined;
}

const SECTOR = 2048;
/** Sectors: the first 16 belong to the system; descriptors and path tables follow, each in one sector. */
const PRIMARY = 16;
const JOLIET = 17;
const TERMINATOR = 18;
const PATH_TABLES = { primary: { little: 19, big: 20 }, joliet: { little: 21, big: 22 } } as const;
const DIRECTORIES = 23;
/** A path table has one record here: the root directory, whose identifier is one byte. */
const PATH_TABLE_LENGTH = 10;
/** The volume's size is a 32-bit number of sectors, and the image is made in memory. */
const MOST_BYTES = 2 ** 28;

/** The two trees of an image: names in few ASCII characters, and names in UCS-2. */
type Tree = keyof typeof PATH_TABLES;

/** A file that has its place. */
interface Placed extends IsoFile {
  readonly sector: number;
  /** Its name in each tree, as stored. */
  readonly stored: Readonly<Record<Tree, Uint8Array>>;
}

/** A directory's place. */
interface Extent {
  readonly sector: number;
  readonly sectors: number;
}

/**
 * Makes the image: all bytes of it.
 *
 * @throws `E_INVALID_ARGUMENT` for names that cannot be stored or repeat, `E_LIMIT` above 256 MiB
 */
export function isoImage({
  volumeId,
  files,
  date = new Date(315_532_800_000),
}: IsoOptions): Uint8Array {
  checkLabel(volumeId);
  for (const [index, { name }] of files.entries()) checkName(name, files.slice(0, index));
  const names = shortNames(files.map(({ name }) => name));
  const stored = files.map(({ name }, index) => ({
    primary: ascii(`${names[index]};1`),
    joliet: ucs2(name),
  }));
  const primary: Extent = { sector: DIRECTORIES, sectors: directorySectors(stored, "primary") };
  const joliet: Extent = {
    sector: primary.sector + primary.sectors,
    sectors: directorySectors(stored, "joliet"),
  };
  let end = joliet.sector + joliet.sectors;
  const placed: Placed[] = files.map((file, index) => {
    const sector = end;
    end += divideUp(file.contents.length, SECTOR);
    return { ...file, sector, stored: stored[index]! };
  });
  if (end * SECTOR > MOST_BYTES) {
    throw new PlatterError(
      "E_LIMIT",
      `An ISO image of ${end * SECTOR} bytes would be too large; ${MOST_BYTES} is the limit.`,
      {
        field: "files",
        value: end * SECTOR,
      },
    );
  }
  const image = new Uint8Array(end * SECTOR);
  for (const [tree, at, root] of [
    ["primary", PRIMARY, primary],
    ["joliet", JOLIET, joliet],
  ] as const) {
    writeDescriptor(sectorsOf(image, at, 1), { tree, volumeId, sectors: end, root, date });
    writePathTable(image, tree, root);
    writeDirectory(sectorsOf(image, root.sector, root.sectors), {
      tree,
      root,
      files: placed,
      date,
    });
  }
  sectorsOf(image, TERMINATOR, 1).set([255, ...ascii("CD001"), 1]);
  for (const { sector, contents } of placed) image.set(contents, sector * SECTOR);
  return image;
}

const sectorsOf = (image: Uint8Array, sector: number, count: number): Uint8Array =>
  image.subarray(sector * SECTOR, (sector + count) * SECTOR);

/** ECMA-119 8.4, and for Joliet 8.5: the volume descriptor. */
function writeDescriptor(
  bytes: Uint8Array,
  {
    tree,
    volumeId,
    sectors,
    root,
    date,
  }: { tree: Tree; volumeId: string; sectors: number; root: Extent; date: Date },
): void {
  const joliet = tree === "joliet";
  const text = (value: string, at: number, length: number): void => {
    const blanks = joliet ? ucs2(" ".repeat(length >> 1)) : ascii(" ".repeat(length));
    bytes.set(blanks, at);
    bytes.set((joliet ? ucs2(value) : ascii(value)).subarray(0, length), at);
  };
  bytes.set([joliet ? 2 : 1, ...ascii("CD001"), 1]);
  text("", 8, 32);
  text(volumeId, 40, 32);
  both32(bytes, 80, sectors);
  // Joliet is told by this escape sequence: UCS-2 level 3.
  if (joliet) bytes.set(ascii("%/E"), 88);
  both16(bytes, 120, 1);
  both16(bytes, 124, 1);
  both16(bytes, 128, SECTOR);
  both32(bytes, 132, PATH_TABLE_LENGTH);
  const view = viewOf(bytes);
  view.setUint32(140, PATH_TABLES[tree].little, true);
  view.setUint32(148, PATH_TABLES[tree].big);
  writeRecord(bytes, 156, {
    identifier: Uint8Array.of(0),
    extent: root.sector,
    length: root.sectors * SECTOR,
    isDirectory: true,
    date,
  });
  for (const at of [190, 318, 446]) text("", at, 128);
  text("PLATTER", 574, 128);
  for (const at of [702, 739, 776]) text("", at, 37);
  bytes.set(longDate(date), 813);
  bytes.set(longDate(date), 830);
  bytes.set(longDate(undefined), 847);
  bytes.set(longDate(undefined), 864);
  bytes[881] = 1;
}

/** ECMA-119 9.4, in both byte orders. */
function writePathTable(image: Uint8Array, tree: Tree, root: Extent): void {
  for (const order of ["little", "big"] as const) {
    const bytes = sectorsOf(image, PATH_TABLES[tree][order], 1);
    bytes[0] = 1;
    viewOf(bytes).setUint32(2, root.sector, order === "little");
    viewOf(bytes).setUint16(6, 1, order === "little");
  }
}

/** ECMA-119 9.1 and 9.3: itself, its parent, and the files by their stored names. No record crosses a sector. */
function writeDirectory(
  bytes: Uint8Array,
  { tree, root, files, date }: { tree: Tree; root: Extent; files: readonly Placed[]; date: Date },
): void {
  const itself = { extent: root.sector, length: bytes.length, isDirectory: true, date };
  let at = writeRecord(bytes, 0, { identifier: Uint8Array.of(0), ...itself });
  at = writeRecord(bytes, at, { identifier: Uint8Array.of(1), ...itself });
  for (const { stored, sector, contents } of files.toSorted((a, b) =>
    compareBytes(a.stored[tree], b.stored[tree]),
  )) {
    const identifier = stored[tree];
    at = nextRecord(at, identifier);
    at = writeRecord(bytes, at, {
      identifier,
      extent: sector,
      length: contents.length,
      isDirectory: false,
      date,
    });
  }
}

/** How many sectors the directory needs; which record comes before which decides over what is left empty. */
function directorySectors(stored: ReadonlyArray<Placed["stored"]>, tree: Tree): number {
  let at = 2 * recordLength(Uint8Array.of(0));
  for (const identifier of stored.map((names) => names[tree]).toSorted(compareBytes)) {
    at = nextRecord(at, identifier) + recordLength(identifier);
  }
  return divideUp(at, SECTOR);
}

/** Where the record goes: here, or in the next sector if it would cross the end of this one. */
function nextRecord(at: number, identifier: Uint8Array): number {
  const end = divideUp(at + 1, SECTOR) * SECTOR;
  return at + recordLength(identifier) > end ? end : at;
}

const recordLength = (identifier: Uint8Array): number => (33 + identifier.length + 1) & ~1;

/** ECMA-119 9.1: a directory record; returns where the next one may begin. */
function writeRecord(
  bytes: Uint8Array,
  at: number,
  record: {
    identifier: Uint8Array;
    extent: number;
    length: number;
    isDirectory: boolean;
    date: Date;
  },
): number {
  const { identifier, extent, length, isDirectory, date } = record;
  bytes[at] = recordLength(identifier);
  both32(bytes, at + 2, extent);
  both32(bytes, at + 10, length);
  bytes.set(
    [
      date.getUTCFullYear() - 1900,
      date.getUTCMonth() + 1,
      date.getUTCDate(),
      date.getUTCHours(),
      date.getUTCMinutes(),
      date.getUTCSeconds(),
      0,
    ],
    at + 18,
  );
  bytes[at + 25] = isDirectory ? 2 : 0;
  both16(bytes, at + 28, 1);
  bytes[at + 32] = identifier.length;
  bytes.set(identifier, at + 33);
  return at + recordLength(identifier);
}

/** ECMA-119 8.4.26.1: digits, and no time at all as zeros. */
function longDate(date: Date | undefined): Uint8Array {
  const digits =
    date === undefined
      ? "0".repeat(16)
      : date
          .toISOString()
          .replaceAll(/[-:T.Z]/g, "")
          .slice(0, 16);
  return Uint8Array.of(...ascii(digits), 0);
}

function both16(bytes: Uint8Array, at: number, value: number): void {
  viewOf(bytes).setUint16(at, value, true);
  viewOf(bytes).setUint16(at + 2, value);
}

function both32(bytes: Uint8Array, at: number, value: number): void {
  viewOf(bytes).setUint32(at, value, true);
  viewOf(bytes).setUint32(at + 4, value);
}

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

function ucs2(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length * 2);
  for (let i = 0; i < text.length; i++) viewOf(bytes).setUint16(i * 2, text.charCodeAt(i));
  return bytes;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

/** Names of eight characters and three, each once; who reads the Joliet tree never sees them. */
function shortNames(names: readonly string[]): string[] {
  const taken = new Set<string>();
  return names.map((name) => {
    const plain = name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, "_");
    let short = `${plain.slice(0, 8)}.`;
    for (let n = 1; taken.has(short); n++) short = `${plain.slice(0, 8 - String(n).length)}${n}.`;
    taken.add(short);
    return short;
  });
}

function checkLabel(volumeId: string): void {
  if (/^[A-Za-z0-9_-]{1,16}$/.test(volumeId)) return;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    `"${volumeId}" cannot be a volume's label: 1 to 16 letters, digits, "-" and "_" are needed.`,
    { field: "volumeId", value: volumeId },
  );
}

function checkName(name: string, others: readonly IsoFile[]): void {
  const storable =
    /^[^\p{Cc}\p{Cs}\u{10000}-\u{10ffff}*/:;?\\]{1,64}$/u.test(name) && !/^\.+$/.test(name);
  if (storable && !others.some((other) => other.name === name)) return;
  throw new PlatterError(
    "E_INVALID_ARGUMENT",
    storable
      ? `Two files of the ISO image are called "${name}".`
      : `"${name}" cannot be a file's name in an ISO image: 1 to 64 characters are needed, without / * : ; ? and \\.`,
    { field: "name", value: name },
  );
}
