/** `check` and `check -r` of damaged snapshot tables, side by side with qemu-img. */
import { test } from "vitest";
import { describePeer } from "../peers.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** 64 KiB clusters; the table of two snapshots is in cluster 9: entries of 68 bytes at 0 and 72. */
const table = 0x9_0000;
const second = table + 72;
const image = (version: string): string[] => [
  `create -q -f qcow2 -o compat=${version} a.qcow2 4M`,
  "io a.qcow2 write -P 1 0 64k",
  "snapshot -c one a.qcow2",
  "snapshot -c two a.qcow2",
  // When they were taken is not to matter.
  "same a.qcow2",
];
const poke = (at: number, hex: string): string => `poke a.qcow2 ${at} ${hex}`;

const damages: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  "too much extra data": [poke(table + 36, "00000800")],
  "much too much extra data": [poke(second + 36, "ffffffff")],
  "as much extra data as is allowed": [poke(second + 36, "00000400")],
  // Id and name move up by 24 and 16 bytes.
  "no extra data": [poke(second + 36, "00000000"), poke(second + 40, "3274776f")],
  "no size of the disk": [poke(second + 36, "00000008"), poke(second + 48, "3274776f")],
  "no size of either": [poke(second + 36, "00000004"), poke(table + 36, "00000000")],
  "an entry that is not there": [poke(60, "00000003")],
  "a table behind the end": [poke(64, "0000000010000000")],
  "a table that is not aligned": [poke(70, "0200")],
  "more snapshots than there can be": [poke(60, "00020000")],
  "a table at a place that cannot be": [poke(64, "7000000000000000")],
};

/**
 * What is repaired otherwise: QEMU has 65536 snapshots that were never there, makes refcounts anew at other
 * places, or loses a cluster.
 */
const isOther = /^more|of either|cannot be/;

const commands = ["check", "check --output=json", "check -r leaks", "check -r all"];

describePeer(["qemu-img@7.2", "qemu-io"], "damaged snapshot tables", () => {
  for (const [what, pokes] of Object.entries(damages)) {
    for (const version of ["0.10", "1.1"]) {
      for (const command of commands) {
        if (command === "check -r all" && isOther.test(what)) continue;
        test(`${what}, version ${version}: ${command}`, async () => {
          const again = command.includes("-r") ? ["check a.qcow2"] : [];
          await expectSideBySide([...image(version), ...pokes, `${command} a.qcow2`, ...again]);
        });
      }
    }
  }
});
