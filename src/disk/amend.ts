import type { Progress } from "./check.ts";

/** What is to be different about an image; what is not named stays. */
export interface AmendOptions {
  /** The format's amend options, by name. */
  readonly values: Readonly<Record<string, string | number | boolean>>;
  /** Allow what may make the image unusable, such as erasing its last key; default false. */
  readonly force?: boolean;
  /** Changes the size of the disk, which takes more than the image. */
  readonly resize: (size: number) => Promise<void>;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}
