/** A whole file of each format, small enough to damage byte by byte. */
import { gzipSync, strToU8, zipSync } from 'fflate';

export const raw = [
  'v 10400 3',
  'x e /home/me/calls',
  'X ./calls all',
  'I 1000 5e2919',
  'm 1 -',
  'm 1 x 5000 0 808 1000 31d',
  'm a /lib/lib x 9000 0 2000',
  'm 1b /usr/lib/libstdc++.so.6.0.1 20000 0 2000',
  't 61da 0',
  '+ 64 1 1000',
  't 9010 1',
  'c a',
  '+ 78 2 ffffffffffffff00',
  '- 1000',
  't 20010 1',
  '+ 1388 3 2000',
  '+ 8 1 3000',
  '+ 9 0 4000',
  '- ffffffffffffff00',
  '- 77',
  'R 3ac',
  '',
].join('\n');

export const interpreted = [
  'v 10400 3',
  'X ./calls all',
  'I 1000 5e2919',
  's b /home/calls',
  's 4 main',
  's 8 a b.cpp1',
  's 1b operator new(unsigned long)',
  'i 61db 1 2',
  'i 61ed 1 2 3 4a 2 3 1a',
  'i 70ed 1 4',
  'i 80ed 1',
  't 1 0',
  't 2 0',
  't 3 2',
  't 4 0',
  'a 64 1',
  '+ 0',
  'a 78 2',
  '+ 1',
  '+ 1',
  'c a',
  '- 1',
  'a 10 3',
  '+ 2',
  'a 10 4',
  '+ 3',
  '- 0',
  '- 0',
  '# strings: 4',
  '',
].join('\n');

/** `printf 'v 10400 3\n+ 64 0 1000\n' | zstd`, with its checksum. */
export const zstd_frame = Uint8Array.from(
  Buffer.from('28b52ffd0458b100007620313034303020330a2b203634203020313030300a11f203f1', 'hex'),
);

/** A protobuf field of a length: its number, then what it holds. */
export const field = (number: number, content: readonly number[]): number[] => [
  number * 8 + 2,
  content.length,
  ...content,
];
export const line = (call: number, content: readonly number[]): number[] => field(1, field(call, content));

export const bench_trace = Uint8Array.from([
  ...line(1, [8, 5, 16, 0xac, 2]),
  ...line(4, [8, 6, 16, 3, 24, 40]),
  ...line(3, [8, 7, 16, 5, 24, 0xe8, 7]),
  ...line(2, [8, 7, 16, 0xe8, 7]),
  ...line(2, []),
  ...line(1, [16, 9]),
  ...line(1, [8, 5, 16, 8, 24, 64]),
  ...line(1, [8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 16, 1]),
  16,
  3,
]);

export const mtrace_text = [
  '= Start',
  '@ ./calls:[0x11dc] + 0x55d22b4c14a0 0x64',
  '@ /lib/a b.so:(make+0x1f)[0x22ee] + 0x55d22b4c1510 0',
  '@ ./calls:[0x11fe] < 0x55d22b4c14a0',
  '@ ./calls:[0x11fe] > 0x55d22b4c1590 0x1388',
  '@ ./calls:[0x11dc] ! 0x55d22b4c1590 0x7fffffff',
  '+ 0x20 0x8',
  '@ [0x4011fe] + (nil) 0x99',
  '@ ./calls:[0x1290] - 0x55d22b4c1510',
  '@ ./calls:[0x1290] - 0x77',
  '= End',
  '',
].join('\n');

export const rep_text = '20000\n3\n7\n1\na 0 2040\na 1 8\nr 0 5000\nf -1\nf 1\nf 0\na 1 64\n';

export function words(...values: readonly (number | bigint)[]): Uint8Array {
  return new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer);
}

/** Type and register, as alk packs them. */
export const alk = (type: number, register: number): bigint => BigInt(type) + (BigInt(register) << 8n);

