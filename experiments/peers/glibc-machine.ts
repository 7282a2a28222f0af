/** What the model of glibc has to know of the machine it stands for. */
import { availableParallelism } from 'node:os';
import type { KernelProfile } from '../../sim/index.ts';
import { type GlibcMachine, glibc_machine } from '../../sim/peers/glibc.ts';

/** The version of the C library that this process runs on, such as "2.36"; null where it is another one. */
export function runningGlibc(): string | null {
  const { header } = process.report.getReport() as unknown as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? null;
}

/**
 * What a thread that is made takes of the first heap: its vector of thread-local storage, for the one module that has any
 * and 14 to come (`allocate_dtv` of elf/dl-tls.c: 17 entries of 16 bytes).
 */
const thread_vector_bytes = 288;

/** `threads`: of the trace. Whoever replays it makes them all before it begins. */
export function glibcMachine({ read_maps_zero }: KernelProfile, threads: number, version?: string): GlibcMachine {
  return {
    ...glibc_machine,
    version: version ?? runningGlibc() ?? glibc_machine.version,
    processors: availableParallelism(),
    read_maps_zero,
    start_bytes: glibc_machine.start_bytes + (threads - 1) * thread_vector_bytes,
  };
}
