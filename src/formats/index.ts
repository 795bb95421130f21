export { auditCodes } from "./audit.ts";
export type {
  AuditCode,
  AuditFinding,
  AuditReference,
  AuditSeverity,
  FormatAudit,
} from "./audit.ts";
export { findSignatures, signatures } from "./signatures.ts";
export type { Signature } from "./signatures.ts";
export type {
  Format,
  FormatCreateOptions,
  FormatOpenOptions,
  FormatOption,
  FormatOptionValues,
  NewImage,
  RuntimeOptions,
  Secrets,
} from "./format.ts";
export type { Measurement, MeasureOptions, StoredRange } from "./measure.ts";
export { encryptionServices, openDisk } from "./open.ts";
export type { DiskOptions, ReferenceResolver } from "./open.ts";
export { Qcow2Image, qcow2 } from "./qcow2/index.ts";
export { raw } from "./raw/index.ts";
export { formatNamed, formats, probe } from "./registry.ts";
