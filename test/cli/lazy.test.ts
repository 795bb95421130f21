/** Images with lazy refcounts, side by side with qemu-img; and what is left of one that was not closed. */
import { spawn } from "node:child_process";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { create, open } from "../../src/index.ts";
import { hasPeer, peer } from "./harness.ts";
import { expectSideBySide } from "./side-by-side.ts";

const mask = (text: string): string =>
  text
    .replaceAll(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d/g, "DATE")
    .replaceAll(/("actual-size":|disk size:) .*/g, "$1");

describe.skipIf(!hasPeer)("lazy refcounts", () => {
  it("end as qemu-img ends with them", () =>
    expectSideBySide(
      [
        "create -q -f qcow2 -o lazy_refcounts=on a.qcow2 9M",
        "create -q -f raw b.raw 9M",
        "io b.raw write -P 3 1M 2M; write -P 4 7M 64k",
        "convert -n -O qcow2 b.raw a.qcow2",
        "check a.qcow2",
        "info a.qcow2",
        "resize a.qcow2 20M",
        "snapshot -c one a.qcow2",
        "check a.qcow2",
        "bitmap --add a.qcow2 b",
        "dd if=b.raw of=c.qcow2 bs=1M count=2 -O qcow2",
        "amend -f qcow2 -o lazy_refcounts=off a.qcow2",
        "check a.qcow2",
        "create -q -f qcow2 -b a.qcow2 -F qcow2 -o lazy_refcounts=on top.qcow2",
        "io top.qcow2 write -P 9 0 1M",
        "rebase -b b.raw -F raw top.qcow2",
        "check top.qcow2",
        "commit -d top.qcow2",
        "check top.qcow2",
        "convert -n --target-image-opts -O raw b.raw driver=qcow2,file.filename=a.qcow2,lazy-refcounts=on",
        "convert -n --target-image-opts b.raw driver=qcow2,file.filename=a.qcow2,lazy-refcounts=on",
        "check a.qcow2",
        "info a.qcow2",
      ],
      { mask },
    ));

  it("leave a dirty image behind when the writer is killed, which qemu-img repairs", async () => {
    const directory = mkdtempSync(join(tmpdir(), "platter-lazy-"));
    try {
      const file = join(directory, "a.qcow2");
      await create({
        name: file,
        format: "qcow2",
        size: 2 ** 24,
        formatOptions: { lazy_refcounts: true },
      });
      const program = `
        const { open } = await import(${JSON.stringify(new URL("../../src/index.ts", import.meta.url).href)});
        const disk = await open(process.argv[1], { writable: true });
        await disk.write(0, new Uint8Array(2 ** 20).fill(7));
        await disk.flush();
        console.log("flushed");
        setInterval(() => {}, 1000);
      `;
      const child = spawn(process.execPath, ["--input-type=module", "-e", program, file], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      await new Promise((resolve) => child.stdout.once("data", resolve));
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
      expect(readFileSync(file)[79]! & 1).toBe(1);
      const theirs = join(directory, "b.qcow2");
      copyFileSync(file, theirs);
      expect(peer(["check", "-r", "all", theirs]).code).toBe(0);
      const lines: string[] = [];
      {
        await using disk = await open(file, {
          writable: true,
          onRepair: (line) => lines.push(line),
        });
        const found = new Uint8Array(2 ** 20);
        await disk.read(0, found);
        expect(found.every((byte) => byte === 7)).toBe(true);
      }
      expect(lines.some((line) => line.startsWith("Rep") || line.startsWith("Reb"))).toBe(true);
      expect(peer(["check", file])).toMatchObject({ code: 0 });
      expect(peer(["compare", file, theirs]).code).toBe(0);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
