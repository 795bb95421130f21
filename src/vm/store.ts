/**
 * Where guests are remembered: a directory for each under the user's state directory, with its description, and
 * the sockets and logs of its run. Nothing else knows of a guest: who removes the directory has forgotten it.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { PlatterError } from "../errors.ts";
import { readGuest, writeGuest, type Guest } from "./guest-file.ts";
import { checkName } from "./machine.ts";

/** The files of one guest. */
export interface GuestPaths {
  readonly directory: string;
  readonly description: string;
  readonly qmpSocket: string;
  readonly serialSocket: string;
  readonly serialLog: string;
  readonly pidFile: string;
  readonly seed: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly uefiVariables: string;
}

/** A Unix socket's path has at most this many bytes on Linux, without the one that ends it. */
const LONGEST_SOCKET = 107;

/** The directory for guests by the XDG rules: `$XDG_STATE_HOME/platter/vm`. */
export function stateDirectory(variables: Readonly<Record<string, string | undefined>>): string {
  const given = variables["XDG_STATE_HOME"];
  // A relative one is to be ignored, say the rules.
  const state =
    given !== undefined && given.startsWith("/")
      ? given
      : join(variables["HOME"] ?? homedir(), ".local/state");
  return join(state, "platter/vm");
}

/** The guests of one user. */
export class GuestStore {
  readonly #directory: string;

  /** @param directory see {@link stateDirectory}; made when it is needed */
  constructor(directory: string) {
    this.#directory = directory;
  }

  /** The names of all guests, sorted. */
  async names(): Promise<string[]> {
    try {
      const entries = await readdir(this.#directory, { withFileTypes: true });
      const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
      return names.filter((name) => !name.startsWith(".")).toSorted();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw this.#ioError(error);
    }
  }

  /** The guest's files. Throws `E_INVALID_ARGUMENT` for what is no name, `E_LIMIT` for too long a path. */
  paths(name: string): GuestPaths {
    checkName(name);
    const directory = join(this.#directory, name);
    const at = (file: string): string => join(directory, file);
    const serialSocket = at("serial");
    if (Buffer.byteLength(serialSocket) > LONGEST_SOCKET) {
      throw new PlatterError(
        "E_LIMIT",
        `${serialSocket} is too long for a socket (${LONGEST_SOCKET} bytes); choose a shorter name or XDG_STATE_HOME.`,
        {
          file: serialSocket,
          value: Buffer.byteLength(serialSocket),
        },
      );
    }
    return {
      directory,
      description: at("guest.json"),
      qmpSocket: at("qmp"),
      serialSocket,
      serialLog: at("serial.log"),
      pidFile: at("qemu.pid"),
      seed: at("seed.iso"),
      kernel: at("kernel"),
      initrd: at("initrd"),
      uefiVariables: at("uefi-variables.fd"),
    };
  }

  /** Whether there is such a guest. */
  async has(name: string): Promise<boolean> {
    checkName(name);
    return (await this.names()).includes(name);
  }

  /**
   * Takes the name for a new guest: its directory is there from now on.
   *
   * @throws `E_EXISTS` if it is in use
   */
  async reserve(name: string): Promise<GuestPaths> {
    const paths = this.paths(name);
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await mkdir(paths.directory, { mode: 0o700 });
      return paths;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw this.#ioError(error);
      throw nameInUse(name);
    }
  }

  /** Remembers what the guest is made of, in one step. */
  async write(guest: Guest): Promise<void> {
    const { description } = this.paths(guest.machine.name);
    // It may hold nothing secret, but the names of a user's files are not for others.
    await writeFile(`${description}.new`, writeGuest(guest), { mode: 0o600 });
    await rename(`${description}.new`, description);
  }

  /**
   * What the guest is made of.
   *
   * @throws `E_NOT_FOUND` if there is no such guest, `E_CORRUPT` if its description is damaged
   */
  async read(name: string): Promise<Guest> {
    const { description } = this.paths(name);
    let text: string;
    try {
      text = await readFile(description, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw this.#ioError(error);
      throw new PlatterError(
        "E_NOT_FOUND",
        `There is no guest called "${name}"; platter vm list shows those that there are.`,
        { value: name },
      );
    }
    return readGuest(text, description, name);
  }

  /** Forgets the guest, and what is in its directory. */
  async remove(name: string): Promise<void> {
    await rm(this.paths(name).directory, { recursive: true, force: true });
  }

  #ioError(cause: unknown): PlatterError {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new PlatterError("E_IO", `${this.#directory}: ${why}`, { file: this.#directory, cause });
  }
}

/** The error for a name that another guest has. */
export const nameInUse = (name: string): PlatterError =>
  new PlatterError(
    "E_EXISTS",
    `There is a guest called "${name}" already; choose another name, or remove it with platter vm delete.`,
    { value: name },
  );
