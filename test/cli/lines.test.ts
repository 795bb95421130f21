/** Command lines run by qemu-img and by us, side by side: the same words, exit codes and files. */
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { main } from "../../src/cli/main.ts";
import { services } from "../../src/cli/services.ts";
import { FakeEnvironment, hasPeer, type Outcome, peer } from "./harness.ts";

/** The words after the program's name; as one text where no word is empty or has a blank. */
type Line = string | readonly string[];

const directory = mkdtempSync(join(tmpdir(), "platter-lines-"));
const base = join(directory, "base");
const home = process.cwd();
afterAll(() => {
  process.chdir(home);
  rmSync(directory, { recursive: true, force: true });
});

const images = [
  "create v2.q -f qcow2 -o compat=0.10 1M",
  "create a.q -f qcow2 1M",
  "create a.raw 1M",
  "create ov.q -f qcow2 -b a.raw -F raw",
  "create ovn.q -f qcow2 -u -b nope -F raw 1M",
];

beforeAll(() => {
  if (!hasPeer) return;
  mkdirSync(base);
  for (const line of images) {
    const { code, stderr } = peer(line.split(" "), base);
    if (code !== 0) throw new Error(stderr);
  }
  peer(
    [
      "create",
      "over.q",
      "-f",
      "qcow2",
      "-b",
      'json:{"driver":"raw","file.filename":"a.raw"}',
      "-F",
      "raw",
    ],
    base,
  );
  peer(["bench", "-w", "-c", "3", "-S", "200k", "--pattern=7", "a.q"], base);
  writeFileSync(
    join(base, "r.raw"),
    Uint8Array.from({ length: 100_000 }, (_, i) => (i * 7) >> 3),
  );
});

const SECONDS = /completed in [0-9.]+ seconds/;

/** What a program said, but for how long it took. */
const timeless = ({ stdout, ...rest }: Outcome): Outcome => ({
  ...rest,
  stdout: stdout.replace(SECONDS, "completed in some seconds"),
});

/** Runs our program in this process, called by the name qemu-img. */
async function ours(words: readonly string[], cwd: string): Promise<Outcome> {
  const environment = new FakeEnvironment();
  process.chdir(cwd);
  try {
    const code = await main(["node", "/somewhere/qemu-img", ...words], environment, {
      ...services,
    });
    return { stdout: environment.stdout.text, stderr: environment.stderr.text, code };
  } finally {
    process.chdir(home);
  }
}

/** qemu-img measures a processor before it counts a LUKS header, which fails on a busy machine. */
function patientPeer(words: readonly string[], cwd: string): Outcome {
  for (let i = 0; ; i++) {
    const outcome = peer(words, cwd);
    if (i === 20 || !outcome.stderr.includes("accurate CPU usage")) return outcome;
  }
}

function files(side: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(side).toSorted()) {
    found[name] = readFileSync(join(side, name)).toString("latin1");
  }
  return found;
}

/** Runs a line on both sides, and expects the same words, exit codes and files. */
async function expectSame(line: Line): Promise<void> {
  const words = typeof line === "string" ? line.split(" ").filter((word) => word !== "") : line;
  const sides = { theirs: join(directory, "theirs"), ours: join(directory, "ours") };
  for (const side of Object.values(sides)) {
    rmSync(side, { recursive: true, force: true });
    cpSync(base, side, { recursive: true });
  }
  const expected = timeless(patientPeer(words, sides.theirs));
  expect(timeless(await ours(words, sides.ours))).toEqual(expected);
  // qemu-img makes the target before it finds out that it cannot be opened in such a mode.
  if (line === "convert -t foo a.raw y") return;
  const [left, right] = [files(sides.theirs), files(sides.ours)];
  expect(Object.keys(right)).toEqual(Object.keys(left));
  for (const name of Object.keys(left)) expect(right[name] === left[name], name).toBe(true);
}

