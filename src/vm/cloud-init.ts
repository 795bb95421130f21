/**
 * A cloud-init seed: the NoCloud data source's files on a volume called `cidata`. User data and meta data are
 * YAML, and JSON is YAML: so they are written as JSON, which leaves no question of quoting.
 */
import { PlatterError } from "../errors.ts";
import { isoImage, type IsoFile } from "./iso9660.ts";

/** What the guest's cloud-init is told. */
export interface CloudInit {
  /** An account to make; the distribution's own one gets keys and password if not given. */
  readonly user?: string | undefined;
  /** Lines as in `authorized_keys`. */
  readonly sshKeys?: readonly string[] | undefined;
  /** A hash as in `/etc/shadow`: `$6$…`, `$y$…`. */
  readonly passwordHash?: string | undefined;
  /** In the clear: the seed then holds it. */
  readonly password?: string | undefined;
  readonly hostname?: string | undefined;
  /** A whole file in place of all that; cloud-init finds out what it is. */
  readonly userData?: Uint8Array | undefined;
  readonly metaData?: Uint8Array | undefined;
  readonly networkConfig?: Uint8Array | undefined;
}

/** The label that cloud-init looks for. */
const label = "cidata";

/**
 * The seed, an ISO 9660 image.
 *
 * @param instanceId cloud-init runs once for each of them
 * @throws `E_INVALID_ARGUMENT` for values that cannot be, or contradict each other
 */
export function cloudInitSeed(options: CloudInit, instanceId: string): Uint8Array {
  const files: IsoFile[] = [
    { name: "user-data", contents: options.userData ?? encode(userData(options)) },
    { name: "meta-data", contents: options.metaData ?? encode(metaData(options, instanceId)) },
  ];
  if (options.networkConfig !== undefined) {
    files.push({ name: "network-config", contents: options.networkConfig });
  }
  refuseContradictions(options);
  return isoImage({ volumeId: label, files });
}

/** A `#cloud-config` document for the account and its ways in. */
export function userData({ user, sshKeys = [], passwordHash, password }: CloudInit): string {
  if (user !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$/.test(user)) {
    throw invalid("user", user, "is no name for an account");
  }
  for (const key of sshKeys) checkKey(key);
  if (passwordHash !== undefined && !/^\$[0-9a-z]+\$[^:\s]+$/i.test(passwordHash)) {
    throw invalid("password-hash", passwordHash, "is no hash as in /etc/shadow ($6$…)");
  }
  if (password !== undefined && /[\p{Cc}]/u.test(password)) {
    throw invalid("password", "…", "has control characters");
  }
  const hasPassword = passwordHash !== undefined || password !== undefined;
  const keys = sshKeys.length > 0 ? { ssh_authorized_keys: sshKeys } : {};
  const account =
    user === undefined
      ? {
          ...keys,
          ...(hasPassword && { password: passwordHash ?? password, chpasswd: { expire: false } }),
        }
      : {
          users: [
            "default",
            {
              name: user,
              shell: "/bin/bash",
              sudo: "ALL=(ALL) NOPASSWD:ALL",
              ...keys,
              ...(hasPassword && { lock_passwd: false }),
              ...(passwordHash !== undefined && { passwd: passwordHash }),
              ...(password !== undefined && { plain_text_passwd: password }),
            },
          ],
        };
  return `#cloud-config\n${JSON.stringify(account, undefined, 2)}\n`;
}

/** Meta data: which instance this is, and what it is called. */
export function metaData({ hostname }: CloudInit, instanceId: string): string {
  if (hostname !== undefined && !/^(?!-)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/i.test(hostname)) {
    throw invalid("hostname", hostname, "is no name of a host");
  }
  const values = {
    "instance-id": instanceId,
    ...(hostname !== undefined && { "local-hostname": hostname }),
  };
  return `${JSON.stringify(values, undefined, 2)}\n`;
}

/** The keys of a file such as `id_ed25519.pub` or `authorized_keys`: lines that are not blank nor remarks. */
export function readKeys(text: string): string[] {
  const lines = text.split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

function checkKey(key: string): void {
  if (key.includes("PRIVATE KEY")) {
    throw invalid("ssh-key", "…", "is a private key: name the file that ends in .pub");
  }
  if (/^(?:[^\s]+ )?(?:ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]{16,}(?: .*)?$/.test(key)) return;
  throw invalid("ssh-key", key.slice(0, 40), "is no public key of SSH");
}

function refuseContradictions(options: CloudInit): void {
  const { userData: whole, metaData: meta, hostname, password, passwordHash } = options;
  const parts = (["user", "sshKeys", "password", "passwordHash"] as const).filter(
    (name) => options[name] !== undefined,
  );
  if (whole !== undefined && parts.length > 0) {
    throw invalid(
      "user-data",
      "",
      "is given as a file: accounts, keys and passwords belong in there",
    );
  }
  if (meta !== undefined && hostname !== undefined) {
    throw invalid("meta-data", "", "is given as a file: the hostname belongs in there");
  }
  if (password !== undefined && passwordHash !== undefined) {
    throw invalid("password", "", "is given twice, in the clear and as a hash");
  }
}

function invalid(field: string, value: string, why: string): PlatterError {
  const named = value === "" ? "" : ` "${value}"`;
  return new PlatterError("E_INVALID_ARGUMENT", `cloud-init: ${field}${named} ${why}.`, {
    field,
    value,
  });
}

const encode = (text: string): Uint8Array => new TextEncoder().encode(text);
