import type { CheckResult } from "./contract.ts";

type Problem = CheckResult["problems"][number];

/** What the problems that QEMU words in its own way mean for somebody who has a disk. */
const meanings: ReadonlyArray<readonly [pattern: RegExp, words: string]> = [
  [/^Leaked cluster/, "space is marked as used, and nothing uses it"],
  [
    /^ERROR cluster \d+ refcount=0 /,
    "space is used and marked as free: something else may be written over it",
  ],
  [
    /^ERROR cluster/,
    "space is used more often than it is counted: it may be taken for free too early",
  ],
  [
    /OFLAG_COPIED L2/,
    "a table says wrongly whether a snapshot shares it: a write may change the snapshot",
  ],
  [
    /OFLAG_COPIED data/,
    "data is said wrongly to be shared with a snapshot or not: a write may change the snapshot",
  ],
  [/refcount block|refcount table/, "the counts of used space are damaged themselves"],
  [/L2 entry corrupted/, "the place of the data is impossible: it cannot be read"],
  [/L1 entry corrupted/, "the table for this part of the disk cannot be found: it cannot be read"],
  [/exceeding the end of the file/, "something lies behind the end of the file: it is lost"],
  [/reserved bits/, "bits are set that nobody knows the meaning of"],
  [/subcluster/, "an entry contradicts itself about which parts of a cluster are data"],
  [/compressed/, "an entry for compressed data has what such an entry cannot have"],
  [/^ERROR snapshot/, "a snapshot's table cannot be found: the snapshot is lost"],
];

const hex = (value: number): string => `0x${value.toString(16)}`;

/** A problem in words, with the bytes of the disk and of the file that it is about. */
function problemInWords(problem: Problem): string {
  const { message, guest, hostOffset } = problem;
  if (problem.kind === "note") return message;
  const [, meaning = message] = meanings.find(([pattern]) => pattern.test(message)) ?? [];
  const places = [
    ...(guest === undefined ? [] : [`disk ${hex(guest.start)} to ${hex(guest.end)}`]),
    ...(hostOffset === undefined ? [] : [`file ${hex(hostOffset)}`]),
  ];
  const where = places.length === 0 ? "" : ` (${places.join(", ")})`;
  return `${meaning.charAt(0).toUpperCase()}${meaning.slice(1)}${where}`;
}

/** Problems that mean the same next to each other become one line. */
export function problemLines(problems: readonly Problem[]): Array<readonly [Problem, string]> {
  const lines: Array<readonly [Problem, string]> = [];
  let last: { problem: Problem; meaning: string; count: number } | undefined;
  const flush = (): void => {
    if (last === undefined) return;
    const { problem, count } = last;
    const words = problemInWords(problem);
    lines.push([problem, count === 1 ? words : `${words}, and ${count - 1} more like it`]);
    last = undefined;
  };
  for (const problem of problems) {
    const meaning = problemInWords({ kind: problem.kind, message: problem.message });
    if (last !== undefined && last.meaning === meaning && problem.kind !== "note") last.count++;
    else {
      flush();
      last = { problem, meaning, count: 1 };
    }
  }
  flush();
  return lines;
}
