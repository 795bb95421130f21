/** A bounded run of the fuzzer, with the same images every time; `npm run fuzz` goes on for longer. */
import { expect, inject, it } from "vitest";
import { describePeer } from "../peers.ts";
import { describeFinding, fuzz } from "./fuzz.ts";

describePeer(["qemu-img@7.2", "qemu-io"], "fuzzing", () => {
  it("finds nothing", async () => {
    const seed = inject("seed") ?? Date.now() % 2 ** 31;
    const executions = 1200 * inject("effort");
    const { findings, outcomes, judged } = await fuzz({ seed, executions, judgeEvery: 12 });
    process.stdout.write(
      `fuzzing: seed ${seed}, ${executions} images, ${judged} judged by QEMU, ` +
        `${outcomes.size} outcomes\n`,
    );
    expect(findings.map(describeFinding).join("\n")).toBe("");
    // It has to get beyond the header.
    for (const outcome of ["read ok", "check ok", "write ok", "repair ok"]) {
      expect(outcomes.get(outcome) ?? 0, outcome).toBeGreaterThan(executions / 10);
    }
  });
});
