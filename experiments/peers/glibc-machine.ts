/** What the model of glibc has to know of the machine it stands for. */
import { availableParallelism } from 'node:os';
import type { KernelProfile } from '../../sim/index.ts';
import { type GlibcMachine, glibc_machine } from '../../sim/peers/glibc.ts';

/** The version of the C library that this process runs on, such as "2.36"; null where it is another one. */
export function runningGlibc(): string | null {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? null;
}

export function glibcMachine({ read_maps_zero }: KernelProfile, version?: string): GlibcMachine {
  return {
    ...glibc_machine,
    version: version ?? runningGlibc() ?? glibc_machine.version,
    processors: availableParallelism(),
    read_maps_zero,
  };
}
