/**
 * The result of a call that takes a callback, as a promise. `node:fs/promises` has the same calls, but loading it loads
 * a good part of Node besides, at every start of the program.
 */
export function promised<T = void>(
  start: (done: (error: Error | null | undefined, result?: T) => void) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, result) => {
      if (error === null || error === undefined) resolve(result as T);
      else reject(error);
    });
  });
}
