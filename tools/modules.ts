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

/** Every module that a TypeScript source names, types included. Throws when it cannot be parsed. */
export function moduleReferences(file: string, text: string): ModuleReference[] {
  const parsed = parseSync(file, text, { sourceType: "module" });
  const [error] = parsed.errors;
  if (error !== undefined) throw new Error(`${file}: ${error.message}`);
  const references: ModuleReference[] = [];
  const add = (specifier: string | undefined, start: number): void => {
    references.push({ specifier, line: text.slice(0, start).split("\n").length });
  };
  const { staticImports, staticExports } = parsed.module;
  for (const { moduleRequest } of staticImports) add(moduleRequest.value, moduleRequest.start);
  for (const { moduleRequest } of staticExports.flatMap(({ entries }) => entries)) {
    if (moduleRequest !== null) add(moduleRequest.value, moduleRequest.start);
  }
  // The tree is costly to build, and only these have to be looked for in it.
  if (/\bimport\s*[(.]/.test(text)) {
    walk(parsed.program, (node) => {
      if (node["type"] === "ImportExpression" || node["type"] === "TSImportType") {
        add(literal(node["source"]), Number(node["start"]));
      }
    });
  }
  return references;
}
