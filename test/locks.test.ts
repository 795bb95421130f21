import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fileProvider, systemLibc } from "../src/host/index.ts";
import type { LockMode } from "../src/storage/index.ts";
import { havePrograms, requireInCi, run, startDaemon, temporaryDirectory } from "./host-peer.ts";
import type { Running } from "./host-peer.ts";

const peers = ["qemu-img", "qemu-io", "qemu-storage-daemon"] as const;
const able = havePrograms(...peers) && systemLibc().libc !== undefined;
requireInCi(...peers);

const provider = fileProvider();
const hint = (path: string): string => `\nIs another process using the image [${path}]?`;

/** QEMU's words in the refusal of an opening; "granted" when it is none. */
async function outcome(path: string, writable: boolean, lock: LockMode): Promise<string> {
  try {
    await (await provider.open(path, { writable, lock })).close();
    return "granted";
  } catch (error) {
    const { code, details } = error as { code: string; details: { qemu: string } };
    expect(code).toBe("E_LOCKED");
    return details.qemu;
  }
}

describe.skipIf(!able)("while qemu-storage-daemon has the image for writing", () => {
  const directory = temporaryDirectory();
  const image = `${directory}/held.qcow2`;
  let daemon: Running;

  beforeAll(async () => {
    await run("qemu-img", ["create", "-q", "-f", "qcow2", image, "4M"]);
    daemon = await startDaemon(
      [
        "--blockdev",
        `driver=file,node-name=f,filename=${image}`,
        "--blockdev",
        "driver=qcow2,file=f,node-name=q",
        "--nbd-server",
        `addr.type=unix,addr.path=${directory}/nbd.sock`,
        "--export",
        "type=nbd,id=e,node-name=q,writable=on",
      ],
      directory,
    );
  });
  afterAll(() => daemon?.stop());

  test.each<[string, boolean, LockMode, string]>([
    ["a reader is refused", false, "exclusive", `Failed to get shared "write" lock${hint(image)}`],
    ["a writer is refused", true, "exclusive", `Failed to get "write" lock${hint(image)}`],
    ["a shared reader is let in", false, "shared", "granted"],
    ["who takes no lock is let in", false, "none", "granted"],
  ])("%s", async (_, writable, lock, expected) => {
    expect(await outcome(image, writable, lock)).toBe(expected);
  });

  test("our refusals are qemu-img's own", async () => {
    const info = await run("qemu-img", ["info", image]);
    expect(info.stderr).toBe(
      `qemu-img: Could not open '${image}': ${await outcome(image, false, "exclusive")}\n`,
    );
    const resize = await run("qemu-img", ["resize", image, "8M"]);
    expect(resize.stderr).toBe(
      `qemu-img: Could not open '${image}': ${await outcome(image, true, "exclusive")}\n`,
    );
  });

  test("it cannot be created anew, and nothing is left behind", async () => {
    const words = await provider.create(image).then(
      () => "created",
      (error: { details: { qemu: string } }) => error.details.qemu,
    );
    const create = await run("qemu-img", ["create", "-q", "-f", "qcow2", image, "1M"]);
    expect(create.stderr).toBe(`qemu-img: ${image}: ${words}\n`);
    const { stdout } = await run("ls", ["-A", directory]);
    expect(stdout).toBe("held.qcow2\nnbd.sock\n");
  });
});

describe.skipIf(!able)("while it has the image for reading", () => {
  const directory = temporaryDirectory();
  const image = `${directory}/read.qcow2`;
  let daemon: Running;

  beforeAll(async () => {
    await run("qemu-img", ["create", "-q", "-f", "qcow2", image, "4M"]);
    daemon = await startDaemon(
      [
        "--blockdev",
        `driver=file,node-name=f,filename=${image},read-only=on`,
        "--blockdev",
        "driver=qcow2,file=f,node-name=q,read-only=on",
        "--nbd-server",
        `addr.type=unix,addr.path=${directory}/nbd.sock`,
        "--export",
        "type=nbd,id=e,node-name=q",
      ],
      directory,
    );
  });
  afterAll(() => daemon?.stop());

  test("readers are let in, writers are not", async () => {
    expect(await outcome(image, false, "exclusive")).toBe("granted");
    expect(await outcome(image, true, "exclusive")).toBe(
      `Failed to get "write" lock${hint(image)}`,
    );
  });
});

describe.skipIf(!able)("while we have the image", () => {
  const directory = temporaryDirectory();
  const image = `${directory}/ours.qcow2`;
  const info = ["qemu-img", "info", image];
  const write = ["qemu-io", "-c", "write 0 512", image];
  const read = ["qemu-io", "-r", "-c", "read 0 512", image];

  beforeAll(() => run("qemu-img", ["create", "-q", "-f", "qcow2", image, "4M"]));

  test.each<[string, boolean, LockMode, readonly string[], string]>([
    ["for writing, info is refused", true, "exclusive", info, 'shared "write"'],
    ["for writing, a write is refused", true, "exclusive", write, '"write"'],
    ["for writing, info -U is let in", true, "exclusive", ["qemu-img", "info", "-U", image], ""],
    ["for reading, a write is refused", false, "exclusive", write, '"write"'],
    ["for reading, a reader is let in", false, "exclusive", read, ""],
    ["for shared reading, a write is let in", false, "shared", write, ""],
    ["without a lock, a write is let in", true, "none", write, ""],
  ])("%s", async (_, writable, lock, [program, ...args], refusal) => {
    const file = await provider.open(image, { writable, lock });
    const { code, stdout, stderr } = await run(program ?? "", args);
    await file.close();
    if (refusal === "") {
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    } else {
      expect(code).toBe(1);
      expect(stdout + stderr).toContain(`Failed to get ${refusal} lock${hint(image)}`);
    }
  });

  test("closing gives it back", async () => {
    await (await provider.open(image, { writable: true })).close();
    expect((await run("qemu-io", ["-c", "write 0 512", image])).code).toBe(0);
  });
});