const imageOptions: readonly Line[] = [
  "info --image-opts a.raw",
  ["info", "--image-opts", ""],
  "info --image-opts driver=raw",
  "info --image-opts driver=raw,file.filename=a.raw",
  "info --image-opts driver=qcow2,file.driver=file,file.filename=a.q",
  "info --image-opts driver=foo,file.filename=a.q",
  "info --image-opts file.filename=a.q",
  "info --image-opts filename=a.q",
  "info --image-opts driver=file,filename=a.q",
  "info --image-opts driver=qcow2,file.filename=a.q,foo=bar",
  "info --image-opts driver=qcow2,file.filename=a.q,file.foo=bar",
  "info --image-opts driver=qcow2,file.filename=nope",
  "info --image-opts driver=qcow2,file.foo=a.q",
  "info --image-opts driver=qcow2,file=a.q",
  "info --image-opts driver=qcow2,file.filename=a.q,backing.driver=raw,backing.file.filename=a.raw",
  "info --image-opts driver=qcow2,file.filename=a.q,backing=",
  "info --image-opts driver=qcow2,file.filename=a.q,backing=null",
  "info --image-opts driver=raw,file.filename=a.raw,offset=4096",
  "info --image-opts driver=raw,file.filename=a.raw,offset=4096,size=8192",
  "info --output=json --image-opts driver=raw,file.filename=a.raw,offset=4096,size=8192",
  "info --image-opts driver=raw,file.filename=a.raw,offset=4096,size=1000",
  "info --image-opts driver=raw,file.filename=a.raw,offset=2M",
  "info --image-opts driver=raw,file.filename=a.raw,size=2M",
  "info --image-opts driver=raw,file.filename=a.raw,offset=x",
  "info --image-opts driver=raw,file.filename=a.raw,offset=100",
  "info --image-opts driver=raw,file.filename=a.raw,file.locking=off",
  "info --image-opts driver=raw,file.filename=a.raw,file.locking=foo",
  "info --image-opts driver=raw,file.filename=a.raw,file.aio=native",
  "info --image-opts driver=raw,file.filename=a.raw,read-only=on",
  "info --image-opts driver=raw,file.filename=a.raw,read-only=x",
  "info --image-opts driver=raw,file.filename=a.raw,discard=x",
  "info --image-opts driver=raw,file.filename=a.raw,discard=unmap",
  "info --image-opts driver=raw,file.filename=a.raw,detect-zeroes=x",
  "info --image-opts driver=raw,file.filename=a.raw,detect-zeroes=unmap",
  "info --image-opts driver=raw,file.filename=a.raw,cache.direct=x",
  "info --image-opts driver=raw,file.filename=a.raw,cache.direct=on",
  "info --image-opts driver=raw,file.filename=a.raw,cache.foo=on",
  "info --image-opts driver=raw,file.filename=a.raw,cache=none",
  "info --image-opts -f raw file.filename=a.raw",
  "info --image-opts driver=raw,file.driver=host_device,file.filename=a.raw",
  "info --image-opts driver=host_device,filename=a.raw",
  "info --image-opts driver=raw,file.filename=a,,b.raw",
  "info --image-opts driver=raw,driver=qcow2,file.filename=a.raw",
  "info --image-opts driver=raw,file.filename=a.raw,file.filename=a.q",
  "info --image-opts driver=raw,file.filename",
  "info --image-opts driver",
  "info --image-opts driver=",
  "info --image-opts id=x,driver=raw,file.filename=a.raw",
  "info --image-opts node-name=x,driver=raw,file.filename=a.raw",
  "info --image-opts node-name=1x,driver=raw,file.filename=a.raw",
  "info --image-opts driver=raw,file.filename=a.raw,,file.x=1",
  "info --image-opts driver=qcow2,file.driver=raw,file.file.filename=a.q",
  "info json:{}",
  'info json:{"driver":"raw","file":{"driver":"file","filename":"a.raw"}}',
  'info json:{"driver":"raw","file.filename":"a.raw"}',
  'info json:{"file":{"driver":"file","filename":"a.q"}}',
  'info json:{"filename":"a.q"}',
  'info json:{"driver":"file","filename":"a.q"}',
  "info json:",
  "info json:x",
  "info json:[]",
  'info json:"a"',
  'info json:{"driver":"raw"',
  "info json:{'driver':'raw','file.filename':'a.raw'}",
  'info json:{"driver":"raw","file":"a.raw"}',
  'info json:{"driver":"raw","file":null}',
  'info json:{"driver":5,"file.filename":"a.raw"}',
  'info json:{"driver":"qcow2","file.filename":"a.q","backing":null}',
  'info json:{"driver":"qcow2","file.filename":"a.q","lazy-refcounts":true}',
  'info json:{"driver":"qcow2","file.filename":"a.q","lazy-refcounts":1}',
  'info json:{"driver":"qcow2","file.filename":"a.q","l2-cache-size":65536}',
  'info json:{"driver":"raw","file.filename":"a.raw","size":4096}',
  'info json:{"driver":"raw","file.filename":"a.raw","size":"4k","offset":512}',
  'info json:{"driver":"raw","file":{"filename":"a.raw"},"file.filename":"a.raw"}',
  'info json:{"driver":"raw","file":["a"]}',
  'info json:{"driver":"raw","file":{"filename":"a.raw","locking":true}}',
  'info json:{"driver":"raw","file":{"filename":1}}',
  'info json:{"driver":"raw","a":1,"b":2,"file":{"filename":"a.raw"}}',
  'info -f raw json:{"driver":"qcow2","file.filename":"a.q"}',
  'info -f qcow2 json:{"file.filename":"a.q"}',
  "create json:{} 1M",
  'create -f qcow2 -b json:{"driver":"raw","file.filename":"a.raw"} -F raw o3.q',
  'create -f qcow2 -b json:{"driver":"qcow2","file.filename":"a.q"} -F raw o3.q',
  "info json:{",
  'info json:{"a"',
  'info json:{"a":1,}',
  'info json:{"a":1]',
  "info json:{1:2}",
  ["info", 'json:{"a" 1}'],
  'info json:{"a":tru}',
  'info json:{"a":"x',
  'info json:{"a":01}',
  'info json:{"a":-}',
  'info json:{"a":1}x',
  'info json:{"a":%d}',
  'info json:{"a":"\\q"}',
  'info json:{"a":1,"a":2}',
  "info json:[1",
  ["info", "json: "],
  "info json:}",
  "info json::",
  'info json:{"a":@}',
  'info json:{"driver":"raw","file.filename":"a.raw","size":-1}',
  'info json:{"driver":"raw","size":512,"file":{"driver":"raw","offset":512,"file":{"driver":"file","filename":"a.raw","locking":"off"}}}',
  "map --image-opts driver=qcow2,file.filename=ov.q,backing=",
  "map --image-opts driver=qcow2,file.filename=ovn.q,backing.driver=raw,backing.file.filename=a.raw",
  "map --image-opts driver=qcow2,file.filename=ovn.q,backing.file.filename=a.raw",
  "map --image-opts driver=qcow2,file.filename=ovn.q,backing.driver=raw",
  "map --image-opts driver=qcow2,file.filename=ovn.q,backing.file.filename=nope2",
  "map --image-opts driver=qcow2,file.filename=ovn.q,backing=foo",
  'map json:{"driver":"qcow2","file.filename":"ov.q","backing":null}',
  "map --output=json --image-opts driver=raw,offset=4096,file.filename=a.raw",
  "map --output=json --image-opts driver=file,filename=a.raw",
  "check --image-opts driver=qcow2,file.filename=ov.q",
  "check -f qcow2 --image-opts driver=qcow2,file.filename=ov.q",
  "check --image-opts driver=raw,file.filename=ov.q",
  "check --output=json --image-opts driver=qcow2,file.filename=ov.q,l2-cache-size=64k",
  "compare --image-opts a.raw driver=raw,file.filename=a.raw",
  "compare --image-opts driver=raw,file.filename=a.raw driver=qcow2,file.filename=ov.q",
  "compare -f raw --image-opts driver=raw,file.filename=a.raw driver=qcow2,file.filename=ov.q",
  "map -U --image-opts driver=raw,file.filename=a.raw,force-share=on",
  "info --image-opts driver=raw,file.filename=a.raw,force-share=on,read-only=off",
  "info --image-opts driver=qcow2,file.filename=a.q,read-only=off",
  "info --image-opts driver=qcow2,file.filename=a.q,overlap-check=foo",
  "info --image-opts driver=qcow2,file.filename=a.q,l2-cache-size=1M,cache-size=64k",
  "info --image-opts driver=qcow2,file.filename=a.q,l2-cache-size=1M,cache-size=4M,refcount-cache-size=4M",
  "info --image-opts driver=qcow2,file.filename=a.q,l2-cache-entry-size=3",
  "info --image-opts driver=qcow2,file.filename=a.q,cache-clean-interval=x",
  ...["5000000000", "4294967295", "-1", "-0", "99999999999999999999", ""].map(
    (interval) =>
      `info --image-opts driver=qcow2,file.filename=a.q,cache-clean-interval=${interval}`,
  ),
  ...[
    "overlap-check=all",
    "overlap-check=all,overlap-check.template=all",
    "overlap-check=all,overlap-check.template=none",
    "overlap-check.template=foo",
    "overlap-check.active-l1=off,overlap-check.inactive-l2=on",
    "overlap-check.active-l1=maybe",
    "overlap-check.foo=on",
    "refcount-cache-size=x",
    "refcount-cache-size=1M,l2-cache-entry-size=512",
  ].map((options) => `info --image-opts driver=qcow2,file.filename=a.q,${options}`),
  "info --image-opts driver=qcow2,file.filename=a.q,l2-cache-size=x",
  "info --image-opts driver=qcow2,file.filename=v2.q,lazy-refcounts=on",
  "info --image-opts driver=qcow2,file.filename=a.q,encrypt.key-secret=s",
  "info --image-opts driver=qcow2,file.filename=a.q,encrypt.format=luks",
  "info --image-opts driver=qcow2,file.filename=a.q,pass-discard-request=x",
  "info --image-opts driver=qcow2,file.filename=a.q,discard=ignore,file.discard=unmap,detect-zeroes=on",
  "info --image-opts driver=qcow2,file.filename=a.q,detect-zeroes=unmap,discard=on",
  "info --image-opts driver=raw,file.filename=a.raw,file.aio=x",
  "info --image-opts driver=raw,file.filename=a.raw,auto-read-only=on",
  "info --image-opts driver=raw,file.filename=a.raw,copy-on-read=on",
  "info --image-opts driver=raw,noread-only,file.filename=a.raw",
  "create --image-opts x",
];