export const bytehound_kind = { alloc: 1, free: 2, realloc: 3, down: 4, up: 5 } as const;

export const alk_records = words(
  ...[alk(7, 0), 5000, 0, alk(5, 0), 3, 0, alk(0, 9), 100, 0, alk(3, 2 ** 30), 200, 64],
  ...[alk(7, 0), 6000, 0, alk(5, 0), 4, 0, alk(4, 9), 10, 300, alk(2, 10), 300, 0, alk(1, 77), 0, 0],
  ...[alk(6, 0), 0, 0, alk(0, 9), 8, 4096],
);

const { alloc, free, realloc, down, up } = bytehound_kind;
export const bytehound_replay = words(
  2,
  ...[down, 7, 0, 0, down, 3, 0, 0, alloc, 0, 1000, 64],
  ...[up, 0, 0, 0, alloc, 1, 1005, 100_000, realloc, 0, 1007, 128],
  ...[free, 1, 1005, 0, up, 0, 0, 0, alloc, 1, 1009, 5],
  0,
);

/** A log of jemalloc's profiler: three blocks, two threads. */
export const jemalloc_log = JSON.stringify({
  info: { duration: 5, lg_sample_rate: 0 },
  threads: [0, 1].map((thr_uid) => ({ thr_uid, thr_name: 'a "b]' })),
  stack_traces: [['0xa1', '0xb1'], ['0xa1', '0xb2'], []],
  allocations: [
    [5, 7, 16, 0],
    [0, 9, 32, 1],
    [8, 10, 8, 2],
  ].map(([made, freed, usize, stack]) => ({
    ...{ alloc_thread: 0, free_thread: 1, alloc_trace: stack, free_trace: 1 },
    ...{ alloc_timestamp: made, free_timestamp: freed, usize },
  })),
});

/** By format, and what it is packed in or a variant of it. */
export const whole_files: Readonly<Record<string, Uint8Array>> = {
  heaptrack: strToU8(raw),
  'heaptrack, interpreted': strToU8(interpreted),
  'heaptrack in gzip': gzipSync(strToU8(raw)),
  'heaptrack in zip': zipSync({ raw: strToU8(raw) }),
  'heaptrack in zstd': zstd_frame,
  valgrind: strToU8(
    '--7-- malloc(9) = 0x10\n--7-- calloc(3,4) = 0x20\n--7-- memalign(al 64, size 9) = 0x40\n--7-- free(0x10)\n',
  ),
  'malloc-bench': bench_trace,
  mtrace: strToU8(mtrace_text),
  rep: strToU8(rep_text),
  'jemalloc, its profiler': strToU8(jemalloc_log),
  logalloc: strToU8(
    '10 10 malloc(42)=#1\n10 11 calloc(4,42)=#2\n10 10 realloc(#2,84)=#1\n10 12 memalign(64,9)=0x10\n10 10 free(#1)\n',
  ),
  alk: alk_records,
  bytehound: bytehound_replay,
  'bytehound, older': words(1, 3, alloc, 0, 50, 64, realloc, 0, 51, 32, free, 0, 50, 0),
  // Two threads, and a sync between them.
  wl: Uint8Array.from([8, 9, 9, 1, 10, 2, 11, 11, 11, 18, 1, 2, 1, 0x83, 1, 6, 1, 1, 7, 1, 4, 2, 1, 7, 5, 2, 1]),
  wee_alloc: strToU8('Alloc(552),\nAlloc(120),\nFree(1),\n'),
  scenario: strToU8(
    'mode BALANCED\n# Words.\nalloc A 3MiB site 7 -> map\nalloc B1..B3 1MiB-1 align 64\nrealloc A 9 touched 1\nfree A\nmmap 2\n',
  ),
  text: strToU8(
    '1: malloc 0x10 100 1 2\n2: realloc 0x20 0x10 7\n1: calloc 5 6 7 100 110\n1: memalign 0x30 64 9\n1: free 0x20\n',
  ),
};
