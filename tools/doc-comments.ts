/**
 * Checks that everything the package's entries export has a doc comment, following re-exports to
 * the declaration. `node tools/doc-comments.ts` prints what has none and exits 1.
 */
import { readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { type Comment, parseSync, type Statement } from "oxc-parser";

const entries = ["src/index.ts", "src/core.ts"];

/** Something that an entry exports. */
export interface PublicExport {
  readonly name: string;
  /** File and line of the declaration. */
  readonly file: string;
  readonly line: number;
  /** Whether a doc comment stands before the declaration. */
  readonly documented: boolean;
}

/** A parsed file, as far as exports are concerned. */
interface ParsedFile {
  readonly path: string;
  readonly text: string;
  readonly body: readonly Statement[];
  readonly comments: readonly Comment[];
}

function parse(path: string): ParsedFile {
  const text = readFileSync(path, "utf8");
  const { program, comments, errors } = parseSync(path, text, { sourceType: "module" });
  const [error] = errors;
  if (error !== undefined) throw new Error(`${path}: ${error.message}`);
  return { path, text, body: program.body, comments };
}

/** All exports of the module at `path`, by the name they are exported under. */
export function publicExports(path: string): PublicExport[] {
  const file = parse(path);
  const found = new Map<string, PublicExport>();
  for (const statement of file.body) {
    for (const item of exportsOf(file, statement)) found.set(item.name, item);
  }
  return [...found.values()];
}

function exportsOf(file: ParsedFile, statement: Statement): PublicExport[] {
  if (statement.type === "ExportAllDeclaration") {
    const all = publicExports(resolve(file.path, "..", statement.source.value));
    return statement.exported === null
      ? all.filter(({ name }) => name !== "default")
      : [described(file, statement, nameOf(statement.exported))];
  }
  if (statement.type === "ExportDefaultDeclaration") return [described(file, statement, "default")];
  if (statement.type !== "ExportNamedDeclaration") return [];
  if (statement.declaration !== null) {
    return declaredNames(statement.declaration).map((name) => described(file, statement, name));
  }
  const { source } = statement;
  return statement.specifiers.map((specifier) => {
    const name = nameOf(specifier.exported);
    const local = nameOf(specifier.local);
    const target = source === null ? locate(file, local) : locateIn(file, source.value, local);
    if (target === undefined) throw new Error(`${file.path}: cannot find the exported ${local}`);
    return { ...target, name };
  });
}

/** The declaration of `name` in the module that `file` calls `specifier`. */
function locateIn(file: ParsedFile, specifier: string, name: string): PublicExport | undefined {
  return publicExports(resolve(file.path, "..", specifier)).find((item) => item.name === name);
}

/** The declaration of the local `name`, which may be an import. */
function locate(file: ParsedFile, name: string): PublicExport | undefined {
  for (const statement of file.body) {
    if (statement.type === "ImportDeclaration") {
      for (const specifier of statement.specifiers) {
        if (specifier.local.name !== name || specifier.type !== "ImportSpecifier") continue;
        return locateIn(file, statement.source.value, nameOf(specifier.imported));
      }
    } else if (declaredNames(declarationOf(statement)).includes(name)) {
      return described(file, statement, name);
    }
  }
  return undefined;
}

const declarationOf = (statement: Statement): Statement =>
  statement.type === "ExportNamedDeclaration" && statement.declaration !== null
    ? statement.declaration
    : statement;

function declaredNames(statement: Statement): string[] {
  switch (statement.type) {
    case "VariableDeclaration":
      return statement.declarations.flatMap(({ id }) =>
        id.type === "Identifier" ? [id.name] : [],
      );
    case "FunctionDeclaration":
    case "ClassDeclaration":
    case "TSDeclareFunction":
    case "TSInterfaceDeclaration":
    case "TSTypeAliasDeclaration":
      return statement.id === null ? [] : [statement.id.name];
    default:
      return [];
  }
}

const nameOf = (node: { readonly type: string } & ({ name: string } | { value: string })): string =>
  "name" in node ? node.name : node.value;

function described(file: ParsedFile, statement: Statement, name: string): PublicExport {
  const documented = file.comments.some(
    ({ type, value, start, end }) =>
      type === "Block" &&
      /^\*.*[\p{L}\p{N}]/su.test(value) &&
      end <= statement.start &&
      file.text.slice(end, statement.start).trim() === "" &&
      !isModuleComment(value, start),
  );
  const line = file.text.slice(0, statement.start).split("\n").length;
  return { name, file: file.path, line, documented };
}

/** A comment that opens a file and says `@module` is about the file. */
const isModuleComment = (value: string, start: number): boolean =>
  start === 0 && value.includes("@module");

if (import.meta.main) {
  const root = join(import.meta.dirname, "..");
  const all = entries.flatMap((entry) => publicExports(join(root, entry)));
  const bare = new Set(
    all
      .filter(({ documented }) => !documented)
      .map(({ name, file, line }) => `${relative(root, file)}:${line}: ${name} has no doc comment`),
  );
  for (const problem of bare) console.error(problem);
  if (all.length === 0) console.error("doc comments: the entries export nothing");
  else console.log(`doc comments: ${all.length} exports, ${bare.size} without`);
  if (all.length === 0 || bare.size > 0) process.exitCode = 1;
}
