/**
 * Makes docs/errors.md from the table of error codes: `node tools/errors-page.ts` writes it,
 * `--check` compares and exits 1 where it differs.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorCodes } from "../src/errors.ts";

/** The page, in Markdown. */
export function errorsPage(codes: Readonly<Record<string, string>>): string {
  const sections = Object.entries(codes).map(([code, meaning]) => `## ${code}\n\n${meaning}\n`);
  return `# Error codes

Every error that Platter throws on purpose is a \`PlatterError\`. Its \`code\` is one of those below
and does not change between versions; its \`message\` is one line for people and may change. What the
error knows of the file, field, offset and value is in its \`details\`.

This page is generated from \`src/errors.ts\` by \`npm run docs\`.

${sections.join("\n")}`;
}

if (import.meta.main) {
  const path = join(import.meta.dirname, "../docs/errors.md");
  const page = errorsPage(errorCodes);
  if (!process.argv.includes("--check")) {
    writeFileSync(path, page);
  } else if (readFileSync(path, "utf8") !== page) {
    console.error("docs/errors.md is not what src/errors.ts makes: run npm run docs");
    process.exitCode = 1;
  }
}
