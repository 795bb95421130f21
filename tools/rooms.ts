/**
 * The rules between the rooms of src/ (docs/architecture.md), checked over every module:
 *
 * - a room imports only rooms before it in {@link rooms}, and those only through their `index.ts`;
 * - a format (`formats/<name>/`) is a room inside `formats`: it imports no other format;
 * - rooms up to `commands`, and `src/core.ts`, run in a browser: nothing of Node;
 * - `src/errors.ts` is open to all, the two entries to none;
 * - packages are those that package.json ships, the optional ones in `host` only; tests
 *   (`*.test.ts`, and `*.test-kit.ts` for what they share) may use vitest and fast-check too, and
 *   `*.node.test.ts` Node.
 *
 * `node tools/rooms.ts` prints what breaks a rule and exits 1.
 */
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { join, posix } from "node:path";
import { moduleReferences } from "./modules.ts";

/** The rooms, each importing only from those before it. */
const rooms = [
  "bytes",
  "codec",
  "storage",
  "disk",
  "formats",
  "copy",
  "commands",
  "host",
  "vm",
  "lab",
  "cli",
] as const;

type Room = (typeof rooms)[number];

const isRoom = (name: string): name is Room => (rooms as readonly string[]).includes(name);

/** The first room that may use Node. */
const firstNodeRoom = rooms.indexOf("host");

const shared = "src/errors.ts";
const entries: ReadonlyMap<string, readonly Room[]> = new Map([
  ["src/core.ts", rooms.slice(0, firstNodeRoom)],
  ["src/index.ts", rooms.filter((room) => room !== "cli")],
]);
const testPackages = new Set(["vitest", "fast-check"]);

/** What a path under src/ belongs to. */
interface Place {
  readonly file: string;
  readonly room: Room | undefined;
  /** The format's name for a file in `formats/<name>/`. */
  readonly format: string | undefined;
}

/** The result of {@link checkRooms}. */
interface RoomsReport {
  /** How many modules were read; a check that saw none has found nothing out. */
  readonly modules: number;
  /** One line a broken rule, starting with `file:line: `. */
  readonly problems: readonly string[];
}

/** Checks every TypeScript module under `root`/src. */
export function checkRooms(root: string): RoomsReport {
  const files = globSync("src/**/*.{ts,tsx,mts,cts,js,mjs}", { cwd: root })
    .map((file) => file.replaceAll("\\", "/"))
    .toSorted();
  const packages = shippedPackages(root);
  const problems: string[] = [];
  for (const file of files) {
    const place = placeOf(file);
    if (!isAtHome(place)) problems.push(`${file}:1: lies in no known room`);
    for (const { specifier, line } of moduleReferences(
      file,
      readFileSync(join(root, file), "utf8"),
    )) {
      const problem =
        specifier === undefined
          ? "imports a computed name; the rooms cannot be checked through it"
          : specifier.startsWith(".")
            ? brokenByFile(place, placeOf(posix.join(posix.dirname(file), specifier)))
            : brokenByPackage(place, specifier, packages);
      if (problem !== undefined) problems.push(`${file}:${line}: ${problem}`);
    }
  }
  // A statement that names a module for several exports is one problem.
  return { modules: files.length, problems: [...new Set(problems)] };
}

/** Tests, and what only tests use. */
const isTest = (file: string): boolean => /\.(test|test-kit)\.ts$/.test(file);

function placeOf(file: string): Place {
  const [source, room = "", format, ...deeper] = file.split("/");
  const inRoom = source === "src" && isRoom(room) && format !== undefined;
  return {
    file,
    room: inRoom ? room : undefined,
    format: inRoom && room === "formats" && deeper.length > 0 ? format : undefined,
  };
}

/** Whether the file is in a room, an entry, or what all share; or the test of one of these. */
function isAtHome({ file, room }: Place): boolean {
  const tested = file.replace(/(\.node)?\.test\.ts$/, ".ts");
  return room !== undefined || tested === shared || entries.has(tested);
}

/** Which rule an import of another file of the project breaks, if any. */
function brokenByFile(from: Place, to: Place): string | undefined {
  if (to.file === shared) return undefined;
  if (to.room === undefined) {
    return isTest(from.file) && from.room === undefined && entries.has(to.file)
      ? undefined
      : from.file === "src/index.ts" && to.file === "src/core.ts"
        ? undefined
        : `imports ${to.file}, which is in no room`;
  }
  if (from.room === undefined) {
    const allowed = entries.get(from.file) ?? [];
    if (!isTest(from.file) && !allowed.includes(to.room)) return `may not import ${to.room}`;
    return throughIndex(to, `src/${to.room}/index.ts`);
  }
  if (from.room !== to.room) {
    if (rooms.indexOf(to.room) > rooms.indexOf(from.room)) {
      return `${from.room} imports ${to.room}, a later room`;
    }
    return throughIndex(to, `src/${to.room}/index.ts`);
  }
  if (from.format === to.format) return undefined;
  if (to.format !== undefined) {
    if (from.format !== undefined) return `format ${from.format} imports format ${to.format}`;
    return throughIndex(to, `src/formats/${to.format}/index.ts`);
  }
  return to.file === "src/formats/index.ts"
    ? `format ${from.format} imports src/formats/index.ts, which imports it`
    : undefined;
}

function throughIndex(to: Place, index: string): string | undefined {
  return to.file === index ? undefined : `imports ${to.file} past ${index}`;
}

/** Which rule an import of a package or of a part of Node breaks, if any. */
function brokenByPackage(
  from: Place,
  specifier: string,
  packages: ShippedPackages,
): string | undefined {
  if (isBuiltin(specifier)) {
    if (!specifier.startsWith("node:")) return `imports ${specifier} without node:`;
    return from.file.endsWith(".node.test.ts") || mayUseNode(from)
      ? undefined
      : `imports ${specifier}, but has to run in a browser`;
  }
  const [scope = "", rest] = specifier.split("/");
  const name = scope.startsWith("@") ? `${scope}/${rest}` : scope;
  if (isTest(from.file) && testPackages.has(name)) return undefined;
  if (packages.required.has(name)) return undefined;
  if (packages.optional.has(name)) {
    return from.room === "host" ? undefined : `imports ${name}, which only host may`;
  }
  return `imports ${name}, which is not shipped with the package`;
}

function mayUseNode({ file, room }: Place): boolean {
  return room === undefined
    ? file === "src/index.ts" || file === "src/index.test.ts"
    : rooms.indexOf(room) >= firstNodeRoom;
}

interface ShippedPackages {
  readonly required: ReadonlySet<string>;
  readonly optional: ReadonlySet<string>;
}

function shippedPackages(root: string): ShippedPackages {
  const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    readonly dependencies?: Readonly<Record<string, string>>;
    readonly optionalDependencies?: Readonly<Record<string, string>>;
  };
  return {
    required: new Set(Object.keys(manifest.dependencies ?? {})),
    optional: new Set(Object.keys(manifest.optionalDependencies ?? {})),
  };
}

if (import.meta.main) {
  const { modules, problems } = checkRooms(join(import.meta.dirname, ".."));
  for (const problem of problems) console.error(problem);
  if (modules === 0) console.error("rooms: no modules found under src/");
  else console.log(`rooms: ${modules} modules, ${problems.length} problems`);
  if (modules === 0 || problems.length > 0) process.exitCode = 1;
}
