import { expect, test } from "vitest";
import { concludeGuest } from "./guest-conclusions.ts";
import type { GuestLabReport } from "./guest-report.ts";
import { bytesPerRound, guestWorkloads, jobFile, readTerse } from "./guest-workloads.ts";
import { compareTimes, summarize } from "./statistics.ts";

/** fio's line about a job: 5 fields, 41 about reading, 41 about writing, and more. */
function line(id: string, { error = 0, short = 0, time = 12 } = {}): string {
  const { kind, count, blockSize } = guestWorkloads.find((one) => one.id === id)!;
  const kibibytes = (count * blockSize) / 1024 - short;
  const side = [kibibytes, 1000, 250, time, ...new Array<number>(37).fill(0)];
  const none = new Array<number>(41).fill(0);
  const both = kind.endsWith("read") ? [...side, ...none] : [...none, ...side];
  return ["3", "fio-3.33", id, 0, error, ...both, "1%"].join(";");
}
const lines = guestWorkloads.map(({ id }, i) => line(id, { time: i }));

test("fio's terse lines become milliseconds, whatever the kernel says in between", () => {
  const text = `[    3.1] random: crng init done\r\n${lines.join("\r\n")}\r\n`;
  expect(Object.values(readTerse(text))).toEqual([1, 1, 2, 3, 4, 5, 6, 7]);
});

test.each<[what: string, text: string, message: RegExp]>([
  ["a job that is not there", lines.slice(1).join("\n"), /nothing about first-sequential/],
  ["no output", "Kernel panic", /nothing about first-sequential; the last line is "Kernel panic"/],
  [
    "a job with an error",
    [line("first-random", { error: 5 }), ...lines].join("\n"),
    /^fio.*first-random: 3;/,
  ],
  ["a job that did less", [line("read-random", { short: 4 }), ...lines].join("\n"), /read-random/],
])("%s is an error", (_what, text, message) => {
  expect(() => readTerse(text)).toThrow(message);
});

test("each round has a part of the disk of its own, and nothing reaches out of it", () => {
  for (const round of [0, 7]) {
    const text = jobFile("/dev/vdb", round);
    const offsets = [...text.matchAll(/^offset=(\d+)\nsize=(\d+)$/gm)];
    expect(offsets.length).toBe(guestWorkloads.length);
    for (const [, offset, size] of offsets) {
      expect(Number(offset)).toBeGreaterThanOrEqual(round * bytesPerRound);
      expect(Number(offset) + Number(size)).toBeLessThanOrEqual((round + 1) * bytesPerRound);
    }
  }
});

test("what is read or written again has been written first, and first writes do not meet", () => {
  const firsts = guestWorkloads.filter(({ id }) => id.startsWith("first"));
  const ends = firsts.toSorted((a, b) => a.offset - b.offset);
  for (const [i, one] of ends.entries()) {
    expect(one.offset + one.length).toBeLessThanOrEqual(ends[i + 1]?.offset ?? bytesPerRound);
    expect(one.count * one.blockSize).toBeLessThanOrEqual(one.length);
  }
  for (const later of guestWorkloads.filter(({ id }) => !id.startsWith("first"))) {
    const place = firsts.find(
      ({ offset, blockSize }) => offset === later.offset && blockSize === later.blockSize,
    );
    expect(place?.count, later.id).toBe(later.count);
  }
});

/** A report in which the first writes of metadata take `share` of the time without. */
function reportWith(share: number, rounds: number): Omit<GuestLabReport, "conclusions"> {
  const series = (factor: number): number[] =>
    Array.from({ length: rounds }, (_, i) => (100 + i) * factor);
  const factors = { "qcow2 off": 1, "qcow2 metadata": share };
  const times: Record<string, Record<string, number[]>> = {};
  for (const [label, factor] of Object.entries(factors)) {
    times[label] = Object.fromEntries(
      guestWorkloads.map(({ id }) => [id, series(id.startsWith("first") ? factor : 1)]),
    );
  }
  return {
    report: "platter lab --guest",
    version: 1,
    environment: {
      system: "Linux 6",
      processor: "a processor",
      processors: 2,
      memory: 2 ** 34,
      node: "v26",
      filesystem: "ext4",
      filesystemSize: 2 ** 40,
      date: "2026-01-01T00:00:00.000Z",
    },
    guest: { acceleration: "kvm", system: "Linux 6" },
    rounds,
    diskSize: rounds * bytesPerRound,
    seconds: 100,
    workloads: guestWorkloads,
    measures: [
      {
        cache: "none",
        costs: ["qcow2 off", "qcow2 metadata"].map((label) => ({
          label,
          milliseconds: 10,
          fileLength: 2 ** 20,
          allocated: 2 ** 18,
        })),
        samples: {},
        processor: 1000,
        times,
        summaries: Object.fromEntries(
          Object.entries(times).map(([label, by]) => [
            label,
            Object.fromEntries(Object.entries(by).map(([id, values]) => [id, summarize(values)])),
          ]),
        ),
        comparisons: guestWorkloads.map(({ id }) => ({
          workload: id,
          baseline: "qcow2 off",
          label: "qcow2 metadata",
          comparison: compareTimes(times["qcow2 off"]![id]!, times["qcow2 metadata"]![id]!),
        })),
      },
    ],
  };
}

test("what is recommended follows from the numbers", () => {
  expect(concludeGuest(reportWith(0.5, 9)).at(-1)).toMatch(
    /^To choose on this machine: qcow2 with preallocation=metadata\. 4 of 8 kinds of work were faster, up to 2\.0 times, nothing was slower/,
  );
  expect(concludeGuest(reportWith(1, 9)).at(-1)).toMatch(/: qcow2 without preallocation\./);
  expect(concludeGuest(reportWith(1, 9))[0]).toBe(
    "qcow2 metadata beside qcow2 off, cache=none: no difference that can be measured.",
  );
  expect(concludeGuest(reportWith(0.5, 3)).at(-1)).toMatch(
    /nothing can be recommended from so few rounds/,
  );
  expect(concludeGuest(reportWith(2, 9))[0]).toMatch(
    /first write, 64 KiB in sequence: 2.00 times as slow/,
  );
});
