/**
 * What the study of accuracy predicts and measures: fixed here before anything was run. The model was built looking at vm and
 * json under the default setting alone; everything else is held out.
 */
import type { GlibcSettings } from '../../../sim/peers/glibc/settings.ts';

const KiB = 2 ** 10;
const MiB = 2 ** 20;

export interface Knob {
  readonly name: string;
  readonly group: 'default' | 'mmap_threshold' | 'trim_threshold' | 'top_pad' | 'mmap_max';
  readonly settings: GlibcSettings;
}

const thresholds = 12;
/** From 64 KiB to 32 MiB, the most that glibc takes, in equal steps of their logarithm. */
const mmap_thresholds = Array.from(
  { length: thresholds },
  (_, at) => Math.round((64 * KiB * 2 ** ((9 * at) / (thresholds - 1))) / KiB) * KiB,
);

export const knobs: readonly Knob[] = [
  { name: 'default', group: 'default', settings: {} },
  ...mmap_thresholds.map((mmap_threshold) => ({
    name: `mmap_threshold=${mmap_threshold / KiB}K`,
    group: 'mmap_threshold' as const,
    settings: { mmap_threshold },
  })),
  ...[128 * KiB, 512 * KiB, 2 * MiB, 8 * MiB, 32 * MiB, 128 * MiB].map((trim_threshold) => ({
    name: `mmap_threshold=4M trim_threshold=${trim_threshold / KiB}K`,
    group: 'trim_threshold' as const,
    settings: { mmap_threshold: 4 * MiB, trim_threshold },
  })),
  ...[1 * MiB, 16 * MiB].map((top_pad) => ({
    name: `top_pad=${top_pad / MiB}M`,
    group: 'top_pad' as const,
    settings: { top_pad },
  })),
  { name: 'mmap_max=0', group: 'mmap_max', settings: { mmap_max: 0 } },
];

/** Of a scenario, or of a recorded sample, so many events from its beginning: a run takes 20 to 150 ms where there is so much. */
export interface PlannedSubject {
  readonly name: string;
  readonly recorded: boolean;
  readonly events: number;
  /** What the model was built on: under the default setting alone. */
  readonly trains: boolean;
}

const scenario = (name: string, events: number, trains = false): PlannedSubject => ({
  name,
  recorded: false,
  events,
  trains,
});
const sample = (name: string, events: number): PlannedSubject => ({ name, recorded: true, events, trains: false });

export const planned_subjects: readonly PlannedSubject[] = [
  scenario('vm', 20, true),
  scenario('json', 1000, true),
  scenario('vm4', 28),
  scenario('mir', 200),
  scenario('mixed', 400),
  scenario('churn', 16),
  sample('ffmpeg', 4500),
  sample('node-buffers', 4500),
  sample('numpy-arrays', 18_000),
  sample('python-json', 4000),
  sample('r-frames', 14_000),
  sample('r-stacks', 6000),
  sample('redis', 60_000),
  sample('sqlite', 40_000),
  sample('threads', 120_000),
];

export const trains = (subject: PlannedSubject, knob: Knob): boolean => subject.trains && knob.group === 'default';
