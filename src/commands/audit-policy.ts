import { parseSize } from "../bytes/index.ts";
import { auditCodes, type AuditCode } from "../formats/index.ts";
import { PlatterError } from "../errors.ts";

/** What a site allows in files from strangers. */
export interface AuditPolicy {
  /** Findings that do no harm here. */
  readonly allow?: readonly AuditCode[];
  /** The formats that are taken; every known one by default. */
  readonly formats?: readonly string[];
  /** Largest guest disk in bytes; no limit by default. */
  readonly maxVirtualSize?: number;
  /** Longest file in bytes; no limit by default. */
  readonly maxFileSize?: number;
  /** Stored guest bytes for each byte of the file; default 100. */
  readonly maxExpansion?: number;
}

/**
 * Understands a policy as JSON: an object with the members of {@link AuditPolicy}, where sizes may also
 * be written as `"10G"`. `file` is for messages. Throws `E_INVALID_ARGUMENT` for what it does not know.
 */
export function parseAuditPolicy(text: string, file: string): AuditPolicy {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw wrong(file, "policy", "is not JSON", error);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw wrong(file, "policy", "is not an object");
  }
  const policy: AuditPolicy = {};
  for (const [name, member] of Object.entries(value)) {
    Object.assign(policy, readMember(name, member, file));
  }
  return policy;
}

function readMember(name: string, value: unknown, file: string): AuditPolicy {
  switch (name) {
    case "allow": {
      const codes = strings(name, value, file);
      const unknown = codes.find((code) => !isCode(code));
      if (unknown !== undefined) throw wrong(file, name, `has the unknown code "${unknown}"`);
      return { allow: codes.filter(isCode) };
    }
    case "formats":
      return { formats: strings(name, value, file) };
    case "maxVirtualSize":
      return { maxVirtualSize: size(name, value, file) };
    case "maxFileSize":
      return { maxFileSize: size(name, value, file) };
    case "maxExpansion":
      if (typeof value !== "number" || !(value > 0)) {
        throw wrong(file, name, "is not a positive number");
      }
      return { maxExpansion: value };
    default:
      throw wrong(file, name, "is not known");
  }
}

const isCode = (code: string): code is AuditCode => Object.hasOwn(auditCodes, code);

function strings(name: string, value: unknown, file: string): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw wrong(file, name, "is not a list of strings");
}

function size(name: string, value: unknown, file: string): number {
  if (typeof value === "string") return parseSize(value, { what: name });
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
  throw wrong(file, name, "is not a size");
}

function wrong(file: string, member: string, what: string, cause?: unknown): PlatterError {
  return new PlatterError("E_INVALID_ARGUMENT", `${file}: ${member} ${what}`, {
    file,
    field: member,
    cause,
  });
}
