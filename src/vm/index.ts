export { probeAcceleration } from "./acceleration.ts";
export type { Acceleration } from "./acceleration.ts";
export { runAppliance } from "./appliance.ts";
export type { Appliance, ApplianceListener } from "./appliance.ts";
export type { CloudInit } from "./cloud-init.ts";
export { readKeys } from "./cloud-init.ts";
export { attachConsole } from "./console.ts";
export type { ConsoleEnd, Terminal } from "./console.ts";
export { cpioArchive, injectInto } from "./cpio.ts";
export type { Guest } from "./guest-file.ts";
export {
  deleteGuest,
  destroyGuest,
  guestDisks,
  guestState,
  listGuests,
  resumeGuest,
  screenshot,
  serialLog,
  startGuest,
  stopGuest,
} from "./guests.ts";
export type { DiskUsage, GuestState } from "./guests.ts";
export { planInstall, startInstall } from "./install.ts";
export type { InstallOptions, InstallPlan } from "./install.ts";
export { installWithLibvirt } from "./libvirt.ts";
export type { Location } from "./location.ts";
export {
  bootDevices,
  chipsets,
  diskBuses,
  diskCaches,
  diskDiscards,
  graphicsKinds,
  networkModels,
} from "./machine.ts";
export type {
  BootDevice,
  Firmware,
  Graphics,
  GuestDisk,
  GuestNetwork,
  Machine,
  Serial,
} from "./machine.ts";
export type { DiskCost, DiskRequest } from "./new-disks.ts";
export type { BlockStatistics } from "./qmp-commands.ts";
export { QEMU } from "./qemu-process.ts";
export { lastLine, runProgram } from "./run-program.ts";
export { GuestStore, stateDirectory } from "./store.ts";
