import type { PlatterError } from "../errors.ts";
import { parseQemuJson, type QemuJson } from "./contract.ts";
import type { Session } from "./session.ts";
import { argumentError } from "./usage.ts";

/** An object that `--object` defines. */
export interface UserObject {
  readonly type: string;
  readonly id: string;
  /** What else is said of it. */
  readonly properties: Readonly<Record<string, string>>;
}

/** Types of QEMU's that have no meaning for an image on the command line. */
const senseless = new Set(
  (
    "authz-list authz-listfile authz-pam authz-simple can-bus can-host-socketcan colo-compare " +
    "cryptodev-backend cryptodev-backend-builtin cryptodev-backend-lkcf cryptodev-vhost-user " +
    "dbus-vmstate filter-buffer filter-dump filter-mirror filter-redirector filter-replay " +
    "filter-rewriter input-barrier input-linux iothread main-loop memory-backend-epc " +
    "memory-backend-file memory-backend-memfd memory-backend-ram pef-guest pr-manager-helper qtest " +
    "rng-builtin rng-egd rng-random s390-pv-guest secret_keyring sev-guest thread-context " +
    "throttle-group tls-cipher-suites tls-creds-anon tls-creds-psk tls-creds-x509 x-remote-object " +
    "x-vfio-user-server"
  ).split(" "),
);

const secretProperties = ["data", "file", "format", "keyid", "iv"];

/** Reads a value of `--object` and keeps it in the session. @throws `E_INVALID_ARGUMENT` */
export function addObject(text: string, session: Session): void {
  const object = readObject(text);
  if (session.objects.some(({ id }) => id === object.id)) {
    throw wrong(
      text,
      `there is an object called ${object.id} already`,
      `attempt to add duplicate property '${object.id}' to object (type 'container')`,
    );
  }
  session.objects.push(object);
}

function readObject(text: string): UserObject {
  const values = text.startsWith("{") ? fromJson(text) : fromPairs(text);
  const type = values.get("qom-type");
  if (type === undefined) throw wrong(text, "it has no type", "Parameter 'qom-type' is missing");
  if (type !== "secret") throw refuseType(text, type);
  const id = values.get("id");
  if (id === undefined) throw wrong(text, "it has no id", "Parameter 'id' is missing");
  const properties = readProperties(text, values);
  if (!/^[a-zA-Z][-._a-zA-Z0-9]*$/.test(id)) {
    throw wrong(
      text,
      "an id has letters, digits, '-', '.', '_' and begins with a letter",
      "Parameter 'id' expects an identifier\n" +
        "Identifiers consist of letters, digits, '-', '.', '_', starting with a letter.",
    );
  }
  checkSecret(text, properties);
  return { type, id, properties };
}

function refuseType(text: string, type: string): PlatterError {
  return senseless.has(type)
    ? wrong(text, `objects of the type ${type} have no use here`, `invalid object type: ${type}`)
    : wrong(
        text,
        `there is no type ${type}; there is secret`,
        `Parameter 'qom-type' does not accept value '${type}'`,
      );
}

function readProperties(text: string, values: ReadonlyMap<string, string>): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const [name, value] of values) {
    if (name === "qom-type" || name === "id") continue;
    const [group = ""] = name.split(".");
    if (group !== name) {
      throw wrong(text, `a secret has no ${name}`, `Parameters '${group}.*' are unexpected`);
    }
    if (!secretProperties.includes(name)) {
      throw wrong(text, `a secret has no ${name}`, `Parameter '${name}' is unexpected`);
    }
    properties[name] = value;
  }
  return properties;
}

function checkSecret(text: string, { data, file, format }: Record<string, string>): void {
  if (format !== undefined && format !== "raw" && format !== "base64") {
    throw wrong(
      text,
      "the format of a secret is raw or base64",
      `Parameter 'format' does not accept value '${format}'`,
    );
  }
  if (data !== undefined && file !== undefined) {
    const message = "a secret has either data or a file";
    throw wrong(text, message, "'file' and 'data' are mutually exclusive");
  }
  if (data === undefined && file === undefined) {
    const message = "a secret needs data or a file";
    throw wrong(text, message, "Either 'file' or 'data' must be provided");
  }
}

/** `type,name=value,…`: a comma inside a value is doubled, the last of equal names counts. */
function fromPairs(text: string): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  let rest = text;
  for (let first = true; rest !== ""; first = false) {
    const word = /^[^=,]*/.exec(rest)?.[0] ?? "";
    const isPair = rest[word.length] === "=";
    if (!isPair && !(first && word !== "")) {
      if (word === "") throw wrong(text, "a name is missing", "Invalid parameter ''");
      throw wrong(text, `${word} has no value`, `Expected '=' after parameter '${word}'`);
    }
    if (isPair && !/^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$/.test(word)) {
      throw wrong(text, `"${word}" is not a name`, `Invalid parameter '${word}'`);
    }
    const from = isPair ? word.length + 1 : 0;
    const raw = /^(?:[^,]|,,)*/.exec(rest.slice(from))?.[0] ?? "";
    values.set(isPair ? word : "qom-type", raw.replaceAll(",,", ","));
    rest = rest.slice(from + raw.length + 1);
  }
  return values;
}

function fromJson(text: string): ReadonlyMap<string, string> {
  const object = parseQemuJson(text);
  const values = new Map<string, string>();
  if (!(object instanceof Map)) throw wrong(text, "it is no JSON object", "Invalid JSON object");
  for (const [name, value] of object as ReadonlyMap<string, QemuJson>) {
    if (typeof value !== "string") {
      const qemu = `Invalid parameter type for '${name}', expected: string`;
      throw wrong(text, `${name} takes text`, qemu);
    }
    values.set(name, value);
  }
  return values;
}

function wrong(text: string, reason: string, qemu: string): PlatterError {
  // What stands there may be a secret: it is not repeated.
  const shown = /^[\w-]*/.exec(text)?.[0] ?? "";
  const message = `The object ${shown === "" ? "in --object" : shown} cannot be made: ${reason}.`;
  return argumentError("--object", undefined, message, qemu);
}
