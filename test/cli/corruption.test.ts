/** Command lines on images that are damaged, of qemu-img and of ours: what is said, marked and left alone. */
import { test } from "vitest";
import { describePeer } from "../peers.ts";
import { expectSideBySide } from "./side-by-side.ts";

/** An image with one cluster of data and an overlay, then some bytes of it changed. */
const damaged = (...pokes: readonly string[]): string[] => [
  "create -q -f raw src.raw 4M",
  "poke src.raw 0 0102030405060708",
  "poke src.raw 1048576 0102030405060708",
  "create -q -f raw o.raw 4M",
  "create -q -f qcow2 t.qcow2 4M",
  "io t.qcow2 write -P 1 0 64k",
  "create -q -f qcow2 -b t.qcow2 -F qcow2 over.qcow2 4M",
  "io over.qcow2 write -P 5 0 128k",
  ...pokes.map((poke) => `poke t.qcow2 ${poke}`),
];

const damages: ReadonlyArray<readonly [what: string, pokes: readonly string[]]> = [
  ["data over the L2 table", ["0x40000 8000000000040000"]],
  ["data over the L1 table", ["0x40000 8000000000030000"]],
  ["data over the refcount table", ["0x40000 8000000000010000"]],
  ["data over a refcount block", ["0x40000 8000000000020000"]],
  ["a free L1 table", ["0x20006 0000", "0x40000 0000000000000000"]],
  ["a free refcount table", ["0x20002 0000", "0x40000 0000000000000000"]],
  ["a free header", ["0x20000 0000", "0x40000 0000000000000000"]],
  ["unaligned data", ["0x40000 8000000000050200"]],
  ["an unaligned L2 table", ["0x30000 8000000000040200"]],
  ["an unaligned refcount block", ["0x10000 0000000000020200"]],
];

const commands = ["convert -n -f raw -O qcow2 src.raw t.qcow2", "commit -q over.qcow2"];

/** What is done to some of them only: others end in other words, with other files left, or need not look. */
const others: readonly string[] = [
  "convert -n --target-image-opts src.raw driver=qcow2,overlap-check=constant,file.filename=t.qcow2",
  "convert -n -c -f raw -O qcow2 src.raw t.qcow2",
  "convert -n -f qcow2 -O raw t.qcow2 o.raw",
];
const isOfUse = (what: string, command: string): boolean =>
  command.includes("constant")
    ? what.startsWith("data over")
    : command.includes(" -c ")
      ? what.startsWith("a free")
      : !what.includes("refcount block");

/** Where the mapping cannot be read, QEMU says so; that is the only thing not said. */
const mask = (text: string): string =>
  text.replace(/(error while reading block status at offset \d+|Block job failed): /, "");

/** Entries of the refcount table that point where no file can be. */
const impossible = ["0080000000010000", "0080000000010200", "0020000000000000", "007ffffffffffe00"];

describePeer(["qemu-img@7.2", "qemu-io"], "refcount blocks nowhere", () => {
  for (const hex of impossible) {
    test(`entry ${hex}`, async () => {
      await expectSideBySide([
        ...damaged(`0x10008 ${hex}`),
        "check t.qcow2",
        "check --output=json t.qcow2",
        "check -r leaks t.qcow2",
        "convert -n -f raw -O qcow2 src.raw t.qcow2",
        "check t.qcow2",
      ]);
      await expectSideBySide([...damaged(`0x10000 ${hex}`), "check t.qcow2", "info t.qcow2"]);
    });
  }
});

describePeer(["qemu-img@7.2", "qemu-io"], "damaged images", () => {
  for (const [what, pokes] of damages) {
    // QEMU asks for refcounts before there is a need.
    const asked = what === "an unaligned refcount block" ? [] : commands;
    for (const command of [...asked, ...others.filter((other) => isOfUse(what, other))]) {
      test(`${what}: ${command}`, async () => {
        const isMapping = what.startsWith("unaligned data") || what.startsWith("an unaligned");
        const tolerance = isMapping ? { mask } : {};
        await expectSideBySide([...damaged(...pokes), command, "info t.qcow2"], tolerance);
      });
    }
  }
});

describePeer(["qemu-img@7.2", "qemu-io"], "L1 entries with flags and no offset", () => {
  for (const hex of ["8000000000000000", "2000000000000000", "0000000000000001"]) {
    test(`entry ${hex}`, async () => {
      await expectSideBySide([...damaged(`0x30000 ${hex}`), "check t.qcow2", "check t.qcow2"]);
    });
  }
});
