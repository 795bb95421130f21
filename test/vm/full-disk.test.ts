/** A host whose disk is full while a guest is installed: the guest waits, the user is told, and all goes on. */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { guestParts, initHead, initrd } from "./guest-parts.ts";
import { at, guest, heard, platter, until } from "./kit.ts";

const parts = guestParts();
const program = join(import.meta.dirname, "../../bin/platter.js");
/** A mount of one's own needs user namespaces, or rights. */
const canMount =
  spawnSync("unshare", ["-Urm", "sh", "-c", "mount -t tmpfs none /mnt"]).status === 0;

const writer = `${initHead}
until [ -b /dev/vda ]; do sleep 0.1; done
echo WRITES
dd if=/dev/urandom of=/dev/vda bs=1M count=24 oflag=direct 2> /dev/null && echo ALL IS WRITTEN
sync
poweroff -f
`;

describePeer("qemu-system-x86_64", "platter install on a full disk", () => {
  describe.skipIf(parts === undefined || !canMount)("with Debian's packages", () => {
    it("pauses the guest, says so, and goes on with more room", { timeout: 240_000 }, async () => {
      const files = [{ name: "init", contents: Buffer.from(writer), mode: 0o755 }];
      writeFileSync(at("initrd"), initrd(parts!, files));
      const install = [
        ["install", "--name", "full", "--memory", "256", "--network", "none"],
        ["--disk", "path=/mnt/disk.qcow2,size=64M,cache=writeback"],
        ["--location", `kernel=${parts!.kernel},initrd=${at("initrd")}`],
        ["--extra-args", "console=ttyS0 quiet rdinit=/init", "--noautoconsole", "--noreboot"],
        ["--wait", "3"],
      ].flat();
      // What makes room is in the same namespace: it does so when it is told.
      const script = `mount -t tmpfs -o size=8M none /mnt && mkfifo "$FIFO" && { (read word < "$FIFO"; mount -o remount,size=64M /mnt) & exec "$@"; }`;
      const child = spawn(
        "unshare",
        ["-Urm", "sh", "-c", script, "sh", process.execPath, program, ...install],
        {
          env: { ...process.env, XDG_STATE_HOME: at("state"), FIFO: at("room") },
          stdio: ["ignore", "pipe", "pipe"],
        },
      );
      let said = "";
      child.stdout.on("data", (text: Buffer) => (said += text.toString()));
      child.stderr.on("data", (text: Buffer) => (said += text.toString()));
      const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
      await until("it is paused", () => guest("full")?.state === "io-error");
      await until("it is said", () => said.includes("full is paused: a disk could not be written"));
      expect(said).toContain("Make room, then platter vm resume full");
      // Without more room it is paused again at once.
      expect(platter("vm", "resume", "full").code).toBe(0);
      await until("it is paused again", () => guest("full")?.state === "io-error");
      writeFileSync(at("room"), "now\n");
      await until("it goes on", () => {
        platter("vm", "resume", "full");
        return guest("full")?.state !== "io-error";
      });
      await heard("full", "ALL IS WRITTEN");
      expect(await ended, said).toBe(0);
    });
  });
});
