/** Our QMP client, and the trial for KVM, with a real QEMU. */
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { probeAcceleration } from "../../src/vm/acceleration.ts";
import {
  queryBlockStatistics,
  queryStatus,
  quit,
  resume,
  screenDump,
} from "../../src/vm/qmp-commands.ts";
import { QmpClient } from "../../src/vm/qmp.ts";
import { describePeer } from "../peers.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-qmp-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const path = join(directory, "qmp");

/** Connects as soon as QEMU listens. */
async function connect(): Promise<QmpClient> {
  for (;;) {
    try {
      return await QmpClient.connect(path);
    } catch (error) {
      if ((error as { code?: string }).code !== "E_NOT_FOUND") throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

describePeer("qemu-system-x86_64", "QMP with a real QEMU", (qemu) => {
  it("asks, hears of events, takes a picture and ends QEMU", async () => {
    writeFileSync(join(directory, "disk"), new Uint8Array(2 ** 20));
    await using running = qemu.start(
      [
        [
          "-machine",
          "pc,accel=tcg",
          "-m",
          "64",
          "-nodefaults",
          "-S",
          "-display",
          "none",
          "-vga",
          "std",
        ],
        ["-blockdev", "driver=file,filename=disk,node-name=node0"],
        ["-device", "virtio-blk-pci,drive=node0,id=disk0"],
        ["-qmp", `unix:${path},server=on,wait=off`],
      ].flat(),
      { cwd: directory },
    );
    await using client = await connect();
    expect(qemu.version).toBe(client.version);
    expect(await queryStatus(client)).toEqual({ status: "prelaunch", running: false });
    expect(await queryBlockStatistics(client)).toMatchObject([
      { device: "disk0", writeBytes: 0, highestWrite: 0 },
    ]);
    await expect(client.execute("no-such-command")).rejects.toThrow(
      "QEMU: The command no-such-command has not been found",
    );
    const names: string[] = [];
    client.onEvent(({ name }) => names.push(name));
    await resume(client);
    expect(await queryStatus(client)).toEqual({ status: "running", running: true });
    const picture = join(directory, "screen.png");
    await screenDump(client, picture);
    expect(readFileSync(picture).subarray(1, 4).toString()).toBe("PNG");
    await quit(client);
    await client.ended;
    expect(names).toContain("RESUME");
    expect(names).toContain("SHUTDOWN");
    expect(running.process.pid).toBeDefined();
  });

  it("runs the trial's guest to its end: under TCG, as there may be no KVM", async () => {
    const stand = join(directory, "qemu");
    writeFileSync(
      stand,
      `#!/bin/sh\nfor word; do shift; case $word in pc,accel=kvm) word=pc,accel=tcg;; host) word=max;; esac; set -- "$@" "$word"; done\nexec ${qemu.path} "$@"\n`,
    );
    chmodSync(stand, 0o755);
    const result = await probeAcceleration({ qemu: stand, device: "/dev/null", timeout: 60_000 });
    expect(result).toEqual({ kind: "kvm" });
  });

  it("finds out about KVM here, one way or the other", async () => {
    const result = await probeAcceleration({ qemu: qemu.path });
    if (result.kind === "tcg") expect(result.reason).toContain("/dev/kvm");
    else expect(result).toEqual({ kind: "kvm" });
  });
});
