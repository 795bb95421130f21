import { PlatterError, type ErrorCode } from "../src/errors.ts";

/** The code of the error that `work` rejects with; another kind of error fails the test. */
export async function codeOf(work: Promise<unknown>): Promise<ErrorCode | "none"> {
  try {
    await work;
    return "none";
  } catch (error) {
    if (error instanceof PlatterError) return error.code;
    throw error;
  }
}
