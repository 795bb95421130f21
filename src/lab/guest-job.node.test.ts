import { describe, expect, it } from "vitest";
import { guestWorkloads, jobScript, quickWorkloads, readLine, requestsOf } from "./guest-job.ts";

const MiB = 2 ** 20;
const size = {
  disk: 64 * MiB,
  workloads: guestWorkloads,
  sequential: 100_000,
  random: 64,
  flushed: 8,
};

/** A line as fio writes it, with a time for reads and one for writes. */
function terse(name: string, read: string, write: string, error = "0"): string {
  const fields = Array.from({ length: 130 }, () => "0");
  [fields[0], fields[1], fields[2], fields[4]] = ["3", "fio-3.33", name, error];
  [fields[8], fields[49]] = [read, write];
  return fields.join(";");
}

describe("what a guest is told", () => {
  const script = jobScript(["disk2", "disk1"], size, 7);

  it("has each workload on each disk, in that order, and a mark before each disk", () => {
    const names = [...script.matchAll(/^\[(disk\S+)\]$/gm)].map(([, name]) => name);
    const ids = guestWorkloads.map(({ id }) => id);
    expect(names).toEqual([...ids.map((id) => `disk2.${id}`), ...ids.map((id) => `disk1.${id}`)]);
    expect(script.match(/exec_prerun=.*disk\d/g)).toEqual([
      'exec_prerun=sh -c "echo PLATTER-LAB disk disk2',
      'exec_prerun=sh -c "echo PLATTER-LAB disk disk1',
    ]);
    expect(script).toContain("randseed=7");
  });

  it("writes first only where nobody has written before, and stays in its quarter", () => {
    const firsts = guestWorkloads.filter(({ isFirst }) => isFirst);
    expect(new Set(firsts.map(({ quarter }) => quarter)).size).toBe(firsts.length);
    for (const kind of guestWorkloads) {
      expect(requestsOf(kind, size) * kind.blockSize).toBeLessThanOrEqual(size.disk / 4);
    }
    expect(quickWorkloads.map(({ id }) => id)).toContain("first-random-flush");
  });
});

describe("what a guest says", () => {
  it("is a mark, a time, or anything else", () => {
    expect(readLine("[ 1.2] usb PLATTER-LAB disk disk3\r")).toEqual({
      kind: "disk",
      serial: "disk3",
    });
    expect(readLine(terse("disk1.read-random", "12", "99"))).toEqual({
      kind: "time",
      serial: "disk1",
      workload: "read-random",
      milliseconds: 12,
    });
    expect(readLine(terse("disk1.first-random", "12", "99"))).toMatchObject({ milliseconds: 99 });
    expect(readLine(terse("disk1.first-random", "12", "0"))).toMatchObject({ milliseconds: 0.5 });
    for (const line of ["", "fio: hello", "3;fio-3.33", terse("disk1.nothing", "1", "1")]) {
      expect(readLine(line)).toEqual({ kind: "other" });
    }
  });

  it.each([
    ["an error of fio", terse("disk1.read-random", "1", "1", "5"), "failed with error 5"],
    ["a time that is none", terse("disk1.read-random", "x", "1"), 'took "x"'],
  ])("is not believed with %s", (_title, line, message) => {
    expect(() => readLine(line)).toThrow(message);
  });
});
