/** An installation from a CD that a computer's firmware starts, from an empty file to a guest that runs from it. */
import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { guestParts, initHead, initrd } from "./guest-parts.ts";
import { at, begin, guest, heard, json, platter } from "./kit.ts";
import { expectLibvirtTakes, libvirtPeers } from "./libvirt.ts";

const MiB = 2 ** 20;
const parts = guestParts();

/** Partitions the disk, fills a filesystem with a system, and makes it boot. */
const installer = `${initHead}
echo INSTALLER begins
until [ -b /dev/vda ]; do sleep 0.1; done
printf 'n\\np\\n1\\n2048\\n\\na\\n1\\nw\\n' | fdisk /dev/vda > /dev/null
until [ -b /dev/vda1 ]; do sleep 0.1; done
mke2fs /dev/vda1 > /dev/null && mount -t ext4 /dev/vda1 /mnt
mkdir -p /mnt/boot /mnt/dev /mnt/proc /mnt/sys /mnt/data /mnt/seed
cp -a /bin /busybox /mnt
cp /vmlinuz /system.initrd /extlinux.conf /mnt/boot
cp /system-init /mnt/init
dd if=/dev/urandom of=/mnt/data/random bs=1M count=32 2> /dev/null
md5sum /mnt/data/random | sed s,/mnt,, > /mnt/data/sums
/ld-linux-x86-64.so.2 --library-path / /extlinux --install /mnt/boot
umount /mnt
dd if=/mbr.bin of=/dev/vda conv=notrunc 2> /dev/null
sync
echo INSTALLER ends
poweroff -f
`;

/** In the initrd of what was installed: it goes on from the disk. */
const starter = `${initHead}
until [ -b /dev/vda1 ]; do sleep 0.1; done
mount -t ext4 /dev/vda1 /mnt
exec switch_root /mnt /init
`;

/** The installed system. */
const system = `#!/busybox sh
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
md5sum -c /data/sums && echo STARTED FROM DISK with $(grep -c . /proc/partitions) partitions
mount -t iso9660 -o ro /dev/vdb /seed && echo READ A SEED: $(grep -o second.lan /seed/meta-data)
sleep 1000
`;

const diskLoader = `default disk
label disk
  kernel vmlinuz
  initrd system.initrd
  append console=ttyS0 quiet panic=-1 rdinit=/init
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
  ["qemu-system-x86_64", "genisoimage", "qemu-img", "e2fsck", ...libvirtPeers],
  "platter install --cdrom",
  (_qemu, genisoimage, qemuImg, e2fsck, validate, _xmllint, virsh) => {
    it.skipIf(parts === undefined)(
      "installs onto a preallocated image, which then boots",
      { timeout: 300_000 },
      async () => {
        mkdirSync(at("cd/isolinux"), { recursive: true });
        copyFileSync(parts!.kernel, at("cd/vmlinuz"));
        for (const path of parts!.isolinux) copyFileSync(path, at(`cd/isolinux/${basename(path)}`));
        writeFileSync(at("cd/isolinux/isolinux.cfg"), loader);
        const script = (name: string, text: string) => ({
          name,
          contents: Buffer.from(text),
          mode: 0o755,
        });
        const file = (name: string, path: string) => ({
          name,
          contents: readFileSync(path),
          mode: 0o755,
        });
        const started = initrd(parts!, [script("init", starter)]);
        const more = [
          script("init", installer),
          script("system-init", system),
          script("extlinux.conf", diskLoader),
          file("vmlinuz", parts!.kernel),
          { name: "system.initrd", contents: started },
          ...parts!.extlinux.map((path) => file(basename(path), path)),
        ];
        writeFileSync(at("cd/initrd"), initrd(parts!, more));
        const boot = ["-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat", "-no-emul-boot"];
        const table = ["-boot-load-size", "4", "-boot-info-table"];
        const words = ["-quiet", "-J", "-R", ...boot, ...table, "-o", at("cd.iso"), at("cd")];
        await genisoimage.run(words);

        const disk = at("cd.qcow2");
        const install = [
          ["install", "--name", "cd", "--memory", "512", "--cdrom", at("cd.iso")],
          ["--disk", `path=${disk},size=1G,preallocation=metadata`],
          ["--network", "none", "--noautoconsole", "--wait", "4"],
        ];
        await expectLibvirtTakes(validate, virsh, install.flat());
        const installing = begin(...install.flat());
        await heard("cd", "INSTALLER begins");
        expect(guest("cd")?.state).toBe("running");
        const before = statSync(disk).blocks * 512;
        await heard("cd", "/data/random: OK");
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
        expect(Number(after["allocated"])).toBeLessThan(before + 150 * MiB);
        const check = await qemuImg.run(["check", disk]);
        expect(check.stdout).toContain("No errors were found");
        expect(platter("convert", "-O", "raw", disk, at("cd.raw")).code).toBe(0);
        // A second guest has the same disk, and a seed.
        const second = [
          ["install", "--import", "--name", "second", "--memory", "512", "--disk", disk],
          ["--cloud-init", "hostname=second.lan", "--network", "none", "--noautoconsole"],
        ];
        await expectLibvirtTakes(validate, virsh, second.flat());
        expect(platter(...second.flat()).stdout).toContain("Started second.");
        await heard("second", "READ A SEED: second.lan");
        expect(platter("vm", "destroy", "second").code).toBe(0);
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
