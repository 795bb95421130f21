/** Version of the package; a test holds it equal to package.json. */
export const VERSION = "0.1.0";

/** The version of QEMU whose qemu-img this program stands in for. */
export const QEMU_VERSION = "7.2.22";
