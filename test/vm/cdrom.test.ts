/** An installation from a CD that a computer's firmware starts, from an empty file to a guest that runs from it. */
import { copyFileSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { bootSector, guestParts, initHead, initrd } from "./guest-parts.ts";
import { at, begin, guest, heard, json, platter } from "./kit.ts";

const MiB = 2 ** 20;
const parts = guestParts();

/** Partitions the disk, fills a filesystem with a system, and leaves a boot sector that speaks. */
const installer = `${initHead}
echo INSTALLER begins
until [ -b /dev/vda ]; do sleep 0.1; done
printf 'n\\np\\n1\\n2048\\n\\na\\n1\\nw\\n' | fdisk /dev/vda > /dev/null
until [ -b /dev/vda1 ]; do sleep 0.1; done
mke2fs /dev/vda1 > /dev/null && mount -t ext4 /dev/vda1 /mnt
mkdir -p /mnt/bin /mnt/lib
cp -a /bin /busybox /mnt
dd if=/dev/urandom of=/mnt/lib/data bs=1M count=32 2> /dev/null
md5sum < /mnt/lib/data > /mnt/lib/data.md5
umount /mnt
dd if=/boot.bin of=/dev/vda bs=440 count=1 conv=notrunc 2> /dev/null
sync
echo INSTALLER ends
poweroff -f
`;

const loader = `serial 0 115200
default install
label install
  kernel /vmlinuz
  append initrd=/initrd console=ttyS0 quiet panic=-1 rdinit=/init
`;

const usage = (disk: string): Record<string, unknown> => {
  const [first] = (json("du", disk) as { images: Record<string, unknown>[] }).images;
  return first ?? {};
};

describePeer(
  ["qemu-system-x86_64", "genisoimage", "qemu-img", "e2fsck"],
  "platter install --cdrom",
  (_qemu, genisoimage, qemuImg, e2fsck) => {
    it.skipIf(parts === undefined)(
      "installs onto a preallocated image, which then boots",
      { timeout: 300_000 },
      async () => {
        mkdirSync(at("cd/isolinux"), { recursive: true });
        copyFileSync(parts!.kernel, at("cd/vmlinuz"));
        for (const path of parts!.isolinux) copyFileSync(path, at(`cd/isolinux/${basename(path)}`));
        writeFileSync(at("cd/isolinux/isolinux.cfg"), loader);
        const more = [
          { name: "init", contents: Buffer.from(installer), mode: 0o755 },
          { name: "boot.bin", contents: bootSector("STARTED FROM DISK\r\n") },
        ];
        writeFileSync(at("cd/initrd"), initrd(parts!, more));
        const boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"];
        const table = ["-boot-load-size", "4", "-boot-info-table"];
        const words = ["-quiet", "-J", "-R", ...boot, ...table, "-o", at("cd.iso"), at("cd")];
        await genisoimage.run(words);

        const disk = at("cd.qcow2");
        const install = [
          ["install", "--name", "cd", "--memory", "256", "--cdrom", at("cd.iso")],
          ["--disk", `path=${disk},size=1G,preallocation=metadata`],
          ["--network", "none", "--noautoconsole", "--wait", "4"],
        ];
        const installing = begin(...install.flat());
        await heard("cd", "INSTALLER begins");
        expect(guest("cd")?.state).toBe("running");
        const before = statSync(disk).blocks * 512;
        await heard("cd", "STARTED FROM DISK");
        const { code, stderr } = await installing.outcome;
        expect(code, stderr).toBe(0);
        expect(platter("vm", "destroy", "cd").code).toBe(0);

        const after = usage(disk);
        expect(after).toMatchObject({
          format: "qcow2",
          preallocation: expect.stringContaining("metadata") as string,
        });
        // The tables were there at the beginning; what has come is what the installer wrote.
        expect(before).toBeLessThan(2 * MiB);
        expect(Number(after["allocated"])).toBeGreaterThan(before + 30 * MiB);
        expect(Number(after["allocated"])).toBeLessThan(before + 100 * MiB);
        const check = await qemuImg.run(["check", disk]);
        expect(check.stdout).toContain("No errors were found");
        expect(platter("convert", "-O", "raw", disk, at("cd.raw")).code).toBe(0);
        await e2fsck.run(["-fn", `${at("cd.raw")}?offset=${2048 * 512}`]);
      },
    );
    describe("a CD that is not there", () => {
      it("is said before anything is made", () => {
        const words = ["install", "--name", "none", "--cdrom", at("nothing.iso")];
        const { code, stderr } = platter(...words, "--disk", `path=${at("none.qcow2")},size=1M`);
        expect(code).toBe(1);
        expect(stderr).toContain("nothing.iso cannot be read");
        expect(guest("none")).toBeUndefined();
      });
    });
  },
);