const objects: readonly Line[] = [
  "info --object foo a.raw",
  "info --object secret a.raw",
  "info --object secret,id=x a.raw",
  "info --object secret,id=x,data=1,file=b a.raw",
  "info --object secret,id=x,data=1 --object secret,id=x,data=1 a.raw",
  "info --object secret,id=x,foo=1 a.raw",
  'info --object {"qom-type":"secret","id":"x","data":"a"} a.raw',
  'info --object {"qom-type":"secret" a.raw',
  'info --object {"qom-type":"secret"} a.raw',
  "info --object secret,id=1x,data=a a.raw",
  "info --object id=x a.raw",
  "info --object qom-type=secret,id=x,data=a a.raw",
  ["info", "--object", "", "a.raw"],
  "info --object secret,id=x,data=a,format=foo a.raw",
  "info --object secret,id=x,data=YQ==,format=base64 a.raw",
  "info --object iothread,id=x a.raw",
  'info --object {"qom-type":"secret","id":"x","data":1} a.raw',
  'info --object {"id":"x"} a.raw',
  "info --object secret,id=x,data=a,data=b a.raw",
  "info --object secret,id=x,,y,data=a a.raw",
  "info --object secret,id=x,data a.raw",
  "info --object ,id=x a.raw",
  "info --object [] a.raw",
  "info --object {}x a.raw",
  "info --object secret,id=x,.=a a.raw",
  "info --object secret,id=x,data.a=b a.raw",
];

