import {
  auditCodes,
  findSignatures,
  formats,
  type AuditCode,
  type AuditFinding,
  type AuditReference,
  type AuditSeverity,
  type Format,
  type FormatAudit,
  type Signature,
} from "../formats/index.ts";
import { PlatterError, throwIfAborted } from "../errors.ts";
import type { Storage } from "../storage/index.ts";
import type { AuditPolicy } from "./audit-policy.ts";
import type { CommandContext } from "./context.ts";

export type { AuditPolicy } from "./audit-policy.ts";

/** Which files to judge, and by what. */
export interface AuditOptions {
  /** Plain names of files: `json:` and protocols mean nothing here. */
  readonly names: readonly string[];
  readonly policy?: AuditPolicy | undefined;
}

/** `unknown`: nothing unsafe was found, but not everything could be looked at. */
export type AuditVerdict = "safe" | "unsafe" | "unknown";

/** What one file is. */
export interface AuditedFile {
  readonly filename: string;
  readonly verdict: AuditVerdict;
  /** The format by its signature; `raw` when there is none; undefined when the file was not read. */
  readonly format: string | undefined;
  /** `certain`: a signature says so. `guess`: none does, and only raw is left. */
  readonly confidence: "certain" | "guess" | undefined;
  /** Length of the file in bytes. */
  readonly fileLength: number | undefined;
  /** Size of the guest's disk in bytes, as the file claims. */
  readonly virtualSize: number | bigint | undefined;
  /** What the file can also be taken for, and what its disk starts with. */
  readonly signatures: ReadonlyArray<Pick<Signature, "format" | "means" | "at" | "kind">>;
  /** Files that it names. None was looked for. */
  readonly references: readonly AuditReference[];
  /** Stored guest bytes for each byte of the file. */
  readonly expansion: number | undefined;
  readonly findings: readonly JudgedFinding[];
}

/** A finding, and what it means under the policy. */
export interface JudgedFinding extends AuditFinding {
  readonly severity: AuditSeverity | "allowed";
}

/** What {@link audit} found: one entry a file, and the worst verdict of all. */
export interface AuditResult {
  readonly files: readonly AuditedFile[];
  readonly verdict: AuditVerdict;
}

const defaultExpansion = 100;

/** See the function of the same name in lazy.ts. */
export async function audit(options: AuditOptions, context: CommandContext): Promise<AuditResult> {
  const files: AuditedFile[] = [];
  for (const name of options.names) {
    throwIfAborted(context.signal);
    files.push(await auditFile(name, options.policy ?? {}, context));
  }
  return { files, verdict: worst(files.map(({ verdict }) => verdict)) };
}

async function auditFile(
  name: string,
  policy: AuditPolicy,
  { provider }: CommandContext,
): Promise<AuditedFile> {
  let storage: Storage | undefined;
  try {
    storage = await provider.open(name, { writable: false, lock: "none" });
    return await auditStorage(name, storage, policy);
  } catch (error) {
    if (!(error instanceof PlatterError) || error.code === "E_ABORTED") throw error;
    return unreadable(name, error, policy);
  } finally {
    await storage?.close();
  }
}

async function auditStorage(
  filename: string,
  storage: Storage,
  policy: AuditPolicy,
): Promise<AuditedFile> {
  const found = await findSignatures(storage);
  const images = found.filter(({ kind }) => kind === "image");
  const first = images.find(({ at }) => at >= 0) ?? images[0];
  const format = first?.format ?? "raw";
  const inside = await examine(format, storage);
  const findings = [
    ...inside.findings,
    ...severalFormats(format, found),
    ...limits(format, storage.size, inside, policy),
  ].map((finding) => judge(finding, policy));
  return {
    filename,
    verdict: verdictOf(findings),
    format,
    confidence: first === undefined ? "guess" : "certain",
    fileLength: storage.size,
    virtualSize: inside.virtualSize,
    signatures: found.map(({ format: of, means, at, kind }) => ({ format: of, means, at, kind })),
    references: inside.references,
    expansion: inside.expansion,
    findings,
  };
}

