import type { FormatOption } from "./format.ts";

/** The creation options of a LUKS volume; `prefix` stands before their names. */
export const luksOptions = (prefix: "" | "encrypt."): readonly FormatOption[] => [
  {
    name: `${prefix}key-secret`,
    type: "string",
    help:
      prefix === ""
        ? "ID of the secret that provides the keyslot passphrase"
        : "ID of secret providing qcow AES key or LUKS passphrase",
  },
  { name: `${prefix}cipher-alg`, type: "string", help: "Name of encryption cipher algorithm" },
  { name: `${prefix}cipher-mode`, type: "string", help: "Name of encryption cipher mode" },
  { name: `${prefix}ivgen-alg`, type: "string", help: "Name of IV generator algorithm" },
  {
    name: `${prefix}ivgen-hash-alg`,
    type: "string",
    help: "Name of IV generator hash algorithm",
  },
  { name: `${prefix}hash-alg`, type: "string", help: "Name of encryption hash algorithm" },
  {
    name: `${prefix}iter-time`,
    type: "number",
    help: "Time to spend in PBKDF in milliseconds",
  },
];

/** What can be changed about the keys of a LUKS volume, in the order in which QEMU looks at it. */
export const keyOptions = (prefix: "" | "encrypt."): readonly FormatOption[] => [
  {
    name: `${prefix}state`,
    type: "string",
    help: "Select new state of affected keyslots (active/inactive)",
  },
  {
    name: `${prefix}keyslot`,
    type: "number",
    help: "Select a single keyslot to modify explicitly",
  },
  {
    name: `${prefix}old-secret`,
    type: "string",
    help: "Select all keyslots that match this password",
  },
  {
    name: `${prefix}new-secret`,
    type: "string",
    help: "New secret to set in the matching keyslots. Empty string to erase",
  },
  { name: `${prefix}iter-time`, type: "number", help: "Time to spend in PBKDF in milliseconds" },
];