const measureLines: readonly Line[] = [
  "measure",
  "measure --size 1G",
  "measure --size 1G -O qcow2",
  "measure -O qcow2 a.q",
  "measure -f qcow2 --output=json -O qcow2 a.q",
  "measure --size 1G a.q",
  "measure -l x --size 1G",
  "measure -f qcow2 --size 1G",
  "measure -O foo --size 1G",
  "measure -o foo=1 -O qcow2 --size 1G",
  "measure --size -1",
  "measure --size x",
  "measure -o help",
  "measure -O qcow2 -o help",
  "measure -O qcow2 -o size=1G --size 1G",
  "measure a b",
  "measure nope",
  "measure -O vmdk --size 1G",
  "measure -O vmdk a.q",
  "measure -U --size 1G",
  "measure --image-opts --size 1G",
  "measure --size 7E -O qcow2",
  "measure --size 7E",
  "measure --size 1G -O qcow2 -o cluster_size=3k",
  "measure v2.q",
  "measure -O qcow2 v2.q",
  "measure -O qcow2 -o compat=0.10 a.q",
  "measure --output=json -O raw a.q",
  "measure --output=foo a.q",
  "measure -O qcow2 a.raw",
  "measure -O qcow2 --size 1G -o extended_l2=on,cluster_size=4k",
  "measure -O qcow2 --size 1G -o extended_l2=on",
  "measure -O qcow2 --size 1G -o preallocation=foo",
  "measure -O qcow2 --size 1G -o preallocation=full",
  "measure -O qcow2 --size 1G -o preallocation=metadata",
  "measure -O qcow2 --size 1G -o preallocation=falloc,backing_file=x",
  "measure -O qcow2 --size 1G -o backing_file=x",
  "measure -O qcow2 -o backing_file=x ov.q",
  "measure -O qcow2 ov.q",
  "measure -O qcow2 --size 1G -o compat=foo",
  "measure -O qcow2 --size 1G -o compat=0.10,refcount_bits=8",
  "measure -O qcow2 --size 1G -o refcount_bits=3",
  "measure -O qcow2 --size 1G -o refcount_bits=64",
  "measure --object secret,id=s,data=abc -O qcow2 --size 1G -o encrypt.format=luks,encrypt.key-secret=s",
  "measure --object secret,id=s,data=abc -O qcow2 --size 1G -o encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-alg=aes-128",
  "measure --object secret,id=s,data=abc -O qcow2 --size 1G -o encrypt.format=luks,encrypt.key-secret=s,encrypt.cipher-mode=cbc",
  "measure -O qcow2 --size 1G -o encrypt.format=luks,encrypt.key-secret=s",
  "measure -O qcow2 --size 1G -o encrypt.format=luks",
  "measure -O qcow2 --size 1G -o encryption=on",
  "measure -O qcow2 --size 1G -o encrypt.format=foo",
  "measure -O qcow2 --size 1G -o lazy_refcounts=on,compat=0.10",
  "measure -O qcow2 --size 1G -o data_file=x,data_file_raw=on",
  "measure -O qcow2 --size 1G -o compression_type=foo",
  "measure -O qcow2 --size 1G -o cluster_size=512",
  "measure -O qcow2 --size 1G -o cluster_size=2M",
  "measure -O qcow2 --size 1G -o nocow=on,backing_fmt=raw",
  "measure -O raw -o preallocation=foo --size 1000",
  "measure -O raw -o foo=1 --size 1000",
  "measure --size 1000 -O qcow2",
  "measure --size 0 -O qcow2",
  "measure -O raw r.raw",
  "measure -l foo a.q",
  "measure -l snapshot.id=1 a.q",
  "measure -l snapshot.foo=1 a.q",
  "measure -l x a.raw",
  "measure --size 1G --size 2G",
  ["measure", "-o", "", "--size", "1G"],
  "measure -o a, --size 1G",
  "measure --size 9E",
  "measure --size 1G -O file",
  "measure -f foo a.q",
  "measure -f raw --image-opts x",
  "measure --image-opts driver=raw,file.filename=a.raw,size=4k -O qcow2",
];

