/** Descriptions of guests: QEMU starts what we tell it, and libvirt's schema takes what we write for it. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { libvirtXml } from "../../src/vm/libvirt-xml.ts";
import { guest, guests } from "../../src/vm/machine.test-kit.ts";
import { drivesOf } from "../../src/vm/machine.ts";
import { qemuCommand } from "../../src/vm/qemu-command.ts";
import { queryBlockStatistics, quit } from "../../src/vm/qmp-commands.ts";
import { QmpClient } from "../../src/vm/qmp.ts";
import { describePeer } from "../peers.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-guests-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const at = (name: string): string => join(directory, name);

const cases = guests(directory);

describePeer("qemu-system-x86_64", "QEMU, told what a guest is made of,", (qemu) => {
  it.each(cases)("starts it: $title", async ({ machine, install }) => {
    for (const path of [...machine.disks, ...drivesOf(machine, install)].map(
      (entry) => entry.path,
    )) {
      writeFileSync(path, new Uint8Array(2 ** 20));
    }
    // Bare enough for QEMU, which reads both before it starts.
    for (const name of ["kernel", "initrd"]) writeFileSync(at(name), bareKernel());
    const run = {
      acceleration: "tcg",
      qmpSocket: at("q,mp"),
      serialSocket: at("ser,ial"),
      serialLog: at("l,og"),
      pidFile: at("pid"),
      install,
    } as const;
    await qemu.run([...qemuCommand(machine, run), "-S"], { cwd: directory });
    await using client = await QmpClient.connect(run.qmpSocket);
    const statistics = await queryBlockStatistics(client);
    const devices = statistics
      .map(({ device }) => device)
      .filter((name) => name.startsWith("disk"));
    expect(devices).toEqual(machine.disks.map((_disk, index) => `disk${index}`));
    expect(Number(readFileSync(run.pidFile, "utf8"))).toBeGreaterThan(1);
    await quit(client);
    await client.ended;
  });
});

/** A file that QEMU takes for a Linux kernel of 32 bits: boot sector with its magic words. */
function bareKernel(): Uint8Array {
  const bytes = new Uint8Array(64 * 1024);
  const view = new DataView(bytes.buffer);
  bytes[0x1f1] = 4;
  view.setUint16(0x1fe, 0xaa_55, true);
  view.setUint32(0x202, 0x48_64_72_53);
  view.setUint16(0x206, 0x02_0c, true);
  bytes[0x211] = 1;
  view.setUint32(0x22c, 0x7f_ff_ff_ff, true);
  return bytes;
}

describePeer(["virt-xml-validate", "xmllint"], "libvirt's schema", (validate) => {
  it.each(
    cases.flatMap((entry) =>
      (["kvm", "tcg"] as const).map((acceleration) => ({ ...entry, acceleration })),
    ),
  )("takes our XML under $acceleration: $title", async ({ machine, install, acceleration }) => {
    const path = at("domain.xml");
    writeFileSync(path, libvirtXml(machine, acceleration, install));
    const { stdout, stderr } = await validate.run([path, "domain"]);
    expect(stdout + stderr).toContain("validates");
  });

  it("takes UEFI, a bridge and SPICE", async () => {
    const machine = guest({
      firmware: "uefi",
      graphics: { kind: "spice", port: 5930, listen: "::1" },
      networks: [{ kind: "bridge", bridge: "br0", model: "e1000" }],
      disks: [{ ...guest().disks[0]!, place: "device", path: "/dev/null" }],
    });
    writeFileSync(at("more.xml"), libvirtXml(machine, "kvm"));
    await validate.run([at("more.xml"), "domain"]);
    expect(readFileSync(at("more.xml"), "utf8")).toContain('<os firmware="efi">');
  });
});

describePeer("virsh", "libvirt's test driver", (virsh) => {
  it.each(cases)("defines our XML: $title", async ({ machine, install }) => {
    writeFileSync(at("defined.xml"), libvirtXml(machine, "tcg", install));
    const commands = `define ${at("defined.xml")}; dumpxml ${machine.uuid}`;
    const { stdout } = await virsh.run(["-q", "-c", "test:///default", commands]);
    expect(stdout).toContain(`<name>${machine.name}</name>`);
    expect(stdout.match(/<disk type=/g)).toHaveLength(
      machine.disks.length + drivesOf(machine, install).length,
    );
  });
});
