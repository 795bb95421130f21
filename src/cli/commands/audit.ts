import { formatSize, type AuditedFile } from "../contract.ts";
import { plainJson } from "../json.ts";
import { jsonOption } from "../options.ts";
import type { Parsed } from "../parse.ts";
import type { Session } from "../session.ts";
import type { CommandSpec } from "../spec.ts";
import { usageError } from "../usage.ts";

/** Largest policy file that is read. */
const maxPolicyBytes = 1024 * 1024;

const exitCodes = { safe: 0, unsafe: 1, unknown: 2 } as const;

/** The table entry of `audit`. */
export const auditCommand: CommandSpec = {
  name: "audit",
  face: "platter",
  summary: "judge image files from strangers before they are used",
  description:
    "Says of each file what it is and whether it is safe to use: other files that it names, features that need care, tables that are outside the file or overlap, how far it unpacks, and whether programs can take it for more than one format. The file is not opened as an image, and nothing that it names is opened. Raw files are safe only where they are used with -f raw.",
  operands: "filename...",
  options: [
    {
      id: "policy",
      friendly: "policy",
      argument: "file",
      completes: "file",
      summary:
        'what is allowed, as JSON: {"allow": ["snapshots"], "formats": ["qcow2"], "maxVirtualSize": "1T", "maxFileSize": "20G", "maxExpansion": 100}',
      group: "Behaviour",
    },
    jsonOption,
  ],
  examples: [
    { line: "audit upload.qcow2", explanation: "Is it safe to use?" },
    { line: "audit --policy site.json *.qcow2", explanation: "By the rules of this site" },
    { line: "audit --json upload.img", explanation: "The same for a program, with stable codes" },
  ],
  exitCodes: [
    [0, "all files are safe"],
    [1, "a file is not safe"],
    [2, "could not tell: nothing unsafe was found, but something could not be looked at"],
  ],
  run,
};

async function run(parsed: Parsed, session: Session): Promise<number> {
  session.exitCodeOnError = exitCodes.unknown;
  if (parsed.operands.length === 0) {
    throw usageError("Name one file or more.", "Expecting an image file name");
  }
  const policyFile = parsed.value("policy");
  const context = await session.context();
  const policy = policyFile === undefined ? undefined : await readPolicy(policyFile, session);
  const audit = await session.services.command("audit");
  const { files, verdict } = await audit({ names: parsed.operands, policy }, context);
  session.print(
    parsed.has("json")
      ? `${plainJson({ verdict, files: files.map(toJson) })}\n`
      : files.map((file) => toText(file, session)).join("\n"),
  );
  return exitCodes[verdict];
}

async function readPolicy(name: string, session: Session) {
  const { provider } = await session.context();
  const storage = await provider.open(name, { writable: false, lock: "none" });
  try {
    const bytes = new Uint8Array(Math.min(storage.size, maxPolicyBytes));
    const count = await storage.read(0, bytes);
    const parse = await session.services.auditPolicy();
    return parse(new TextDecoder().decode(bytes.subarray(0, count)), name);
  } finally {
    await storage.close();
  }
}

function toJson(file: AuditedFile) {
  const { virtualSize } = file;
  return {
    filename: file.filename,
    verdict: file.verdict,
    format: file.format,
    confidence: file.confidence,
    "file-length": file.fileLength,
    "virtual-size": typeof virtualSize === "bigint" ? String(virtualSize) : virtualSize,
    expansion: file.expansion,
    signatures: file.signatures.map((signature) => ({ ...signature })),
    references: file.references.map((reference) => ({ ...reference })),
    findings: file.findings.map(({ code, severity, message, offset }) => ({
      code,
      severity,
      message,
      offset,
    })),
  };
}

function toText(file: AuditedFile, { safe }: Session): string {
  const verdict = { safe: "safe", unsafe: "NOT SAFE", unknown: "could not tell" }[file.verdict];
  const lines = [`${safe(file.filename)}: ${verdict}`];
  if (file.format !== undefined) {
    const guess = file.confidence === "guess" ? " (a guess: nothing says what it is)" : "";
    lines.push(`  format: ${file.format}${guess}`);
  }
  if (file.virtualSize !== undefined) {
    const { virtualSize } = file;
    const size = typeof virtualSize === "number" ? formatSize(virtualSize) : `${virtualSize} B`;
    lines.push(`  virtual size: ${size}`);
  }
  const contents = file.signatures.filter(({ kind }) => kind === "content");
  if (file.format === "raw" && contents.length > 0) {
    lines.push(`  contents: ${contents.map(({ means }) => means).join(", ")}`);
  }
  for (const { code, severity, message } of file.findings) {
    lines.push(`  ${severity}: ${safe(message)} [${code}]`);
  }
  return `${lines.join("\n")}\n`;
}
