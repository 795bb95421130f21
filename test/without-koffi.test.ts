import { cpSync, mkdirSync, symlinkSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { run, temporaryDirectory } from "./host-peer.ts";

const directory = temporaryDirectory();

/**
 * The room as it runs where koffi was not installed: its sources, copied to a place from which no
 * package can be found.
 */
test("files are made, written, replaced and read without koffi", async () => {
  const source = fileURLToPath(new URL("../src", import.meta.url));
  mkdirSync(`${directory}/work`);
  for (const room of ["host", "disk", "storage", "codec", "bytes", "errors.ts"]) {
    cpSync(`${source}/${room}`, `${directory}/src/${room}`, { recursive: true });
  }
  // What the codecs need, and nothing else.
  mkdirSync(`${directory}/node_modules`);
  symlinkSync(`${source}/../node_modules/pako`, `${directory}/node_modules/pako`);
  symlinkSync(`${directory}/work`, `${directory}/link`);
  const script = `
    import { fileProvider, missingCapabilities, systemLibc } from "./src/host/index.ts";
    const provider = fileProvider();
    for (const staged of [true, false, true]) {
      const made = await provider.create("link/image", { staged, nocow: true });
      await made.storage.write(0, new Uint8Array(4096).fill(1));
      await made.storage.truncate(8192);
      await made.publish();
      await made.storage.close();
    }
    const again = await provider.open("link/image", { writable: true });
    const bytes = new Uint8Array(8192);
    const count = await again.read(0, bytes);
    const absent = ["extent", "zero", "allocate"].filter((verb) => again[verb] === undefined);
    await again.flush();
    await again.close();
    console.log(JSON.stringify({
      libc: systemLibc().libc === undefined,
      missing: missingCapabilities().length,
      count, first: bytes[4095], second: bytes[4096], absent,
    }));
  `;
  const { code, stdout, stderr } = await run(
    process.execPath,
    ["--input-type=module", "--no-warnings", "--eval", script],
    { cwd: directory, env: { NODE_PATH: "", NODE_OPTIONS: "" } },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual({
    libc: true,
    missing: 3,
    count: 8192,
    first: 1,
    second: 0,
    absent: ["extent", "zero", "allocate"],
  });
});
