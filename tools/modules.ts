import { parseSync } from "oxc-parser";

/** A module named in an import, re-export, `import()` or `import("…")` type. */
export interface ModuleReference {
  /** What stands between the quotes; undefined where it is computed. */
  readonly specifier: string | undefined;
  /** Line, counted from 1. */
  readonly line: number;
}

/** Calls `visit` for every node of a syntax tree. */
function walk(node: unknown, visit: (node: Readonly<Record<string, unknown>>) => void): void {
  if (Array.isArray(node)) {
    for (const item of node) walk(item, visit);
  } else if (typeof node === "object" && node !== null) {
    const record = node as Readonly<Record<string, unknown>>;
    if (typeof record["type"] === "string") visit(record);
    for (const child of Object.values(record)) walk(child, visit);
  }
}

/** The value of a string literal's node, or undefined for any other node. */
function literal(node: unknown): string | undefined {
  const record = node as Readonly<Record<string, unknown>> | null;
  return record?.["type"] === "Literal" && typeof record["value"] === "string"
    ? record["value"]
    : undefined;
}

const referring = new Set([
  "ImportDeclaration",
  "ExportAllDeclaration",
  "ExportNamedDeclaration",
  "ImportExpression",
  "TSImportType",
]);

/** Every module that a TypeScript source names, types included. Throws when it cannot be parsed. */
export function moduleReferences(file: string, text: string): ModuleReference[] {
  const { program, errors } = parseSync(file, text, { sourceType: "module" });
  const [error] = errors;
  if (error !== undefined) throw new Error(`${file}: ${error.message}`);
  const references: ModuleReference[] = [];
  walk(program, (node) => {
    if (!referring.has(String(node["type"]))) return;
    // An export without "from" names no module.
    if (node["type"] === "ExportNamedDeclaration" && node["source"] === null) return;
    const line = text.slice(0, Number(node["start"])).split("\n").length;
    references.push({ specifier: literal(node["source"]), line });
  });
  return references;
}
