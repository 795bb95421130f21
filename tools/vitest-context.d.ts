import "vitest";

declare module "vitest" {
  export interface ProvidedContext {
    /** What the number of runs of a property is multiplied with: 1, or more under LONG=1. */
    readonly effort: number;
    /** Seed of all properties, or null for a new one each time. */
    readonly seed: number | null;
  }
}
