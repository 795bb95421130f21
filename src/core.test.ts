import { expect, it } from "vitest";
import { PlatterError, errorCodes } from "./core.ts";

it("throws errors whose code and details can be told apart from the message", () => {
  const error = new PlatterError("E_IO", "disk.img: read failed", { file: "disk.img" });
  expect(error).toBeInstanceOf(Error);
  expect(errorCodes).toHaveProperty(error.code);
  expect(error.details.file).toBe("disk.img");
});
