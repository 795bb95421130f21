/**
 * The life of a disk: partitions and an ext4 filesystem in a qcow2 image with three snapshots and two
 * overlays, which are committed, rebased, reverted, and turned into version 2 and back. Either program
 * takes the steps and the other one reads: after each, every state has to be what the model says.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, assert, expect, it } from "vitest";
import { expectEqual } from "../../src/formats/expectations.test-kit.ts";
import { open } from "../../src/index.ts";
import { runOurs } from "../cli/harness.ts";
import { describePeer, type Peer } from "../peers.ts";

const MiB = 2 ** 20;
const diskSize = 24 * MiB;
const partitionStart = MiB;

const home = mkdtempSync(join(tmpdir(), "platter-life-"));
afterAll(() => rmSync(home, { recursive: true, force: true }));

/** Takes a command line of qemu-img. */
type Program = (...words: string[]) => Promise<void>;
/** Fills guest bytes [at, at + length) of an image. */
type Write = (file: string, at: number, length: number, value: number) => Promise<void>;
/** All bytes of an image, or of one of its snapshots. */
type Read = (file: string, snapshot?: string) => Promise<Uint8Array>;

interface Hands {
  readonly program: Program;
  readonly write: Write;
  readonly read: Read;
}

/** What every image and every snapshot has to show. */
class Life {
  readonly directory: string;
  readonly hands: Hands;
  readonly images = new Map<string, Uint8Array>();
  readonly snapshots = new Map<string, Uint8Array>();
  private readonly qemuImg: Peer;
  /** Images that were read and found right. */
  verified = 0;
  private seed = 1;

