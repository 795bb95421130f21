/**
 * Requests of 4 KiB through the library, as `qemu-img bench` makes them:
 * `node bench/requests.ts read|write FILE COUNT DEPTH STRIDE`.
 */
import { open } from "../dist/index.js";

const [kind, file = "", count = "0", depth = "1", stride = "4096"] = process.argv.slice(2);
const size = 4096;
const total = Number(count);

await using disk = await open(file, { format: "qcow2", writable: kind === "write" });
let next = 0;
let offset = 0;

async function worker(): Promise<void> {
  const bytes = new Uint8Array(size).fill(kind === "write" ? 1 : 0);
  while (next < total) {
    next++;
    const at = offset;
    // Around the end of the disk and on, as qemu-img does: the next time round meets other blocks.
    offset = (offset + Number(stride)) % disk.size;
    if (kind === "write") await disk.write(at, bytes);
    else await disk.read(at, bytes);
  }
}

const start = performance.now();
await Promise.all(Array.from({ length: Number(depth) }, worker));
const seconds = (performance.now() - start) / 1000;
process.stdout.write(`Run completed in ${seconds.toFixed(3)} seconds.\n`);
