/** The guest's serial console on a terminal. */
import { createConnection } from "node:net";
import { PlatterError } from "../errors.ts";
import type { GuestStore } from "./store.ts";

/** Where the user is. */
export interface Terminal {
  readonly input: NodeJS.ReadableStream & {
    setRawMode?(raw: boolean): unknown;
    readonly isTTY?: boolean;
  };
  readonly output: NodeJS.WritableStream;
}

/** How it ended: the user has detached, or the guest's QEMU has ended. */
export type ConsoleEnd = "detached" | "ended";

/** Ctrl and ], as in virsh and telnet. */
const DETACH = 0x1d;
/** So much of what was said before is shown first. */
const LOOK_BACK = 2048;

/**
 * Joins the terminal to the guest's serial port until the user types Ctrl and ], `signal` is aborted, or the guest ends.
 *
 * @param before what was said before; the end of it is shown
 * @throws `E_NOT_FOUND` if the guest is off or has no such console
 */
export async function attachConsole(
  store: GuestStore,
  name: string,
  { input, output }: Terminal,
  options: { readonly before?: string | undefined; readonly signal?: AbortSignal | undefined } = {},
): Promise<ConsoleEnd> {
  const { serialSocket } = store.paths(name);
  const { signal } = options;
  const socket = createConnection(serialSocket);
  return new Promise<ConsoleEnd>((resolve, reject) => {
    let end: ConsoleEnd = "ended";
    const detach = (): void => {
      end = "detached";
      socket.destroy();
    };
    const typed = (data: Buffer | string): void => {
      const bytes = Buffer.from(data);
      const at = bytes.indexOf(DETACH);
      if (at === -1) socket.write(bytes);
      else {
        socket.write(bytes.subarray(0, at));
        detach();
      }
    };
    socket.once("connect", () => {
      output.write(Buffer.from((options.before ?? "").slice(-LOOK_BACK), "latin1"));
      input.setRawMode?.(true);
      input.on("data", typed);
      input.resume();
      signal?.addEventListener("abort", detach, { once: true });
    });
    socket.on("data", (data) => output.write(data));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNRESET" || error.code === "EPIPE") return;
      const message = `"${name}" has no console that can be reached now.`;
      reject(new PlatterError("E_NOT_FOUND", message, { file: serialSocket, cause: error }));
    });
    socket.once("close", () => {
      input.off("data", typed);
      input.pause();
      input.setRawMode?.(false);
      signal?.removeEventListener("abort", detach);
      resolve(end);
    });
  });
}