const ddLines: readonly Line[] = [
  "dd",
  "dd if=a.raw",
  "dd of=x",
  "dd foo",
  "dd foo=1 if=a.raw of=x",
  "dd if=a.raw of=x bs=0",
  "dd if=a.raw of=x bs=-1",
  "dd if=a.raw of=x bs=x",
  "dd if=a.raw of=x count=x",
  "dd if=a.raw of=x skip=-1",
  "dd if=a.raw of=x bs=3G",
  "dd if=a.raw of=x bs=2147483647",
  "dd if=a.raw of=x bs=2147483648",
  "dd if=nope of=x",
  "dd -O foo if=a.raw of=x",
  "dd -f foo if=a.raw of=x",
  "dd if=a.raw of=/nonexist/x",
  "dd -O qcow2 if=a.raw of=/nonexist/x",
  "dd if=a.raw of=x skip=5000",
  "dd if=a.raw of=x bs=1M skip=2",
  "dd if=r.raw of=x bs=1000 count=3 skip=1",
  "dd if=r.raw of=x count=0",
  "dd -O qcow2 if=r.raw of=x.q bs=1000 count=3 skip=1",
  "dd -U if=a.raw of=x",
  "dd --image-opts if=a.raw of=x",
  "dd --image-opts if=driver=raw,file.filename=a.raw of=x",
  "dd -f raw --image-opts if=x of=y",
  "dd -n if=a.raw of=x",
  "dd if= of=x",
  "dd =a",
  "dd if=a.raw of=x bs=",
  "dd if=a.raw of=x bs",
  "dd iflag=direct if=a.raw of=x",
  "dd --object secret,id=s,data=a if=a.raw of=x",
  "dd if=r.raw of=x count=7E",
  "dd if=r.raw of=x bs=512 skip=7E",
  "dd if=r.raw of=x bs=512 skip=195 count=10",
  "dd if=r.raw of=x bs=512 count=1.5",
];

