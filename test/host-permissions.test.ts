import {
  symlinkSync,
  chmodSync,
  chownSync,
  cpSync,
  mkdirSync,
  readdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { run, temporaryDirectory } from "./host-peer.ts";

const isRoot = process.getuid?.() === 0;
const nobody = 65534;

const directory = temporaryDirectory();

/**
 * An ordinary user's view of files that others own. Runs in a process of its own, which gives up
 * its rights once the program is loaded.
 */
test.skipIf(!isRoot)("an ordinary user's targets (root, to become one)", async () => {
  const source = fileURLToPath(new URL("../src", import.meta.url));
  for (const room of ["host", "disk", "storage", "codec", "bytes", "errors.ts"]) {
    cpSync(`${source}/${room}`, `${directory}/src/${room}`, { recursive: true });
  }
  // What the codecs need, and nothing else.
  mkdirSync(`${directory}/node_modules`);
  symlinkSync(`${source}/../node_modules/pako`, `${directory}/node_modules/pako`);
  chmodSync(directory, 0o755);
  const place = (name: string, mode: number, owner: number): void => {
    mkdirSync(`${directory}/${name}`);
    writeFileSync(`${directory}/${name}/old`, "content");
    chmodSync(`${directory}/${name}/old`, 0o666);
    chmodSync(`${directory}/${name}`, mode);
    chownSync(`${directory}/${name}`, owner, owner);
  };
  place("closed", 0o755, 0);
  place("sticky", 0o1777, 0);
  place("own", 0o755, nobody);
  writeFileSync(`${directory}/secret`, "content");
  chmodSync(`${directory}/secret`, 0o600);

  const inodes = (): bigint[] =>
    ["closed", "sticky", "own"].map((d) => statSync(`${directory}/${d}/old`, { bigint: true }).ino);
  const before = inodes();
  const script = `
    import { fileProvider } from "./src/host/index.ts";
    process.setegid(${nobody});
    process.seteuid(${nobody});
    const provider = fileProvider();
    const results = [];
    const attempt = async (work) => {
      try { results.push(await work()); } catch (error) { results.push(error.code + ": " + error.details.qemu); }
    };
    for (const name of ["closed/old", "sticky/old", "own/old"]) {
      await attempt(async () => {
        const made = await provider.create(name);
        await made.storage.write(0, new Uint8Array([65]));
        await made.publish();
        await made.storage.close();
        return "published";
      });
    }
    for (const staged of [false, true]) await attempt(() => provider.create("closed/new", { staged }));
    await attempt(() => provider.create("secret"));
    await attempt(() => provider.open("secret", { writable: false }));
    console.log(JSON.stringify(results));
  `;
  const { code, stdout, stderr } = await run(
    process.execPath,
    ["--input-type=module", "--no-warnings", "--eval", script],
    { cwd: directory },
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(JSON.parse(stdout)).toEqual([
    "published",
    "published",
    "published",
    "E_PERMISSION: Could not create 'closed/new': Permission denied",
    "E_PERMISSION: Could not create 'closed/new': Permission denied",
    "E_PERMISSION: Could not create 'secret': Permission denied",
    "E_PERMISSION: Could not open 'secret': Permission denied",
  ]);
  // All three were written in place: the directory, its sticky bit, or the owner asked for it.
  expect(inodes()).toEqual(before);
  for (const name of ["closed", "sticky", "own"]) {
    expect(statSync(`${directory}/${name}/old`)).toMatchObject({ size: 1, uid: 0 });
    expect(readdirSync(`${directory}/${name}`)).toEqual(["old"]);
  }
});
