/** How a LUKS header begins (LUKS On-Disk Format Specification 1.2.3, "PHDR"). */
export const luksMagic: readonly number[] = [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe];

/** Whether bytes begin as a LUKS header of version 1 does. All that probing needs of LUKS. */
export const isLuks = (bytes: Uint8Array): boolean =>
  bytes.length >= 8 &&
  luksMagic.every((byte, i) => bytes[i] === byte) &&
  bytes[6] === 0 &&
  bytes[7] === 1;