const benchLines: readonly Line[] = [
  "bench",
  "bench a.raw b",
  "bench -c x a.raw",
  "bench -c -1 a.raw",
  "bench -c 0 a.raw",
  "bench -c 5000000000 a.raw",
  "bench -c 2 a.raw",
  "bench -d x a.raw",
  "bench -c 2 -d 9999999999 a.raw",
  "bench -f foo a.raw",
  "bench -f qcow2 a.raw",
  "bench -i x a.raw",
  "bench -c 2 -i threads a.raw",
  "bench -c 2 -i native a.raw",
  "bench -c 2 -n a.raw",
  "bench -c 2 -o x a.raw",
  "bench -c 2 -o 1G a.raw",
  "bench -c 2 -o 1M a.raw",
  "bench -c 3 -o 1040384 a.raw",
  "bench -c 2 -q a.raw",
  "bench -c 2 -s x a.raw",
  "bench -c 2 -s 0 a.raw",
  "bench -c 2 -s 3G a.raw",
  "bench -c 2 -s 2M a.raw",
  "bench -c 2 -s 1000 a.raw",
  "bench -c 2 -S x a.raw",
  "bench -c 2 -S 0 a.raw",
  "bench -c 2 -S 3G a.raw",
  "bench -c 5 -S 1M a.raw",
  "bench -c 2 -t x a.raw",
  "bench -c 2 -t unsafe a.raw",
  "bench -c 2 -t none a.raw",
  "bench -c 2 -t directsync a.raw",
  "bench -c 2 -w a.raw",
  "bench -c 2 -w -f raw --pattern=1 a.raw",
  "bench -c 2 -w --pattern=256 a.raw",
  "bench -c 200 -w -f raw --flush-interval=100 a.raw",
  "bench -c 200 --flush-interval=100 a.raw",
  "bench -c 200 -w --flush-interval=10 a.raw",
  "bench -c 200 -w -f raw --flush-interval=100 --no-drain a.raw",
  "bench -c 200 -w --flush-interval=x a.raw",
  "bench -U -c 2 a.raw",
  "bench -U -w -c 2 a.raw",
  "bench nope",
  "bench --image-opts -c 2 driver=raw,file.filename=a.raw",
  "bench -f raw --image-opts x",
  "bench -c 0x10 a.raw",
  "bench -c 1k a.raw",
  "bench -c 010 a.raw",
  "bench -w -c 1 a.q",
  ["bench", "-c", "", "a.raw"],
  "bench --object secret,id=s,data=a a.raw",
];

