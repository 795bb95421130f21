/**
 * Peer programs in tests: `qemu-img` and others, from the table in tools/peers.ts.
 *
 * ```ts
 * describePeer("qemu-img@7.2", "create", (qemuImg) => {
 *   it("writes what qemu-img writes", async () => {
 *     await qemuImg.run(["create", "-f", "qcow2", "theirs", "1G"], { cwd: directory });
 *     const { status, stderr } = await qemuImg.attempt(["check", "ours"], { cwd: directory });
 *     expect(status, stderr).toBe(0);
 *   });
 * });
 *
 * describePeer(["qemu-storage-daemon", "qemu-img"], "locks", (daemon, qemuImg) => {
 *   it("is refused", async () => {
 *     await using running = daemon.start(["--blockdev", "…"]);
 *     …
 *   });
 * });
 * ```
 *
 * A suite whose peer is missing, or of another version than it asks for, is skipped and says so in
 * its title; under CI=true it fails. Peers run with `LC_ALL=C`, and are killed at the end of their
 * time limit.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { findPeer, type PeerName, peers } from "../tools/peers.ts";

/** How a peer is run. */
export interface RunOptions {
  readonly cwd?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** What the program reads from its standard input, which is empty otherwise. */
  readonly input?: string | Uint8Array;
  /** Milliseconds after which the program is killed; one minute unless said. */
  readonly timeout?: number;
}

/** What a peer said. */
export interface Outcome {
  /** Exit status; null when a signal ended the program. */
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A peer that runs until it is disposed of: `await using daemon = peer.start(…)`. */
export interface RunningPeer extends AsyncDisposable {
  readonly process: ChildProcess;
}

/** An installed peer program. */
export interface Peer {
  readonly name: PeerName;
  readonly path: string;
  /** As the program states it, such as "7.2.22". */
  readonly version: string;
  /** Runs the program. Rejects, with what it said, unless its exit status is 0. */
  run(args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Runs the program, whatever its exit status will be. */
  attempt(args: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Starts the program in the background. Disposing of it kills it and waits for its end. */
  start(args: readonly string[], options?: Pick<RunOptions, "cwd" | "env">): RunningPeer;
}

/** A peer by name, or by name and the version its own must start with: "qemu-img@7.2". */
export type PeerNeed = PeerName | `${PeerName}@${string}`;

const known = new Map<PeerName, Peer | undefined>();

/** The peer, or undefined when it is not installed. */
export function peer(name: PeerName): Peer | undefined {
  if (!known.has(name)) {
    const path = findPeer(name);
    known.set(name, path === undefined ? undefined : installed(name, path));
  }
  return known.get(name);
}

/** The peer; throws when it is not installed. */
export function requirePeer(name: PeerName): Peer {
  const found = peer(name);
  if (found === undefined) throw new Error(lack(name));
  return found;
}

/**
 * A suite that needs peers. `body` gets them in the order of `needs`. It is not called when one is
 * missing: the suite then is a single test, skipped, or failing under CI=true.
 */
export function describePeer(
  needs: PeerNeed | readonly PeerNeed[],
  title: string,
  body: (...peers: Peer[]) => void,
): void {
  const found: Peer[] = [];
  const lacks: string[] = [];
  for (const need of typeof needs === "string" ? [needs] : needs) {
    const [name, version = ""] = need.split("@") as [PeerName, string?];
    const candidate = peer(name);
    if (candidate === undefined) lacks.push(lack(name));
    else if (!isVersion(candidate.version, version)) {
      lacks.push(`needs ${name} ${version}, found ${candidate.version}`);
    } else found.push(candidate);
  }
  if (lacks.length === 0) {
    describe(title, () => body(...found));
  } else {
    const reason = lacks.join("; ");
    describe(title, () => {
      it.skipIf(process.env["CI"] !== "true")(reason, () => {
        expect.unreachable(reason);
      });
    });
  }
}

const lack = (name: PeerName): string =>
  `needs ${name} (Debian: apt-get install ${peers[name].package})`;

/** Whether `actual` is `wanted` or a release of it: "7.2.22" of "7.2", but not "7.20" of "7.2". */
const isVersion = (actual: string, wanted: string): boolean =>
  wanted === "" || actual === wanted || actual.startsWith(`${wanted}.`);

function installed(name: PeerName, path: string): Peer {
  const environment = (env: RunOptions["env"]): NodeJS.ProcessEnv => ({
    ...process.env,
    LC_ALL: "C",
    ...env,
  });

  const attempt: Peer["attempt"] = (args, { cwd, env, input, timeout = 60_000 } = {}) =>
    new Promise((resolve, reject) => {
      const options = {
        cwd,
        env: environment(env),
        timeout,
        killSignal: "SIGKILL",
        maxBuffer: 256 * 1024 * 1024,
      } as const;
      const child = execFile(path, [...args], options, (error, stdout, stderr) => {
        if (error === null) resolve({ status: 0, stdout, stderr });
        else if (typeof error.code === "number") resolve({ status: error.code, stdout, stderr });
        else if (error.killed === true || typeof error.code === "string") {
          reject(new Error(`${name} ${args.join(" ")}: ${error.message}`, { cause: error }));
        } else resolve({ status: null, stdout, stderr });
      });
      // A program that ends without reading what it is given closes the pipe: no error of ours.
      child.stdin?.on("error", () => undefined);
      child.stdin?.end(input);
    });

  return {
    name,
    path,
    get version() {
      const { stdout, stderr } = spawnSync(path, [peers[name].version], { encoding: "utf8" });
      return /\d+(?:\.\d+)+/.exec(`${stdout}${stderr}`)?.[0] ?? "";
    },
    attempt,
    async run(args, options) {
      const outcome = await attempt(args, options);
      if (outcome.status === 0) return outcome;
      const { status, stdout, stderr } = outcome;
      throw new Error(`${name} ${args.join(" ")}: exit status ${status}\n${stdout}${stderr}`);
    },
    start(args, { cwd, env } = {}) {
      const child = spawn(path, args, { cwd, env: environment(env), stdio: "pipe" });
      return {
        process: child,
        async [Symbol.asyncDispose]() {
          if (child.exitCode !== null || child.signalCode !== null) return;
          const exit = once(child, "exit");
          child.kill("SIGKILL");
          await exit;
        },
      };
    },
  };
}
