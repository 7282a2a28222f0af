/** Which machine prices belong to: what of it and of its kernel they depend on, and an id over that. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { cpus, release, totalmem, type } from 'node:os';

export interface Machine {
  /** 16 hexadecimal digits over the rest. */
  readonly id: string;
  readonly cpu: string;
  readonly cpus: number;
  readonly memory_bytes: number;
  readonly kernel: string;
  /** As the kernel's files say it, such as "always [madvise] never". */
  readonly thp: { readonly enabled: string; readonly defrag: string };
  /** Null where the processor does not say. */
  readonly virtualised: boolean | null;
  readonly glibc: string;
}

/** Asks the system once. */
export function thisMachine(): Machine {
  machine ??= describe();
  return machine;
}

let machine: Machine | undefined;

function describe(): Machine {
  const processors = cpus();
  const thp = '/sys/kernel/mm/transparent_hugepage';
  const about = {
    cpu: processors[0]?.model.trim() ?? process.arch,
    cpus: processors.length,
    memory_bytes: totalmem(),
    kernel: `${type()} ${release()}`,
    thp: { enabled: textOf(`${thp}/enabled`), defrag: textOf(`${thp}/defrag`) },
    virtualised: isVirtual(),
    glibc: spawnSync('getconf', ['GNU_LIBC_VERSION'], { encoding: 'utf8' }).stdout?.trim() || 'none',
  };
  return { id: idOf(about), ...about };
}

/** Memory counts in GiB: what the kernel keeps for itself differs from boot to boot. */
function idOf({ cpu, cpus, memory_bytes, kernel, thp, virtualised, glibc }: Omit<Machine, 'id'>): string {
  const parts = [cpu, cpus, Math.round(memory_bytes / 2 ** 30), kernel, thp.enabled, thp.defrag, virtualised, glibc];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16);
}

/** Only where its id is both this machine's and that of what it says about itself. */
export function isThisMachine(other: Machine): boolean {
  return other.id === thisMachine().id && other.id === idOf(other);
}

/** "AMD EPYC, 2 CPUs, Linux 6.18.5". */
export function nameOf({ cpu, cpus, kernel }: Machine): string {
  return `${cpu}, ${cpus} CPUs, ${kernel}`;
}

function isVirtual(): boolean | null {
  const flags = /^flags\s*:(.*)$/m.exec(textOf('/proc/cpuinfo'))?.[1];
  return flags === undefined ? null : / hypervisor( |$)/.test(flags);
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return 'not known';
  }
}
