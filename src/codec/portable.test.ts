import { expect, test } from "vitest";
import { testCodecs } from "./codecs.test-kit.ts";
import { portableCodecs } from "./portable.ts";

testCodecs("portableCodecs", portableCodecs);

test("zstd only reads", async () => {
  expect((await portableCodecs.load("zstd")).compress).toBeUndefined();
  expect((await portableCodecs.load("zlib")).compress).toBeDefined();
});
