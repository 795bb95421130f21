/**
 * The firmware of a guest that counts down in 64-bit code and says so: what is needed to see whether guests run on
 * the processor. Where KVM carries kernel code out instruction by instruction (KVM without the processor's help,
 * inside another virtual machine), the first few instructions work, and a kernel would take minutes to unpack itself.
 */

/** What the guest writes to the port in the end. */
export const trialWord = 0x10;
export const trialPort = 0xf4;

/** A fortieth of a second for a processor, a tenth for TCG, and 30 seconds for such a KVM. */
const COUNT = 2 ** 26;

/** Firmware ends 16 bytes after the address at which a processor begins. */
const LENGTH = 65_536;
const RESET = LENGTH - 16;

const word = (value: number): number[] => [value & 0xff, (value >>> 8) & 0xff];
const long = (value: number): number[] => [...word(value), ...word(value >>> 16)];

/** Where memory gets the second part, and the page tables: level 4, 3 and 2. */
const HIGH_PART = 0x8000;
const [LEVEL4, LEVEL3, LEVEL2] = [0x1000, 0x2000, 0x3000];
const PRESENT = 0x3;
/** A page of 2 MiB. */
const LARGE = 0x80;

/** In 64-bit mode. */
const countdown: readonly number[] = [
  [0xb9, ...long(COUNT)], // mov ecx, COUNT
  [0xff, 0xc9], // dec ecx
  [0x75, 0xfc], // jnz to the line above
  [0xb0, trialWord], // mov al, trialWord
  [0xe6, trialPort], // out trialPort, al
  [0xf4], // hlt
  [0xeb, 0xfd], // jmp to the line above
].flat();

/** Nothing, and code of 64 bits. */
const descriptors: readonly number[] = [
  [0, 0].flatMap(long),
  [0xffff, 0x00af_9a00].flatMap(long),
].flat();
const CODE = 8;

/** From real mode to 64-bit mode: Intel's manual, volume 3, section 10.8.5. */
function switchModes(to: number, table: number): number[] {
  return [
    [0x8e, 0xd8], // mov ds, ax
    [0xc7, 0x06, ...word(LEVEL4), ...word(LEVEL3 | PRESENT)], // mov word [LEVEL4], …
    [0xc7, 0x06, ...word(LEVEL3), ...word(LEVEL2 | PRESENT)], // mov word [LEVEL3], …
    [0xc7, 0x06, ...word(LEVEL2), ...word(LARGE | PRESENT)], // mov word [LEVEL2], …
    [0x66, 0x0f, 0x01, 0x16, ...word(table)], // lgdt [table]
    [0x66, 0xb8, ...long(0x20)], // mov eax, PAE
    [0x0f, 0x22, 0xe0], // mov cr4, eax
    [0x66, 0xb8, ...long(LEVEL4)], // mov eax, LEVEL4
    [0x0f, 0x22, 0xd8], // mov cr3, eax
    [0x66, 0xb9, ...long(0xc000_0080)], // mov ecx, EFER
    [0x0f, 0x32], // rdmsr
    [0x80, 0xcc, 0x01], // or ah, LME
    [0x0f, 0x30], // wrmsr
    [0x0f, 0x20, 0xc0], // mov eax, cr0
    [0x66, 0x0d, ...long(0x8000_0001)], // or eax, PG | PE
    [0x0f, 0x22, 0xc0], // mov cr0, eax
    [0xea, ...word(to), ...word(CODE)], // jmp CODE:to
  ].flat();
}

/** Carried out in the firmware: brings the second part into memory. */
function copyDown(from: number, length: number): number[] {
  return [
    [0xfa], // cli
    [0x31, 0xc0], // xor ax, ax
    [0x8e, 0xc0], // mov es, ax
    [0xbe, ...word(from)], // mov si, from
    [0xbf, ...word(HIGH_PART)], // mov di, HIGH_PART
    [0xb9, ...word(length)], // mov cx, length
    [0x2e, 0xf3, 0xa4], // rep movsb es:[di], cs:[si]
    [0xea, ...word(HIGH_PART), ...word(0)], // jmp 0:HIGH_PART
  ].flat();
}

/** 64 KiB that end where a processor begins. */
export function trialRom(): Uint8Array {
  const sizes = { first: copyDown(0, 0).length, modes: switchModes(0, 0).length };
  const to = HIGH_PART + sizes.modes;
  const gdt = to + countdown.length;
  const table = gdt + descriptors.length;
  const second = [
    ...switchModes(to, table),
    ...countdown,
    ...descriptors,
    ...word(descriptors.length - 1),
    ...long(gdt),
  ];
  const rom = new Uint8Array(LENGTH);
  rom.set([...copyDown(sizes.first, second.length), ...second]);
  rom.set([0xe9, ...word(LENGTH - (RESET + 3))], RESET); // jmp to the start
  return rom;
}
