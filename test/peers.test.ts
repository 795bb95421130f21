import { afterEach, describe, expect, it, vi } from "vitest";
import { findPeer } from "../tools/peers.ts";
import { describePeer, peer, requirePeer } from "./peers.ts";

afterEach(() => {
  vi.unstubAllEnvs();
});

describe("peers", () => {
  it("are found by an override before the path", () => {
    vi.stubEnv("PEER_QEMU_STORAGE_DAEMON", process.execPath);
    expect(findPeer("qemu-storage-daemon")).toBe(process.execPath);
  });

  it("are missing where the override leads nowhere", () => {
    vi.stubEnv("PEER_QEMU_NBD", "/nowhere/qemu-nbd");
    expect(findPeer("qemu-nbd")).toBeUndefined();
    expect(peer("qemu-nbd")).toBeUndefined();
    expect(() => requirePeer("qemu-nbd")).toThrow("apt-get install qemu-utils");
  });
});

describePeer(["qemu-img@7.2", "qemu-storage-daemon"], "a peer", (qemuImg, daemon) => {
  it("says its version", () => {
    expect(qemuImg.version).toMatch(/^7\.2\./);
  });

  it("runs", async () => {
    expect((await qemuImg.run(["--version"])).stdout).toContain("qemu-img version 7.2");
  });

  it("tells how it failed", async () => {
    const { status, stderr } = await qemuImg.attempt(["info", "nowhere.img"]);
    expect(status).toBe(1);
    expect(stderr).toContain("No such file or directory");
    await expect(qemuImg.run(["info", "nowhere.img"])).rejects.toThrow("No such file or directory");
  });

  it("is killed at its time limit", async () => {
    await expect(daemon.run([], { timeout: 50 })).rejects.toThrow("qemu-storage-daemon");
  });

  it("runs in the background until it is disposed of", async () => {
    let child;
    {
      await using running = daemon.start([]);
      child = running.process;
      expect(child.exitCode).toBeNull();
    }
    expect(child.signalCode).toBe("SIGKILL");
  });
});
