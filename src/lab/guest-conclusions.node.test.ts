import { describe, expect, it } from "vitest";
import { guestCandidates } from "./guest-candidates.ts";
import { concludeGuest, recommend, type GuestFindings } from "./guest-conclusions.ts";
import { guestWorkloads } from "./guest-job.ts";
import { evaluateRounds, type GuestRound } from "./guest-report.ts";

const size = {
  disk: 2 ** 26,
  workloads: guestWorkloads,
  sequential: 1,
  random: 1,
  flushed: 1,
};

/** Bytes that images of the story take when they are new. */
const empty: Readonly<Record<string, number>> = {
  "qcow2 off": 200_000,
  "qcow2 extended L2": 400_000,
  "qcow2 2M clusters": 6_000_000,
  "qcow2 metadata": 300_000,
  "qcow2 falloc": 2 ** 26,
  "qcow2 full": 2 ** 26,
};

/** Rounds in which first writes on some disks take another share of the time. */
function findings(shares: Readonly<Record<string, number>>, count = 9): GuestFindings {
  const rounds = Array.from({ length: count }, (_none, round): GuestRound => {
    const disks = guestCandidates.map(({ label }) => ({
      label,
      times: Object.fromEntries(
        guestWorkloads.map(({ id, isFirst }) => {
          const share = isFirst ? (shares[label] ?? 1) : 1;
          // What is the same differs a little, now this way, now that.
          return [id, 100 * share * (1 + ((round * 7 + label.length * 3) % 5) / 100)];
        }),
      ),
      samples: [{ at: 0, fileLength: 1, allocated: empty[label] ?? 1 }],
      cpu: 10,
    }));
    const creation = Object.fromEntries(guestCandidates.map(({ label }) => [label, 5]));
    return { cache: "none", disks, creation, empty };
  });
  return { rounds, size, ...evaluateRounds(rounds, guestWorkloads) };
}

describe("what to choose", () => {
  it("is nothing in particular where there is no difference", () => {
    const { label, text } = recommend(findings({}));
    expect(label).toBeUndefined();
    expect(text).toContain("no difference that can be measured");
  });

  it("is the cheapest of those that are as good as the best", () => {
    const shares = { "qcow2 metadata": 0.52, "qcow2 falloc": 0.5, "qcow2 full": 0.5 };
    const { label, text } = recommend(findings(shares));
    expect(label).toBe("qcow2 metadata");
    expect(text).toContain("1.92 times as fast (1.");
    expect(text).toMatch(/It takes 293 KiB at once, and 5\.0 ms to make\.$/);
  });

  it("is a dear one where only that gains enough", () => {
    const shares = { "qcow2 metadata": 0.8, "qcow2 falloc": 0.4, "qcow2 full": 0.4 };
    expect(recommend(findings(shares)).label).toMatch(/^qcow2 (falloc|full)$/);
  });

  it("is never one that is slower, nor a raw one, nor an overlay", () => {
    const shares = { "raw full": 0.1, "overlay extended L2": 0.1, "qcow2 metadata": 2 };
    expect(recommend(findings(shares)).label).toBeUndefined();
  });

  it("is not known from few rounds, and that is said", () => {
    const few = findings({ "qcow2 full": 0.1 }, 3);
    const recommendation = recommend(few);
    expect(recommendation.label).toBeUndefined();
    expect(recommendation.text).toContain("Only 3 rounds");
    expect(concludeGuest(few, recommendation)[0]).toContain("Only 3 rounds: too few");
  });
});

it("says for each kind of access what differs", () => {
  const found = findings({ "qcow2 full": 0.5, "overlay extended L2": 2 });
  const lines = concludeGuest(found, recommend(found));
  const line = lines.find((text) => text.startsWith("First write, 4 KiB at random, cache=none"));
  expect(line).toMatch(/qcow2 full is 2\.0\d times as fast \(.*\) compared with qcow2 off/);
  expect(line).toMatch(/overlay extended L2 is 2\.0\d times as slow \(.*\) compared with overlay/);
  const reads = lines.find((text) => text.startsWith("Read, 4 KiB at random"));
  expect(reads).toContain("no difference that can be measured");
});
