/**
 * What a look at a file from a stranger can find, by stable codes. Programs and policies match on them;
 * `severity` is what the code means unless a policy allows it.
 */
export const auditCodes = {
  "backing-file": { severity: "unsafe", means: "It names another file as its backing file." },
  bitmaps: { severity: "note", means: "It has persistent dirty bitmaps." },
  "cannot-read": { severity: "unknown", means: "The file could not be opened or read." },
  "control-characters": {
    severity: "unsafe",
    means: "A name in the image has characters that a terminal takes for commands.",
  },
  corrupt: { severity: "unsafe", means: "It is marked corrupt." },
  "cut-short": { severity: "unsafe", means: "A structure reaches past the end of the file." },
  "data-file": { severity: "unsafe", means: "It names another file that holds its data." },
  dirty: { severity: "unsafe", means: "It was not closed cleanly." },
  encrypted: { severity: "unsafe", means: "It is encrypted: what is in it cannot be judged." },
  expansion: { severity: "unsafe", means: "It unpacks to far more than the file's length." },
  "file-size": { severity: "unsafe", means: "The file is longer than the policy allows." },
  "format-not-allowed": { severity: "unsafe", means: "The policy does not allow the format." },
  "invalid-header": {
    severity: "unsafe",
    means: "A field of the header breaks the format's rules.",
  },
  "more-than-one-format": {
    severity: "unsafe",
    means: "Programs can take the file for more than one format.",
  },
  "not-examined": { severity: "unknown", means: "The format is known, but not its insides." },
  overlap: { severity: "unsafe", means: "Two structures lie on the same place of the file." },
  refused: { severity: "unsafe", means: "Platter refuses to open it." },
  snapshots: { severity: "note", means: "It has internal snapshots: further disks in one file." },
  "too-much": { severity: "unknown", means: "Its tables are larger than what is looked through." },
  "unknown-feature": {
    severity: "unsafe",
    means: "It needs a feature that no released version of QEMU 7.2 has.",
  },
  "unknown-extension": { severity: "note", means: "It has a header extension that is not known." },
  "virtual-size": { severity: "unsafe", means: "The disk is larger than the policy allows." },
  "vm-state": { severity: "unsafe", means: "A snapshot holds the memory of a machine." },
} as const satisfies Record<string, { severity: AuditSeverity; means: string }>;

/** One of the stable codes of {@link auditCodes}. */
export type AuditCode = keyof typeof auditCodes;

/** `unsafe`: do not use it as it is; `unknown`: nobody looked; `note`: good to know. */
export type AuditSeverity = "unsafe" | "unknown" | "note";

/** One thing that was found. */
export interface AuditFinding {
  readonly code: AuditCode;
  /** One line: field or offset, and the value found. Names from the image stand in it as they are. */
  readonly message: string;
  /** Byte offset in the file, where there is one. */
  readonly offset?: number | undefined;
}

/** Another file that an image names. It has not been looked for. */
export interface AuditReference {
  readonly kind: "backing" | "data-file";
  /** The name as it stands in the image. */
  readonly name: string;
  readonly format?: string | undefined;
}

/** What a format's auditor saw. */
export interface FormatAudit {
  readonly virtualSize?: number | bigint | undefined;
  readonly references: readonly AuditReference[];
  readonly findings: readonly AuditFinding[];
  /** Guest bytes that are stored, divided by the file's length; undefined for an empty file. */
  readonly expansion?: number | undefined;
}
