/** What the options of `install` and `vm` mean, and which are refused; no guest is made. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { installCommand } from "../../src/cli/commands/install.ts";
import { readInstall } from "../../src/cli/commands/install-options.ts";
import { formatServices } from "../../src/cli/format-services.ts";
import { parseCommandLine } from "../../src/cli/parse.ts";
import { createSession } from "../../src/cli/session.ts";
import { FakeEnvironment, fakeServices, run } from "./harness.ts";

const directory = mkdtempSync(join(tmpdir(), "platter-options-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What the words mean. */
function read(...words: string[]): ReturnType<typeof readInstall> {
  const { signal } = new AbortController();
  const session = createSession("platter", new FakeEnvironment(), fakeServices({}), signal);
  return readInstall(
    parseCommandLine(installCommand, ["install", ...words], session),
    formatServices,
  );
}

const base = ["--name", "demo", "--disk", "a.qcow2"];
const plain = [...base, "--import"];

describe("install", () => {
  it("has defaults for a guest without a screen", () => {
    expect(read(...plain)).toEqual({
      machine: {
        name: "demo",
        memory: 2 ** 30,
        vcpus: 1,
        cpu: undefined,
        chipset: "q35",
        firmware: "bios",
        boot: ["hd"],
        networks: [{ kind: "user", bridge: undefined, model: "virtio", mac: undefined }],
        graphics: { kind: "none" },
        serial: { kind: "console" },
      },
      disks: [
        {
          path: "a.qcow2",
          format: undefined,
          bus: "virtio",
          cache: "writeback",
          discard: "ignore",
        },
      ],
      cdrom: undefined,
      location: undefined,
      kernelArguments: "",
      cloudInit: undefined,
      force: false,
    });
  });

  it.each([
    ["size=20", 20 * 2 ** 30],
    ["size=0.5", 2 ** 29],
    ["size=300M", 300 * 2 ** 20],
  ])("takes %s in virt-install's unit, or in its own", (words, size) => {
    const [disk] = read(
      "--name",
      "x",
      "--import",
      "--disk",
      `path=b,${words},preallocation=full,extended_l2=on`,
    ).disks;
    expect(disk?.make).toMatchObject({
      format: "qcow2",
      size,
      formatOptions: { preallocation: "full", extended_l2: true },
    });
  });

  it("takes commas in paths, overlays, and the guest's side of a disk", () => {
    const words =
      "path=a,,b.qcow2,backing_store=base,backing_format=raw,bus=scsi,cache=none,discard=unmap";
    const [disk] = read("--name", "x", "--import", "--disk", words).disks;
    expect(disk).toMatchObject({
      path: "a,b.qcow2",
      bus: "scsi",
      cache: "none",
      discard: "unmap",
      make: { backing: { name: "base", format: "raw" } },
    });
    expect(disk?.make?.size).toBeUndefined();
  });

  it("takes virt-install's words about the machine", () => {
    const words = [
      ["--memory=4096", "--vcpus=4", "--cpu=host-passthrough", "--machine=pc"],
      ["--boot=uefi,cdrom,hd", "--os-variant=win11", "--graphics=vnc,listen=::1,port=5905"],
      ["--network=bridge=br0,mac=52:54:00:00:00:01", "--network=user,model=virtio"],
      ["--serial=file,path=/x"],
    ];
    const { machine, disks } = read(...plain, ...words.flat());
    expect(machine).toMatchObject({
      memory: 2 ** 32,
      vcpus: 4,
      cpu: undefined,
      chipset: "pc",
      firmware: "uefi",
      boot: ["cdrom", "hd"],
      graphics: { kind: "vnc", listen: "::1", port: 5905 },
      serial: { kind: "file", path: "/x" },
      networks: [
        { kind: "bridge", bridge: "br0", model: "e1000e", mac: "52:54:00:00:00:01" },
        { kind: "user", model: "virtio" },
      ],
    });
    expect(disks[0]?.bus).toBe("sata");
  });

  it("takes kernels and seeds", () => {
    const key = join(directory, "id.pub");
    writeFileSync(key, "# mine\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMBqdWwM me\n");
    const secret = join(directory, "secret");
    writeFileSync(secret, "open, sesame\n");
    const words = [
      ["-l", "/tree,kernel=k,initrd=i", "--initrd-inject", "a", "--initrd-inject", "b"],
      ["-x", "console=ttyS0", "-x", "quiet"],
      ["--cloud-init", `user=ada,ssh-key=${key},password-file=${secret},hostname=h`],
    ];
    const { location, kernelArguments, cloudInit } = read(...base, ...words.flat());
    expect(location).toEqual({ tree: "/tree", kernel: "k", initrd: "i", inject: ["a", "b"] });
    expect(kernelArguments).toBe("console=ttyS0 quiet");
    expect(cloudInit).toMatchObject({ user: "ada", password: "open, sesame", hostname: "h" });
    expect(cloudInit?.sshKeys).toHaveLength(1);
  });

  it.each<[string, string[]]>([
    ["--name is missing", ["--disk", "a", "--import"]],
    ["--disk is missing", ["--name", "x", "--import"]],
    ["Say what to install from", base],
    ["--cdrom and --import contradict", [...plain, "--cdrom", "x"]],
    ["--extra-args needs --location", [...plain, "-x", "y"]],
    ["--initrd-inject needs --location", [...plain, "--initrd-inject", "y"]],
    ["path= is missing", ["--name", "x", "--import", "--disk", "size=3"]],
    ["pool= is not supported", ["--name", "x", "--import", "--disk", "a,pool=b"]],
    ['has no option "sparse"', ["--name", "x", "--import", "--disk", "a,size=1,sparse=no"]],
    [
      "preallocation= is not supported",
      ["--name", "x", "--import", "--disk", "a,preallocation=full"],
    ],
    ["path= is given twice", ["--name", "x", "--import", "--disk", "path=a,path=b"]],
    ["has no name in front", ["--name", "x", "--import", "--disk", "a,b"]],
    ['bus=: "ide" is not supported', ["--name", "x", "--import", "--disk", "a,bus=ide"]],
    ["host-model is not supported", [...plain, "--cpu", "host-model"]],
    ["--memory", [...plain, "--memory", "much"]],
    ["--vcpus takes a whole number", [...plain, "--vcpus", "2,maxvcpus=4"]],
    ['"virt" is not supported; q35, pc are', [...plain, "--machine", "virt"]],
    ['--boot: "menu=on" is not supported', [...plain, "--boot", "menu=on"]],
    ['"network=default" is not supported', [...plain, "--network", "network=default"]],
    ["--network user,foo=1: foo= is not supported", [...plain, "--network", "user,foo=1"]],
    ['"sdl" is not supported', [...plain, "--graphics", "sdl"]],
    ["port= takes a whole number", [...plain, "--graphics", "vnc,port=x"]],
    ["listen= is not supported", [...plain, "--graphics", "none,listen=x"]],
    ["which file", [...plain, "--serial", "file"]],
    [
      "contradict each other: there is one serial port",
      [...plain, "--serial", "none", "--console", "pty"],
    ],
    ['target_type=: "virtio" is not supported', [...plain, "--console", "pty,target_type=virtio"]],
    ["disable= is not supported", [...plain, "--cloud-init", "disable=on"]],
    ["/none cannot be read", [...plain, "--cloud-init", "ssh-key=/none"]],
    ["install has no option --vnc", [...plain, "--vnc"]],
  ])("refuses by name: %s", (message, words) => {
    expect(() => read(...words)).toThrow(message);
  });

  it.each<[string, string[]]>([
    ["--wait takes minutes", [...plain, "--wait", "long"]],
    ["--wait together with --connect", [...plain, "--wait", "1", "--connect", "test:///default"]],
    ["takes options only", [...plain, "extra"]],
  ])("says on the terminal: %s", async (message, words) => {
    const { code, stderr } = await run("platter", ["install", ...words]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining(message) as string,
    });
  });
});

describe("vm", () => {
  it.each<[string, string[]]>([
    ["Say what to do: list, start", []],
    ["did you mean start?", ["strat", "x"]],
    ["vm start takes the name of a guest", ["start"]],
    ["vm list takes no name", ["list", "x"]],
    ['"y" is one word too many', ["start", "x", "y"]],
    ["vm start has no option --disks", ["start", "--disks", "x"]],
    ["vm list has no option --timeout", ["list", "--timeout", "3"]],
  ])("refuses: %s", async (message, words) => {
    const { code, stderr } = await run("platter", ["vm", ...words]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringContaining(message) as string,
    });
  });
});
