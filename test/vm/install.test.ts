/** From an empty file to a guest that runs from it: `platter install` and `platter vm` with a real QEMU. */
import { existsSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { bootSector, guestParts, initHead, initrd } from "./guest-parts.ts";
import { at, begin, guest, guests, heard, json, platter } from "./kit.ts";
import { expectLibvirtTakes, libvirtPeers } from "./libvirt.ts";

const MiB = 2 ** 20;

const parts = guestParts();

/** The installer: it reads the seed, makes a filesystem, and leaves a boot sector that speaks. */
const installer = `${initHead}
echo INSTALLER begins
until [ -b /dev/vda ] && [ -b /dev/vdb ]; do sleep 0.1; done
mkdir /seed
mount -t iso9660 -o ro /dev/vdb /seed
mke2fs /dev/vda && mount -t ext4 /dev/vda /mnt
cp /seed/* /mnt
dd if=/dev/urandom of=/mnt/random bs=1M count=48
umount /mnt
dd if=/boot.bin of=/dev/vda conv=notrunc
sync
echo INSTALLER ends
poweroff -f
`;

describePeer(
  ["qemu-system-x86_64", "qemu-img", "e2fsck", "debugfs", ...libvirtPeers],
  "platter install",
  (_qemu, qemuImg, e2fsck, debugfs, validate, _xmllint, virsh) => {
    describe.skipIf(parts === undefined)("by a kernel, with Debian's packages", () => {
      it(
        "fills a preallocated disk, and the guest then starts from it",
        { timeout: 300_000 },
        async () => {
          writeFileSync(at("initrd"), initrd(parts!));
          writeFileSync(at("init"), installer, { mode: 0o755 });
          writeFileSync(at("boot.bin"), bootSector("STARTED FROM DISK\r\n"));
          const disk = at("demo.qcow2");
          const words = [
            ["install", "--name", "demo", "--memory", "256"],
            ["--disk", `path=${disk},size=1G,preallocation=metadata,cluster_size=128k`],
            ["--location", `kernel=${parts!.kernel},initrd=${at("initrd")}`],
            ["--initrd-inject", at("init"), "--initrd-inject", at("boot.bin")],
            ["--extra-args", "console=ttyS0 quiet", "--extra-args", "panic=-1"],
            ["--cloud-init", "user=ada,hostname=demo.lan", "--network", "none"],
            ["--noautoconsole", "--wait", "4"],
          ];
          await expectLibvirtTakes(validate, virsh, words.flat());
          const installing = begin(...words.flat());
          const growth: number[] = [];
          await heard("demo", "INSTALLER begins");
          expect(guest("demo")?.state).toBe("running");
          growth.push(statSync(disk).blocks * 512);
          // The disk that a guest runs on is nobody else's.
          expect(platter("resize", disk, "2G").stderr).toContain(
            "another program is using the image",
          );
          expect(platter("vm", "delete", "demo").stderr).toContain(
            '"demo" is running; stop it first',
          );
          await heard("demo", "STARTED FROM DISK");
          const { code, stdout, stderr } = await installing.outcome;
          expect(code, stderr).toBe(0);
          expect(stdout).toMatch(
            /preallocation=metadata: takes \d+ KiB at once, and grows up to 1 GiB/,
          );
          expect(stdout).toContain("demo is installed, and has been started from its disk.");

          const stats = json("vm", "stats", "demo") as { disks: Record<string, number>[] };
          const [first] = stats.disks;
          // The boot sector has been read, nothing written.
          expect(first?.["read-bytes"]).toBeGreaterThan(0);
          expect(first?.["write-bytes"]).toBe(0);
          growth.push(Number(first?.["allocated"]));
          expect(growth[1]).toBeGreaterThan(Number(growth[0]) + 40 * MiB);

          expect(platter("vm", "destroy", "demo").code).toBe(0);
          expect(guest("demo")?.state).toBe("shut off");
          const check = await qemuImg.run(["check", disk]);
          expect(check.stdout).toContain("No errors were found");
          const [usage] = (json("du", disk) as { images: Record<string, unknown>[] }).images;
          expect(usage).toMatchObject({
            format: "qcow2",
            preallocation: expect.stringContaining("metadata") as string,
          });
          expect(platter("convert", "-O", "raw", disk, at("demo.raw")).code).toBe(0);
          await e2fsck.run(["-fn", at("demo.raw")]);
          // Linux has mounted the seed: its isofs gave the files their names.
          const seen = await debugfs.run(["-R", "cat user-data", at("demo.raw")]);
          expect(seen.stdout).toMatch(/^#cloud-config\n/);
          expect(seen.stdout).toContain('"name": "ada"');
          const meta = await debugfs.run(["-R", "cat meta-data", at("demo.raw")]);
          expect(meta.stdout).toContain('"local-hostname": "demo.lan"');

          expect(platter("vm", "delete", "demo", "--disks").stdout).toContain(`Deleted ${disk}`);
          expect(existsSync(disk)).toBe(false);
          expect(guests()).toEqual([]);
        },
      );

      it("shuts down when its power button is pressed", { timeout: 300_000 }, async () => {
        const heeding = `${initHead}
mkdir -p /etc/acpi/PWRF
printf '#!/bin/sh\\npoweroff -f\\n' > /etc/acpi/PWRF/00000080
chmod +x /etc/acpi/PWRF/00000080
echo LISTENS
acpid -d
`;
        writeFileSync(at("initrd"), initrd(parts!));
        writeFileSync(at("init"), heeding, { mode: 0o755 });
        const words = [
          ["install", "--name", "heeds", "--memory", "256"],
          ["--disk", `${at("heeds.raw")},size=1M,format=raw`],
          ["--location", `kernel=${parts!.kernel},initrd=${at("initrd")}`],
          ["--initrd-inject", at("init"), "--extra-args", "console=ttyS0 quiet", "--noautoconsole"],
        ];
        const { code, stderr } = platter(...words.flat());
        expect(code, stderr).toBe(0);
        await heard("heeds", "LISTENS");
        await sleep(500);
        expect(platter("vm", "stop", "heeds").stdout).toBe("heeds has shut down.\n");
        expect(guest("heeds")?.state).toBe("shut off");
      });
    });
  },
);
