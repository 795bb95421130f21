/** What options of a node can hold; nested as in JSON. */
export type NodeJson = string | number | boolean | null | { readonly [key: string]: NodeJson };

/**
 * QEMU keeps objects in a hash table of 512 buckets and prints them bucket by bucket, what was put
 * in last first. Scripts that compare text depend on it.
 */
export function qemuKeyOrder(keys: readonly string[]): string[] {
  return keys
    .map((key, index) => ({ key, index, bucket: qemuHash(key) % 512 }))
    .toSorted((a, b) => a.bucket - b.bucket || b.index - a.index)
    .map(({ key }) => key);
}

/** The hash function of QEMU's dictionaries (that of Samba's tdb), over ASCII keys. */
function qemuHash(key: string): number {
  let value = Math.imul(0x238f13af, key.length);
  for (let i = 0; i < key.length; i++) {
    value = (value + (key.charCodeAt(i) << ((i * 5) % 24))) | 0;
  }
  return (Math.imul(1103515243, value) + 12345) >>> 0;
}

/** The `json:` name of an image that no plain name describes, as QEMU writes it. */
export function jsonName(options: NodeJson): string {
  return `json:${write(options)}`;
}

function write(value: NodeJson): string {
  if (typeof value === "string") return quoted(value);
  if (value === null || typeof value !== "object") return String(value);
  const members = qemuKeyOrder(Object.keys(value)).map(
    (key) => `${quoted(key)}: ${write(value[key] ?? null)}`,
  );
  return `{${members.join(", ")}}`;
}

/** QEMU's JSON is ASCII. */
function quoted(text: string): string {
  return JSON.stringify(text).replaceAll(
    /[\u007f-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}`,
  );
}
