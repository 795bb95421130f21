import { constants } from "node:os";
import { expect, test } from "vitest";
import { errno, errnoName, strerror } from "./errno.ts";
import { errnoError, hostError, systemCode, systemError } from "./errors.ts";

test.runIf(process.platform === "linux")("the table has the numbers of this system", () => {
  for (const name of ["ENOENT", "ENOSPC", "EDQUOT", "EOPNOTSUPP", "ELOOP", "ENXIO"] as const) {
    expect(errno(name)).toBe(constants.errno[name]);
    expect(errnoName(errno(name))).toBe(name);
  }
  expect(errnoName(4095)).toBe("E4095");
});

test("texts are those of glibc", () => {
  expect(strerror("ENOENT")).toBe("No such file or directory");
  expect(strerror("EIO")).toBe("Input/output error");
});

test.each([
  ["ENOENT", "E_NOT_FOUND"],
  ["EACCES", "E_PERMISSION"],
  ["EPERM", "E_PERMISSION"],
  ["EISDIR", "E_IS_DIRECTORY"],
  ["ENOSPC", "E_NO_SPACE"],
  ["EDQUOT", "E_NO_SPACE"],
  ["EFBIG", "E_FILE_TOO_LARGE"],
  ["EIO", "E_IO"],
  ["EROFS", "E_READ_ONLY"],
  ["ESTALE", "E_IO"],
])("%s is %s", (name, code) => {
  expect(systemError(name, "read", "x").code).toBe(code);
});

test("a refusal to open says it in QEMU's words too", () => {
  const error = systemError("ENOENT", "open", "disk.img");
  expect(error.message).toBe(
    "disk.img: cannot be opened: No such file or directory. Check the name.",
  );
  expect(error.details).toMatchObject({
    file: "disk.img",
    value: "ENOENT",
    qemu: "Could not open 'disk.img': No such file or directory",
  });
});

test("errors of node and of libc come to the same", () => {
  const cause = Object.assign(new Error("write"), { code: "ENOSPC" });
  expect(systemCode(cause)).toBe("ENOSPC");
  const fromNode = hostError(cause, "write", "x", 512);
  const fromLibc = errnoError(-28, "write", "x", 512);
  expect(fromNode.message).toBe(fromLibc.message);
  expect(fromNode.details.offset).toBe(512);
  expect(fromNode.cause).toBe(cause);
  expect(hostError(fromLibc, "open", "y")).toBe(fromLibc);
});

test("an argument that node refuses is a limit, not an input/output error", () => {
  const cause = Object.assign(new RangeError("position"), { code: "ERR_OUT_OF_RANGE" });
  expect(hostError(cause, "read", "x").code).toBe("E_LIMIT");
});
