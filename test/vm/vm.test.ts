/** Guests in their life: what goes well, and what goes wrong. They are boot sectors that say that they are there. */
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, expect, it } from "vitest";
import { describePeer } from "../peers.ts";
import { bootSector } from "./guest-parts.ts";
import { at, begin, guest, guests, heard, platter, platterWith, until } from "./kit.ts";

const HELLO = "HELLO FROM DISK";
const raw = "disk.raw";
const common = ["install", "--name", "one", "--memory", "64", "--network", "none", "--import"];
const install = (...more: string[]): string[] => [...common, ...more];
const start = install("--disk", `${raw},format=raw`, "--noautoconsole");

describePeer(["qemu-system-x86_64", "qemu-img"], "platter vm", (_qemu, qemuImg) => {
  beforeEach(() => {
    const disk = new Uint8Array(2 ** 20);
    disk.set(bootSector(`${HELLO}\r\n`));
    writeFileSync(at(raw), disk);
  });

  it("shows a guest's console, which is left and come back to", async () => {
    expect(platter(...start).stdout).toContain("Started one.");
    await heard("one", HELLO);
    for (const time of ["first", "second"]) {
      const console = begin("vm", "console", "one");
      await until(`what was said is shown a ${time} time`, () => console.printed().includes(HELLO));
      console.child.stdin.write("typed\u001d");
      const { code, stderr } = await console.outcome;
      expect(code).toBe(0);
      expect(stderr).toContain("Left the console");
    }
    const last = begin("vm", "console", "one");
    await until("the console is there", () => last.printed().includes(HELLO));
    expect(platter("vm", "destroy", "one").stdout).toBe("one is off.\n");
    expect((await last.outcome).stderr).toContain("one has ended.");
    expect(platter("vm", "console", "one").stderr).toContain("no console that can be reached now");
  });

  it("has a picture of a screen as PNG", async () => {
    platter(
      ...start.filter((word) => word !== "--noautoconsole"),
      "--graphics",
      "vnc",
      "--wait",
      "0",
    );
    await heard("one", HELLO);
    expect(platter("vm", "screenshot", "one").stdout).toBe("Picture: one.png\n");
    expect(readFileSync(at("one.png")).subarray(1, 4).toString()).toBe("PNG");
    expect(platter("vm", "screenshot", "one", "no/such/x.png").stderr).toContain("QEMU: ");
  });

  it("has none of a guest without one", () => {
    platter(...start);
    expect(platter("vm", "screenshot", "one").stderr).toContain('"one" has no screen');
  });

  it("knows that QEMU was killed, and starts it anew", async () => {
    platter(...start);
    const pid = guest("one")?.pid ?? 0;
    process.kill(pid, "SIGKILL");
    await until("it is seen", () => guest("one")?.state === "killed");
    expect(platter("vm", "stop", "one").stderr).toContain('"one" is not running');
    expect(platter("vm", "start", "one").stdout).toBe("Started one.\n");
    expect(guest("one")?.state).toBe("running");
    expect(platter("vm", "start", "one").stderr).toContain('"one" is running already');
  });

  it("turns off a QEMU that does not listen any more", () => {
    platter(...start);
    const pid = guest("one")?.pid ?? 0;
    process.kill(pid, "SIGSTOP");
    expect(guest("one")?.state).toBe("not answering");
    expect(platter("vm", "destroy", "one").code).toBe(0);
    expect(guest("one")?.state).toBe("shut off");
  });

  it("does not wait for ever for a guest that does not heed its power button", () => {
    platter(...start);
    const { code, stderr } = platter("vm", "stop", "one", "--timeout", "1");
    expect(code).toBe(1);
    expect(stderr).toContain(
      "did not shut down within 1 seconds; platter vm destroy one turns it off",
    );
    expect(guest("one")?.state).toBe("running");
  });

  it("lets a guest run on when Platter is killed while it waits", async () => {
    const waiting = begin(...install("--disk", `${raw},format=raw`));
    await until("it runs", () => guest("one")?.state === "running");
    waiting.child.kill("SIGKILL");
    await waiting.outcome;
    await sleep(300);
    expect(guest("one")?.state).toBe("running");
  });

  it("keeps a name to one guest, and a disk", async () => {
    platter(...start);
    expect(platter(...start).stderr).toContain('There is a guest called "one" already');
    const [first = "", ...rest] = start;
    const other = [first, ...rest.map((word) => (word === "one" ? "two" : word))];
    expect(platter(...other).stderr).toMatch(
      /"two" cannot be started: another program is using one of its disks/,
    );
    // What was not started is not there.
    expect(guests().map(({ name }) => name)).toEqual(["one"]);
    expect(existsSync(at(raw))).toBe(true);
    expect(platter("vm", "delete", "one").stderr).toContain("is running; stop it first");
  });

  it("deletes what was made for a guest, and nothing else", () => {
    const two = ["--disk", `${raw},format=raw`, "--disk", "made.qcow2,size=1M"];
    platter(...install(...two, "--noautoconsole"));
    platter("vm", "destroy", "one");
    const { stdout } = platter("vm", "delete", "one", "--disks");
    expect(stdout).toBe(`one is forgotten.\nDeleted ${at("made.qcow2")}.\nLeft ${at(raw)}.\n`);
    expect(existsSync(at("made.qcow2"))).toBe(false);
    expect(existsSync(at(raw))).toBe(true);
    expect(existsSync(at("state/platter/vm/one"))).toBe(false);
  });

  it("makes an overlay over a system, of its size", async () => {
    const store = `backing_store=${raw},backing_format=raw,cluster_size=4k`;
    const { stderr, stdout } = platter(
      ...install("--disk", `over.qcow2,${store}`, "--noautoconsole"),
    );
    expect(stdout, stderr).toContain("Started one.");
    await heard("one", HELLO);
    platter("vm", "destroy", "one");
    const info = await qemuImg.run(["info", "--output=json", "over.qcow2"], { cwd: at("") });
    expect(JSON.parse(info.stdout)).toMatchObject({
      "virtual-size": 2 ** 20,
      "cluster-size": 4096,
      "backing-filename": raw,
    });
  });

  it("never replaces a disk without being told to", () => {
    const before = statSync(at(raw)).ino;
    const words = install("--disk", `${raw},format=raw,size=2M`, "--noautoconsole");
    const refused = platter(...words);
    expect(refused.stderr).toContain("exists; leave size= out to use it as it is, or say --force");
    expect(statSync(at(raw))).toMatchObject({ ino: before, size: 2 ** 20 });
    expect(platter(...words, "--force").stdout).toContain("Started one.");
    expect(statSync(at(raw)).size).toBe(2 ** 21);
  });

  it.each([
    [
      "without QEMU",
      { PATH: "/nonexistent" },
      "qemu-system-x86_64 cannot be run: is it installed?",
    ],
    [
      "with a state directory that is too long",
      { XDG_STATE_HOME: `/tmp/${"x".repeat(90)}` },
      "too long for a socket",
    ],
  ])("makes nothing %s", (_title, variables, message) => {
    // Where there is no KVM, QEMU is not asked about it, but it cannot be started either.
    const { code, stderr } = platterWith(
      variables,
      ...install("--disk", "new.qcow2,size=1M", "--noautoconsole"),
    );
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(existsSync(at("new.qcow2"))).toBe(false);
    expect(guests()).toEqual([]);
  });

  it("makes nothing for a dry run, nor for a description", () => {
    const words = install("--disk", "new.qcow2,size=1M,preallocation=full", "--noautoconsole");
    expect(platter(...words, "--dry-run").stdout).toMatch(
      /preallocation=full: takes .* at once, and does not grow. Every byte/,
    );
    expect(platter(...words, "--print-xml").stdout).toMatch(/^<domain type="(kvm|qemu)">\n/);
    expect(existsSync(at("new.qcow2"))).toBe(false);
    expect(guests()).toEqual([]);
  });
});

describePeer(["virsh", "qemu-system-x86_64"], "platter install --connect", (virsh) => {
  it("has libvirt define and start the guest", () => {
    const name = ["--connect", "test:///default"];
    const { stdout, stderr } = platter(...install("--disk", "libvirt.qcow2,size=1M", ...name));
    expect(stdout, stderr).toContain("Started one.");
    expect(existsSync(at("libvirt.qcow2"))).toBe(true);
    expect(guests()).toEqual([]);
    expect(virsh.name).toBe("virsh");
  });

  it("says what virsh says, and leaves no disk", () => {
    const { code, stderr } = platter(
      ...install("--disk", "none.qcow2,size=1M", "--connect", "nothing:///"),
    );
    expect(code).toBe(1);
    expect(stderr).toMatch(/virsh -c nothing:\/\/\/: /);
    expect(existsSync(at("none.qcow2"))).toBe(false);
  });
});
