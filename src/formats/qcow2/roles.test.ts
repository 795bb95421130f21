import { describe, expect, it } from "vitest";
import { ClusterRoles } from "./roles.ts";

const parts = (roles: ClusterRoles) =>
  [...roles.parts()].map(({ role, start, end }) => [role, start, end]);

describe("what clusters are for", () => {
  it("covers the file without gaps, the first role staying", () => {
    const roles = new ClusterRoles(512, 4096 + 100);
    roles.mark("header", 0, 512);
    roles.mark("data", 1000, 600);
    roles.mark("L1 table", 1024, 8);
    roles.mark("compressed", 4096, 5000);
    expect(parts(roles)).toEqual([
      ["header", 0, 512],
      ["data", 512, 2048],
      ["free", 2048, 4096],
      ["compressed", 4096, 4196],
    ]);
    expect([0, 1, 3, 4].map((index) => roles.isFree(index))).toEqual([false, false, false, true]);
  });

  it("skips what nobody has marked", () => {
    const size = 2 ** 45;
    const roles = new ClusterRoles(65536, size);
    roles.mark("data", size - 65536, 65536);
    roles.mark("data", size + 65536, 65536);
    expect(parts(roles)).toEqual([
      ["free", 0, size - 65536],
      ["data", size - 65536, size],
    ]);
  });

  it("has nothing to say about an empty file", () => {
    expect(parts(new ClusterRoles(512, 0))).toEqual([]);
  });
});