const convertLines: readonly Line[] = [
  "convert -f raw --image-opts x y",
  "convert -O qcow2 --target-image-opts a.raw y",
  "convert -n -O qcow2 --target-image-opts a.raw y",
  "convert -n --target-image-opts a.raw y",
  "convert -n --target-image-opts a.raw driver=raw,file.filename=a.q",
  "convert --image-opts driver=raw,file.filename=a.raw x",
  "convert --image-opts driver=raw,file.filename=a.raw driver=raw,file.filename=nope x",
  "convert -C -c -O qcow2 a.raw y",
  "convert -C -S 4k a.raw y",
  "convert -C --salvage a.raw y",
  "convert -C a.raw y",
  "convert -n -o size=1 --target-image-opts a.raw y",
  "convert --target-image-opts --target-is-zero a.raw y",
  "convert -r x a.raw y",
  "convert -r 0 a.raw y",
  "convert -r 100M a.raw y",
  "convert -t foo a.raw y",
  "convert -T foo a.raw y",
  "convert -W -m 4 a.raw y",
  "convert -t none -T none a.raw y",
  "convert -t directsync -O qcow2 a.raw y",
  "convert -t writethrough -O qcow2 a.raw y",
  "convert --salvage -p a.raw y",
  "convert -n -t none a.raw r.raw",
];

const otherLines: readonly Line[] = [
  "info over.q",
  "info --output=json over.q",
  "map over.q",
  "info --backing-chain over.q",
  "create file:x 1M",
  "create foo:bar 1M",
  "info foo:bar",
  "info file:a.raw",
  "info file:",
  ["info", ""],
  "info host_device:a.raw",
  "info quorum:x",
  "info raw:a.raw",
  "check -T foo a.q",
  "check -T none a.q",
  "compare -T foo a.q a.q",
  "compare -T none a.q a.q",
  "compare -T none a.q a.raw",
  "foo",
  "-x",
  "info",
  "info a b",
];

describe.skipIf(!hasPeer).each([
  ["image options and json: names", imageOptions],
  ["objects", objects],
  ["measure", measureLines],
  ["dd", ddLines],
  ["bench", benchLines],
  ["convert", convertLines],
  ["names, cache modes and what is around commands", otherLines],
] as const)("%s, beside qemu-img", (_title, lines) => {
  it.each(lines.map((line) => [typeof line === "string" ? line : line.join("␣"), line] as const))(
    "%s",
    async (_name, line) => expectSame(line),
  );
});
