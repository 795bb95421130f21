import { describe, expect, it } from "vitest";
import { libvirtXml } from "./libvirt-xml.ts";
import { checkMachine, checkName, type Machine } from "./machine.ts";
import { disk, guest, guests } from "./machine.test-kit.ts";
import { qemuCommand, type QemuRun } from "./qemu-command.ts";
import { element, toXml } from "./xml.ts";

const run: QemuRun = {
  acceleration: "tcg",
  qmpSocket: "/run/qmp",
  serialSocket: "/run/serial",
  serialLog: "/run/log",
  pidFile: "/run/pid",
};

/** The value behind each of the options of that name. */
function values(words: readonly string[], option: string): string[] {
  return words.flatMap((word, index) => (word === option ? [words[index + 1] ?? ""] : []));
}

describe("QEMU's command line", () => {
  it("writes commas in values twice, but not in JSON", () => {
    const machine = guest({ disks: [disk("/a,b")], serial: { kind: "file", path: "/c,d" } });
    const words = qemuCommand(machine, { ...run, qmpSocket: "/e,f" });
    expect(values(words, "-qmp")).toEqual(["unix:/e,,f,server=on,wait=off"]);
    expect(values(words, "-chardev")).toEqual(["file,id=serial0,path=/c,,d"]);
    expect(JSON.parse(values(words, "-blockdev")[0] ?? "")).toMatchObject({
      file: { filename: "/a,b" },
    });
  });

  it.each([
    ["none", true, false, "on"],
    ["writeback", false, false, "on"],
    ["writethrough", false, false, "off"],
    ["directsync", true, false, "off"],
    ["unsafe", false, true, "on"],
  ] as const)("says cache=%s in the words of block nodes", (cache, direct, noFlush, write) => {
    const words = qemuCommand(guest({ disks: [disk("/a", { cache })] }), run);
    const both = { direct, "no-flush": noFlush };
    expect(JSON.parse(values(words, "-blockdev")[0] ?? "")).toMatchObject({
      cache: both,
      file: { cache: both },
    });
    expect(values(words, "-device").find((word) => word.includes("disk0"))).toContain(
      `write-cache=${write}`,
    );
  });

  it("has the CD that is installed from tried first, and only then, and no restart", () => {
    const machine = guest({ cdroms: ["/seed"] });
    const installing = qemuCommand(machine, { ...run, install: { cdrom: "/cd" } });
    const devices = values(installing, "-device").filter((word) => word.includes("bootindex"));
    expect(devices).toEqual([
      "virtio-blk-pci,drive=disk0-node,id=disk0,write-cache=on,bootindex=2",
      "ide-cd,bus=sata.5,drive=cd0-node,id=cd0,bootindex=1",
    ]);
    expect(installing).toContain("-no-reboot");
    expect(qemuCommand(machine, run)).not.toContain("-no-reboot");
    expect(qemuCommand(machine, run).join(" ")).not.toContain("/cd");
  });

  it("has the best processor that there is, and the first free display", () => {
    const machine = guest({ graphics: { kind: "vnc", listen: "::1" } });
    expect(values(qemuCommand(machine, run), "-cpu")).toEqual(["max"]);
    expect(values(qemuCommand(machine, { ...run, acceleration: "kvm" }), "-cpu")).toEqual(["host"]);
    expect(values(qemuCommand(machine, run), "-vnc")).toEqual(["[::1]:0,to=99"]);
    expect(values(qemuCommand(machine, { ...run, graphicsPort: 5907 }), "-vnc")).toEqual([
      "[::1]:7",
    ]);
  });
});

describe("libvirt's XML", () => {
  it("escapes what is to be escaped, and refuses what cannot be", () => {
    expect(toXml(element("a", { b: `<"'&>` }, "<&>"))).toBe(
      `<a b="&lt;&quot;&apos;&amp;&gt;">&lt;&amp;&gt;</a>\n`,
    );
    expect(() => toXml(element("a", {}, "\0"))).toThrow("XML cannot hold");
  });

  it("ends at the first restart while the guest is installed", () => {
    const install = { kernel: { kernel: "/k", initrd: "/i", arguments: "a <b>" } };
    const xml = libvirtXml(guest(), "tcg", install);
    expect(xml).toContain("<on_reboot>destroy</on_reboot>");
    expect(xml).toContain("<cmdline>a &lt;b&gt;</cmdline>");
    expect(libvirtXml(guest(), "tcg")).toContain("<on_reboot>restart</on_reboot>");
  });

  it("names disks by their buses", () => {
    const disks = ["virtio", "sata", "virtio", "scsi"].map((bus) =>
      disk("/x", { bus: bus as "sata" }),
    );
    const xml = libvirtXml(guest({ disks, cdroms: ["/cd"] }), "kvm");
    const names = [...xml.matchAll(/<target dev="(\w+)"/g)].map(([, name]) => name);
    expect(names).toEqual(["vda", "sda", "vdb", "sdb", "vdc"]);
  });
});

describe("a guest's description", () => {
  it.each(guests("/tmp/x"))("is well: $title", ({ machine }) => {
    expect(() => checkMachine(machine)).not.toThrow();
  });

  it.each<[string, Partial<Machine>]>([
    ["memory", { memory: 1000 }],
    ["memory", { memory: 0 }],
    ["vcpus", { vcpus: 0 }],
    ["vcpus", { vcpus: 1.5 }],
    ["cpu", { cpu: "host,+x" }],
    ["path", { disks: [disk("relative")] }],
    ["path", { cdroms: ["/new\nline"] }],
    ["mac", { networks: [{ kind: "user", model: "virtio", mac: "01:00:00:00:00:00" }] }],
    ["bridge", { networks: [{ kind: "bridge", model: "virtio", bridge: "a,b" }] }],
    ["port", { graphics: { kind: "vnc", port: 80 } }],
    ["listen", { graphics: { kind: "vnc", listen: "a,b" } }],
    ["disks", { disks: Array.from({ length: 6 }, () => disk("/x", { bus: "sata" })) }],
  ])("is refused for its %s", (field, changes) => {
    expect(() => checkMachine(guest(changes))).toThrow(
      expect.objectContaining({
        code: "E_INVALID_ARGUMENT",
        details: expect.objectContaining({ field }) as object,
      }) as Error,
    );
  });

  it.each(["", ".", "..", "-x", "a/b", "ä", "a b", "x".repeat(65)])(
    "has no name such as %j",
    (name) => {
      expect(() => checkName(name)).toThrow("cannot be a guest's name");
    },
  );
});
