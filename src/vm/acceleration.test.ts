import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { probeAcceleration } from "./acceleration.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-acceleration-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const device = join(directory, "kvm");
writeFileSync(device, "");

/** A program in place of QEMU. */
function program(name: string, script: string): string {
  const path = join(directory, name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe("acceleration", () => {
  it("is KVM when the trial's guest has had its say", async () => {
    const qemu = program("works", 'case "$*" in *accel=kvm*) exit 33;; esac; exit 1');
    expect(await probeAcceleration({ qemu, device })).toEqual({ kind: "kvm" });
  });

  it.each([
    ["hangs", "exec sleep 60", "did not end within 0.2 seconds"],
    ["fails", "echo one >&2; echo no such thing >&2; exit 1", "QEMU cannot use it: no such thing"],
    ["ends", "exit 0", "QEMU cannot use it"],
  ])("is TCG when the trial %s", async (name, script, reason) => {
    const result = await probeAcceleration({ qemu: program(name, script), device, timeout: 200 });
    expect(result).toEqual({ kind: "tcg", reason: expect.stringContaining(reason) as string });
  });

  it("is TCG without the device, and no program is run for that", async () => {
    const missing = join(directory, "none");
    const result = await probeAcceleration({ qemu: "/nonexistent", device: missing });
    expect(result).toEqual({ kind: "tcg", reason: `there is no ${missing}` });
  });

  it.skipIf(process.getuid?.() === 0)("is TCG with a device for others", async () => {
    const forbidden = join(directory, "forbidden");
    writeFileSync(forbidden, "", { mode: 0 });
    const result = await probeAcceleration({ qemu: "/nonexistent", device: forbidden });
    expect(result).toMatchObject({
      kind: "tcg",
      reason: expect.stringContaining("may not be used") as string,
    });
  });

  it("needs a QEMU", async () => {
    const missing = probeAcceleration({ qemu: "/nonexistent/qemu", device });
    await expect(missing).rejects.toMatchObject({ code: "E_NOT_FOUND" });
  });
});
