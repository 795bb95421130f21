/** The trial that tells whether guests run on the processor, in the emulation that runs everywhere. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { trialWords } from "../../src/vm/acceleration.ts";
import { trialRom, trialWord } from "../../src/vm/trial-rom.ts";
import { describePeer } from "../peers.ts";
import { at } from "./kit.ts";

describePeer("qemu-system-x86_64", "the trial of KVM", (qemu) => {
  it("gets into 64-bit code, counts and ends", () => {
    const rom = at("trial.rom");
    writeFileSync(rom, trialRom());
    const { status, stderr } = spawnSync(qemu.path, trialWords("tcg", rom), { encoding: "utf8" });
    expect(stderr).toBe("");
    // What isa-debug-exit makes of the word.
    expect(status).toBe((trialWord << 1) | 1);
  });
});
