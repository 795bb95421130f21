import { expect, test } from "vitest";
import { alignedBytes } from "./aligned.ts";
import { requireKoffi } from "./foreign.ts";

test("buffers of all lengths start with a cache line", () => {
  const { address } = requireKoffi();
  for (const length of [1, 63, 65_536, 2 ** 21, 2 ** 21 + 1]) {
    const bytes = alignedBytes(length);
    expect(bytes.length).toBe(length);
    expect(address(bytes) % 64n, `${length} bytes`).toBe(0n);
  }
});