async function examine(format: string, storage: Storage): Promise<FormatAudit> {
  const known = formats.find(({ name }) => name === format);
  if (known?.audit !== undefined) {
    const seen = await known.audit(storage);
    const refused = await refusal(known, storage);
    return refused === undefined ? seen : { ...seen, findings: [...seen.findings, refused] };
  }
  if (format === "raw") return { virtualSize: storage.size, references: [], findings: [] };
  const message = `the insides of ${format} files are not examined here; it may name other files`;
  return { references: [], findings: [{ code: "not-examined", message }] };
}

/** What the opener says that the auditor did not: nobody could use the file as it is. */
async function refusal(format: Format, storage: Storage): Promise<AuditFinding | undefined> {
  try {
    const image = await format.open(storage, { writable: false, inspect: true });
    await image.close();
    return undefined;
  } catch (error) {
    if (!(error instanceof PlatterError)) throw error;
    return { code: "refused", message: error.message };
  }
}

/**
 * A disk's contents may look like anything, so partitions in a raw file are no second format; in front of
 * a format's own header, or with two formats at once, it depends on the program what the file is.
 */
function severalFormats(format: string, found: readonly Signature[]): AuditFinding[] {
  const findings: AuditFinding[] = [];
  const seen = new Set([format]);
  for (const other of found) {
    // The footer and the copy of it in front belong to one and the same format.
    if (seen.has(other.format)) continue;
    seen.add(other.format);
    if (format === "raw" && other.kind === "content") continue;
    const message = `it is ${format} and also ${other.format}: ${other.means} at ${other.at}`;
    findings.push({ code: "more-than-one-format", message, offset: Math.max(0, other.at) });
  }
  return findings;
}

function limits(
  format: string,
  length: number,
  { virtualSize, expansion }: FormatAudit,
  policy: AuditPolicy,
): AuditFinding[] {
  const { maxExpansion = defaultExpansion, maxVirtualSize, maxFileSize } = policy;
  const findings: AuditFinding[] = [];
  const over = (code: AuditCode, message: string): unknown => findings.push({ code, message });
  if (policy.formats !== undefined && !policy.formats.includes(format)) {
    over("format-not-allowed", `the format ${format} is not among ${policy.formats.join(", ")}`);
  }
  if (maxVirtualSize !== undefined && virtualSize !== undefined && virtualSize > maxVirtualSize) {
    over("virtual-size", `the disk has ${virtualSize} bytes, more than ${maxVirtualSize}`);
  }
  if (maxFileSize !== undefined && length > maxFileSize) {
    over("file-size", `the file has ${length} bytes, more than ${maxFileSize}`);
  }
  if (expansion !== undefined && expansion > maxExpansion) {
    over("expansion", `it unpacks to ${expansion.toFixed(1)} times its length of ${length}`);
  }
  return findings;
}

function judge(finding: AuditFinding, policy: AuditPolicy): JudgedFinding {
  const allowed = policy.allow?.includes(finding.code) ?? false;
  return { ...finding, severity: allowed ? "allowed" : auditCodes[finding.code].severity };
}

function unreadable(filename: string, error: PlatterError, policy: AuditPolicy): AuditedFile {
  const findings = [judge({ code: "cannot-read", message: error.message }, policy)];
  return {
    filename,
    // Allowed or not: nobody has seen what is in it.
    verdict: "unknown",
    format: undefined,
    confidence: undefined,
    fileLength: undefined,
    virtualSize: undefined,
    signatures: [],
    references: [],
    expansion: undefined,
    findings,
  };
}

function verdictOf(findings: readonly JudgedFinding[]): AuditVerdict {
  return worst(
    findings.map(({ severity }) =>
      severity === "unsafe" || severity === "unknown" ? severity : "safe",
    ),
  );
}

function worst(verdicts: readonly AuditVerdict[]): AuditVerdict {
  if (verdicts.includes("unsafe")) return "unsafe";
  return verdicts.includes("unknown") ? "unknown" : "safe";
}
