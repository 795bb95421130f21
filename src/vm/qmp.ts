/**
 * A client of the QEMU Machine Protocol: JSON, one message a line, over a Unix socket. Everything that QEMU says
 * is checked before it is used. docs/interop/qmp-spec.rst in QEMU's source describes the protocol.
 */
import { createConnection, type Socket } from "node:net";
import { PlatterError, throwIfAborted } from "../errors.ts";
import { Shape } from "./shape.ts";

/** Something that happened in QEMU. */
export interface QmpEvent {
  /** Such as `SHUTDOWN` or `BLOCK_IO_ERROR`. */
  readonly name: string;
  /** The event's data; an object without members where it has none. */
  readonly data: Shape;
}

/** How to connect. */
export interface QmpOptions {
  /** Milliseconds that connecting, and each command, may take; 10 seconds if not given. */
  readonly timeout?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** QEMU's answer to `query-block` and the like is some kilobytes: a line far longer is none of its. */
const LONGEST_LINE = 16 * 2 ** 20;
const PATIENCE = 10_000;

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** A connection to one QEMU. It talks to one client at a time, so close it soon. */
export class QmpClient implements AsyncDisposable {
  /** QEMU's version, such as "7.2.22". */
  readonly version: string;
  readonly #channel: Channel;
  readonly #timeout: number;

  private constructor(channel: Channel, version: string, timeout: number) {
    this.#channel = channel;
    this.version = version;
    this.#timeout = timeout;
  }

  /**
   * Connects to the socket at `path`, waits for the greeting and enters command mode.
   *
   * @throws `E_NOT_FOUND` where nobody listens, `E_EXTERNAL` if QEMU does not answer in time or says what it
   * should not, `E_ABORTED`
   */
  static async connect(path: string, options: QmpOptions = {}): Promise<QmpClient> {
    const { timeout = PATIENCE, signal } = options;
    throwIfAborted(signal);
    const channel = new Channel(path, signal);
    try {
      const greeting = await within(channel.greeting, timeout, `${path}: QEMU's greeting`);
      const version = greeting.object("QMP").object("version").object("qemu");
      const client = new QmpClient(
        channel,
        ["major", "minor", "micro"].map((part) => version.count(part)).join("."),
        timeout,
      );
      await client.execute("qmp_capabilities");
      return client;
    } catch (error) {
      channel.close();
      throw error;
    }
  }

  /**
   * Carries out a command and returns what QEMU says, which the caller has to check.
   *
   * @throws `E_EXTERNAL` with QEMU's words if it fails, or if there is no answer in time
   */
  async execute(command: string, args?: Readonly<Record<string, unknown>>): Promise<unknown> {
    return within(this.#channel.send(command, args), this.#timeout, `QEMU's answer to ${command}`);
  }

  /** Calls `listener` with each event until the returned function is called. */
  onEvent(listener: (event: QmpEvent) => void): () => void {
    this.#channel.listeners.add(listener);
    return () => this.#channel.listeners.delete(listener);
  }

  /** Resolves when QEMU has ended or closed the connection. */
  get ended(): Promise<void> {
    return this.#channel.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#channel.close();
    await this.#channel.ended;
  }
}

/** The socket, cut into messages, and who waits for which. */
class Channel {
  readonly greeting: Promise<Shape>;
  readonly ended: Promise<void>;
  readonly listeners = new Set<(event: QmpEvent) => void>();
  readonly #socket: Socket;
  readonly #waiting = new Map<string, Waiting>();
  readonly #path: string;
  #greeted: Waiting | undefined;
  #failure: PlatterError | undefined;
  #text = "";
  #lastId = 0;

  constructor(path: string, signal: AbortSignal | undefined) {
    this.#path = path;
    this.greeting = new Promise<unknown>((resolve, reject) => {
      this.#greeted = { resolve, reject };
    }).then((value) => new Shape(value, "QEMU's greeting"));
    const abort = (): void =>
      this.#fail(new PlatterError("E_ABORTED", "The operation was cancelled."));
    signal?.addEventListener("abort", abort, { once: true });
    this.#socket = createConnection(path);
    this.#socket.setEncoding("utf8");
    this.ended = new Promise((resolve) => {
      this.#socket.once("close", () => {
        signal?.removeEventListener("abort", abort);
        this.#fail(external(`${path}: QEMU has ended, or closed the connection.`, path));
        resolve();
      });
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) =>
      this.#fail(unreachable(path, error)),
    );
    this.#socket.on("data", (text: string) => this.#receive(text));
  }

  async send(
    command: string,
    args: Readonly<Record<string, unknown>> | undefined,
  ): Promise<unknown> {
    if (this.#failure !== undefined) throw this.#failure;
    const id = `platter-${++this.#lastId}`;
    const message = { execute: command, id, ...(args && { arguments: args }) };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#socket.write(`${JSON.stringify(message)}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    try {
      for (const line of lines) if (line.trim() !== "") this.#message(line);
      if (this.#text.length > LONGEST_LINE) throw new SyntaxError("a line without an end");
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#fail(external(`${this.#path}: what answers there is no QEMU: ${why}`, this.#path));
    }
  }

  #message(line: string): void {
    const value: unknown = JSON.parse(line);
    const message = new Shape(value, "QEMU's message");
    if (message.has("event")) {
      const data = message.has("data") ? message.object("data") : new Shape({}, "data");
      const event = { name: message.text("event"), data };
      for (const listener of this.listeners) listener(event);
    } else if (message.has("QMP")) {
      this.#greeted?.resolve(value);
    } else {
      this.#answer(message);
    }
  }

  /** An answer without an id is one to something that QEMU could not read: nobody waits for it by name. */
  #answer(message: Shape): void {
    const id = message.optionalText("id") ?? "";
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (!message.has("error")) waiting?.resolve(message.any("return"));
    else {
      const error = message.object("error");
      waiting?.reject(external(`QEMU: ${error.text("desc")}`, error.text("class")));
    }
  }

  #fail(error: PlatterError): void {
    this.#failure ??= error;
    this.#greeted?.reject(this.#failure);
    for (const { reject } of this.#waiting.values()) reject(this.#failure);
    this.#waiting.clear();
    this.#socket.destroy();
  }
}

/** The result of `task`, or `E_EXTERNAL` when it takes longer than `milliseconds`. */
async function within<Result>(
  task: Promise<Result>,
  milliseconds: number,
  what: string,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(external(`${what} did not come within ${milliseconds / 1000} seconds.`, what)),
      milliseconds,
    );
  });
  try {
    return await Promise.race([task, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unreachable(path: string, error: NodeJS.ErrnoException): PlatterError {
  const nobody = error.code === "ENOENT" || error.code === "ECONNREFUSED";
  return new PlatterError(
    nobody ? "E_NOT_FOUND" : "E_EXTERNAL",
    nobody ? `${path}: no QEMU listens there.` : `${path}: ${error.message}`,
    { file: path, cause: error },
  );
}

const external = (message: string, value: string): PlatterError =>
  new PlatterError("E_EXTERNAL", message, { value });
