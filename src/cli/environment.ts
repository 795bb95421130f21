/** A stream that text goes to. */
export interface Output {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Width of the terminal in characters. */
  readonly columns: number;
  /** The reader has gone; writing has no effect any more. */
  readonly closed: boolean;
  /** Resolves when the reader has caught up. */
  drained(): Promise<void>;
}

/** Signals that the command line listens to. */
export type SignalName = "SIGHUP" | "SIGINT" | "SIGTERM" | "SIGUSR1";

/** The user's terminal as streams, to be joined to something else. */
export interface Terminal {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
  /** Whether somebody types at `input`. */
  readonly isTerminal: boolean;
}

/** What a run of the program gets from the process around it. */
export interface Environment {
  readonly stdout: Output;
  readonly stderr: Output;
  terminal(): Terminal;
  readonly variables: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since some moment; never goes back. */
  readonly now: () => number;
  /** Calls `listener` on each such signal until the returned function is called. */
  onSignal(name: SignalName, listener: () => void): () => void;
  /** Ends the process at once. */
  exit(code: number): void;
}