  constructor(directory: string, hands: Hands, qemuImg: Peer) {
    this.directory = directory;
    this.hands = hands;
    this.qemuImg = qemuImg;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Writes to some places of an image, which need not be aligned to anything but sectors. */
  async change(name: string, count: number): Promise<void> {
    const bytes = this.images.get(name)!;
    for (let i = 0; i < count; i++) {
      this.seed = (Math.imul(this.seed, 1664525) + 1013904223) >>> 0;
      const at = (this.seed % (diskSize / 512 - 600)) * 512;
      const length = (1 + (this.seed >>> 22)) * 512 * (i % 2 === 0 ? 1 : 0.5) + 512;
      const whole = length - (length % 512);
      const value = 1 + (this.seed % 255);
      await this.hands.write(this.path(name), at, whole, value);
      bytes.fill(value, at, at + whole);
    }
  }

  /** Each state, read by the other program, is what it has to be, and no image is damaged. */
  async verify(step: string): Promise<void> {
    for (const [name, bytes] of this.images) {
      const { status, stdout, stderr } = await this.qemuImg.attempt(["check", this.path(name)]);
      assert.equal(status, 0, `${step}: ${name}: ${stdout}${stderr}`);
      this.verified++;
      expectEqual(await this.hands.read(this.path(name)), bytes, 0);
    }
    for (const [snapshot, bytes] of this.snapshots) {
      expectEqual(await this.hands.read(this.path("disk.qcow2"), snapshot), bytes, 0);
    }
  }

  async keep(snapshot: string): Promise<void> {
    await this.hands.program("snapshot", "-c", snapshot, this.path("disk.qcow2"));
    this.snapshots.set(snapshot, this.images.get("disk.qcow2")!.slice());
  }

  async overlay(name: string, base: string): Promise<void> {
    const { program } = this.hands;
    await program("create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2", this.path(name));
    this.images.set(name, this.images.get(base)!.slice());
  }
}

async function live(life: Life, source: string, options: string): Promise<void> {
  const { hands, images, snapshots } = life;
  const { program } = hands;
  const disk = life.path("disk.qcow2");
  const top = life.path("top.qcow2");
  const fresh = new Uint8Array(readFileSync(source));
  await program("convert", "-O", "qcow2", "-o", options, source, disk);
  images.set("disk.qcow2", fresh.slice());
  for (const snapshot of ["fresh", "two", "three"]) {
    await life.keep(snapshot);
    await life.change("disk.qcow2", 6);
  }
  await life.verify("snapshots");
  await life.overlay("mid.qcow2", "disk.qcow2");
  await life.change("mid.qcow2", 6);
  await life.overlay("top.qcow2", "mid.qcow2");
  await life.change("top.qcow2", 6);
  await life.verify("overlays");

  await program("rebase", "-b", "disk.qcow2", "-F", "qcow2", top);
  await life.verify("rebase to the disk");
  await program("rebase", "-b", "mid.qcow2", "-F", "qcow2", top);
  await life.verify("rebase to the overlay");
  cpSync(life.path("mid.qcow2"), life.path("moved.qcow2"));
  images.set("moved.qcow2", images.get("mid.qcow2")!.slice());
  await program("rebase", "-u", "-b", "moved.qcow2", "-F", "qcow2", top);
  await life.verify("rebase to another name");

  await program("commit", "-q", top);
  images.set("moved.qcow2", images.get("top.qcow2")!.slice());
  await life.verify("commit to the overlay");
  await program("commit", "-q", "-d", life.path("moved.qcow2"));
  images.set("disk.qcow2", images.get("top.qcow2")!.slice());
  // What it was made on is not there any more.
  images.delete("mid.qcow2");
  await life.verify("commit to the disk");

  await program("snapshot", "-a", "two", disk);
  for (const name of ["moved.qcow2", "top.qcow2"]) images.delete(name);
  images.set("disk.qcow2", snapshots.get("two")!.slice());
  await life.verify("apply");
  await life.change("disk.qcow2", 4);
  await program("snapshot", "-d", "two", disk);
  snapshots.delete("two");
  await life.verify("delete");

  if (!options.includes("extended_l2") && !options.includes("refcount_bits")) {
    await program("amend", "-o", "compat=0.10", disk);
    await life.verify("version 2");
    await life.change("disk.qcow2", 4);
    await program("amend", "-o", "compat=1.1", disk);
    await life.verify("version 3");
  }
  await program("snapshot", "-a", "three", disk);
  images.set("disk.qcow2", snapshots.get("three")!.slice());
  await program("snapshot", "-d", "three", disk);
  snapshots.delete("three");
  await life.change("disk.qcow2", 4);
  await life.verify("the end");
  await program("snapshot", "-a", "fresh", disk);
  await program("snapshot", "-d", "fresh", disk);
  snapshots.delete("fresh");
  images.set("disk.qcow2", fresh.slice());
  await life.verify("as new");
}

describePeer(
  ["qemu-img@7.2", "qemu-io", "mke2fs", "e2fsck", "sfdisk"],
  "the life of a disk",
  (qemuImg, qemuIo, mke2fs, e2fsck, sfdisk) => {
    const ourProgram: Program = async (...words) => {
      const { code, stderr } = await runOurs(words);
      expect(code, `${words.join(" ")}: ${stderr}`).toBe(0);
    };
    const ourWrite: Write = async (file, at, length, value) => {
      await using disk = await open(file, { writable: true, references: "follow" });
      await disk.write(at, new Uint8Array(length).fill(value));
    };
    const ourRead: Read = async (file, snapshot) => {
      const which = snapshot === undefined ? {} : { snapshot: { name: snapshot } };
      await using disk = await open(file, { references: "follow", ...which });
      const bytes = new Uint8Array(disk.size);
      await disk.read(0, bytes);
      return bytes;
    };
    const theirProgram: Program = async (...words) => {
      await qemuImg.run(words);
    };
    const theirWrite: Write = async (file, at, length, value) => {
      await qemuIo.run(["-c", `write -q -P ${value} ${at} ${length}`, file]);
    };
    const theirRead: Read = async (file, snapshot) => {
      const which = snapshot === undefined ? [] : ["-l", snapshot];
      const target = `${file}.raw`;
      await qemuImg.run(["convert", "-f", "qcow2", "-O", "raw", ...which, file, target]);
      return new Uint8Array(readFileSync(target));
    };

    const makeSource = async (): Promise<string> => {
      const source = join(home, "source.raw");
      const tree = join(home, "tree");
      mkdirSync(tree, { recursive: true });
      for (let i = 0; i < 40; i++) {
        writeFileSync(join(tree, `file ${i}`), `${i} `.repeat(1 + i * 2000));
      }
      writeFileSync(source, new Uint8Array(diskSize));
      const blocks = (diskSize - 2 * partitionStart) / 4096;
      const place = ["-E", `offset=${partitionStart}`, "-b", "4096", source, String(blocks)];
      await mke2fs.run(["-q", "-t", "ext4", "-d", tree, ...place]);
      const table = `label: gpt\nstart=${partitionStart / 512}, size=${blocks * 8}, type=L\n`;
      await sfdisk.run(["-q", source], { input: table });
      return source;
    };

    const hands = {
      "we act, QEMU reads": { program: ourProgram, write: ourWrite, read: theirRead },
      "QEMU acts, we read": { program: theirProgram, write: theirWrite, read: ourRead },
      "we act on what QEMU wrote": { program: ourProgram, write: theirWrite, read: theirRead },
    };
    const cases = [
      ["we act, QEMU reads", "cluster_size=65536"],
      ["we act, QEMU reads", "cluster_size=16384,extended_l2=on"],
      ["we act, QEMU reads", "cluster_size=4096,refcount_bits=64"],
      ["we act on what QEMU wrote", "cluster_size=512"],
      ["QEMU acts, we read", "cluster_size=65536"],
      ["QEMU acts, we read", "cluster_size=65536,extended_l2=on"],
    ] as const;

    it.each(cases)("%s: %s", async (who, options) => {
      const source = await makeSource();
      const directory = mkdtempSync(join(home, "life-"));
      const life = new Life(directory, hands[who], qemuImg);
      await live(life, source, options);
      expect(life.verified).toBeGreaterThan(20);
      const back = join(directory, "back.raw");
      await theirProgram("convert", "-O", "raw", life.path("disk.qcow2"), back);
      await e2fsck.run(["-fn", `${back}?offset=${partitionStart}`]);
      rmSync(directory, { recursive: true });
    });
  },
);
