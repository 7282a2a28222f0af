/** `hakmem info TRACE`: what a trace holds. Reads all of it, so that every checksum is verified. */
import type { Command } from 'commander';
import { Course } from '../traces/course.ts';
import {
  HakTrace,
  interruptible,
  open,
  Profile,
  type SiteUse,
  type Statistics,
  sha256OfFile,
  Tally,
  type Trace,
  writeAtomically,
} from '../traces/index.ts';
import { type LargeBlock, LargeBlocks, type LargeClass } from '../traces/large-blocks.ts';
import { SampleEstimate } from '../traces/sample-estimate.ts';
import { formatBytes, Progress, print, printJson, wholeNumber } from './command.ts';
import { reported } from './import.ts';
import { sample_head, sampleRows } from './sample-table.ts';
import { count, percent, printable, rightAligned } from './words.ts';

export function addInfo(program: Command): void {
  program
    .command('info')
    .description('counts, sizes, lifetimes, threads, call sites and peak of a trace')
    .argument('<trace>', 'a .hak file, or any format that import reads')
    .option('--top <n>', 'call sites, threads and largest blocks to show', wholeNumber(0), 10)
    .option('--seed <n>', 'accepted as everywhere; nothing here is random', wholeNumber(0))
    .option('--progress', 'show progress on stderr')
    .option('--html <file>', 'write it as a page too')
    .option('--json', 'print one JSON document')
    .action(info);
}

/** Of what is live over time. */
const points_max = 400;
/** Bars of the same in text. */
const bars_max = 20;

/** What is shown, in whatever way. */
export interface Contents {
  readonly trace: Trace;
  readonly sha256: string;
  readonly statistics: Statistics;
  readonly profile: Profile;
  readonly course: Course;
  readonly large: LargeBlocks;
  /** Null where the trace is no sample of the recorder's. */
  readonly sample: SampleEstimate | null;
  readonly top: number;
}

interface Options {
  readonly top: number;
  readonly progress?: boolean;
  readonly html?: string;
  readonly json?: boolean;
}

async function info(path: string, options: Options): Promise<void> {
  const trace = open(path);
  const { origin } = trace;
  const tally = new Tally();
  const profile = new Profile(origin.sites.length);
  const course = new Course(trace.statistics.events, points_max);
  const large = new LargeBlocks(options.top);
  const sample = origin.sampling === undefined ? null : new SampleEstimate(origin.sampling);
  const progress = new Progress(`reading ${path}`, options.progress === true);
  for await (const chunk of interruptible(reported(trace.chunks(), progress, trace.statistics.events))) {
    tally.add(chunk);
    profile.add(chunk);
    course.add(chunk);
    large.add(chunk);
    sample?.add(chunk);
  }
  progress.finish();
  const statistics = tally.statistics();
  if (trace instanceof HakTrace) trace.verify(statistics);
  const contents = { trace, sha256: sha256OfFile(path), statistics, profile, course, large, sample, top: options.top };
  if (options.html !== undefined) await writePage(options.html, contents);
  if (options.json) printJson(document(contents));
  else print(...report(contents));
}

/** The page alone needs the libraries that draw. */
async function writePage(path: string, contents: Contents): Promise<void> {
  const { infoPage } = await import('./info-page.ts');
  const page = new TextEncoder().encode(infoPage(contents));
  writeAtomically(path, (sink) => sink.append(page));
}

function document({ trace, sha256, statistics, profile, course, large, sample, top }: Contents): unknown {
  const { path, origin } = trace;
  const { size_histogram, large_blocks, large_blocks_touched, ...counts } = statistics;
  return {
    path,
    sha256,
    program: origin.program,
    ...counts,
    dropped: origin.dropped,
    sites: origin.has_sites ? origin.sites.length : 0,
    has_time: origin.has_time,
    has_sites: origin.has_sites,
    has_touch: large_blocks > 0 ? large_blocks_touched / large_blocks : 0,
    large_blocks,
    size_histogram,
    live_over_time: course.points(),
    large_classes: large.sizeClasses(),
    largest_blocks: large.largestBlocks(),
    lifetime_histogram: profile.lifetimeHistogram(),
    duration_ns: profile.duration_ns,
    freed_by_other_threads: profile.freed_elsewhere,
    top_threads: profile
      .threadEvents()
      .slice(0, top)
      .map(([thread, events]) => ({ thread, events })),
    top_sites: origin.has_sites
      ? profile
          .sites()
          .slice(0, top)
          .map((use) => ({ ...use, ...origin.sites[use.site] }))
      : [],
    sampling: origin.sampling === undefined ? null : { ...origin.sampling, classes: sample?.classesBesideCounts() },
    process: origin.process,
    source: origin.source,
    format: origin.format,
    command: origin.command,
    machine: origin.machine,
    page_bytes: origin.page_bytes,
    notes: origin.notes,
  };
}

function report({ trace, sha256, statistics, profile, course, large, sample, top }: Contents): string[] {
  const { path, origin } = trace;
  const { process: spent } = origin;
  const touched =
    statistics.large_blocks > 0
      ? `${percent(statistics.large_blocks_touched / statistics.large_blocks)} of ${count(statistics.large_blocks)} blocks of 512 KiB and more`
      : 'no block of 512 KiB or more';
  const lines = [
    ...table([
      ['trace', path],
      ['sha256', sha256],
      ['program', origin.program],
      ['source', origin.format === null ? origin.source : `${origin.source} from ${origin.format}`],
      ['command', origin.command],
      ['events', count(statistics.events)],
      ['  allocations', count(statistics.allocations)],
      ['  reallocs', count(statistics.reallocs)],
      ['  frees', count(statistics.frees)],
      ['  dropped', `${count(origin.dropped)} frees of unknown blocks`],
      ['never freed', `${count(statistics.unfreed)} blocks`],
      ['peak live', `${formatBytes(statistics.peak_live_bytes)}, at most ${count(statistics.objects)} blocks at once`],
      ['total', formatBytes(statistics.total_bytes)],
      ['largest', formatBytes(statistics.largest_bytes)],
      [
        'duration',
        `${duration(profile.duration_ns)}${origin.has_time ? '' : ', a microsecond an event: no time recorded'}`,
      ],
      ['touch counts', touched],
      [
        'threads',
        `${count(statistics.threads)}; ${count(profile.freed_elsewhere)} frees by another thread than allocated`,
      ],
      ['call sites', origin.has_sites ? count(origin.sites.length) : 'not recorded'],
    ]),
    '',
    'sizes of allocations and reallocs',
    ...bars(statistics.size_histogram, formatBytes),
    '',
    'lifetimes in events',
    ...bars(profile.lifetimeHistogram(), String),
  ];
  if (sample !== null)
    lines.push(
      '',
      'all blocks, estimated from the sample and counted',
      ...rightAligned([sample_head, ...sampleRows(sample)]),
    );
  lines.push('', 'live bytes over the trace, the most of each stretch', ...liveBars(course));
  const classes = large.sizeClasses();
  if (classes.length > 0) lines.push('', 'blocks of 64 KiB and more', ...classTable(classes));
  const largest = large.largestBlocks();
  if (largest.length > 0) lines.push('', `largest blocks, ${largest.length}`, ...largestTable(trace, largest));
  if (statistics.threads > 1) {
    const busiest = profile.threadEvents().slice(0, top);
    lines.push('', `threads, busiest ${busiest.length}`);
    lines.push(
      ...rightAligned([['thread', 'events'], ...busiest.map(([thread, events]) => [String(thread), count(events)])]),
    );
  }
  if (origin.has_sites) {
    const used = profile.sites();
    lines.push('', `call sites by bytes, ${Math.min(top, used.length)} of ${used.length}`);
    lines.push(...siteTable(trace, used.slice(0, top)));
  }
  if (spent !== null) {
    lines.push('', 'the recorded process spent');
    lines.push(
      ...table([
        ['  wall', duration(spent.wall_ns)],
        ['  user', duration(spent.user_ns)],
        ['  system', duration(spent.sys_ns)],
        ['  page faults', count(spent.faults)],
        ['  resident peak', formatBytes(spent.resident_peak_bytes)],
        ['  exit', String(spent.exit)],
      ]),
    );
  }
  if (origin.notes.length > 0) lines.push('', 'notes', ...origin.notes.map((note) => `  ${printable(note)}`));
  return lines;
}

function siteTable({ origin }: Trace, uses: readonly SiteUse[]): string[] {
  const rows = uses.map(({ site, calls, bytes, unfreed_blocks, unfreed_bytes }) => {
    const { name, hash } = origin.sites[site];
    return [formatBytes(bytes), count(calls), count(unfreed_blocks), formatBytes(unfreed_bytes), name ?? hash];
  });
  return rightAligned([['bytes', 'calls', 'never freed', 'bytes of them', 'site'], ...rows], 1);
}

/** A line for each of some stretches. */
function liveBars(course: Course): string[] {
  const points = course.points();
  if (points.length === 0) return ['  none'];
  const step = Math.max(1, Math.ceil(points.length / bars_max));
  const stretches = points.flatMap(({ time_ns }, at) => {
    if (at % step !== step - 1 && at !== points.length - 1) return [];
    const part = points.slice(at - (at % step), at + 1);
    return [{ time_ns, bytes: Math.max(...part.map(({ live_bytes }) => live_bytes)) }];
  });
  const most = Math.max(1, ...stretches.map(({ bytes }) => bytes));
  return rightAligned(
    stretches.map(({ time_ns, bytes }) => [
      `to ${duration(time_ns)}`,
      formatBytes(bytes),
      '█'.repeat(Math.ceil((bytes / most) * 40)),
    ]),
    1,
  );
}

function classTable(classes: readonly LargeClass[]): string[] {
  const rows = classes.map((each) => [
    formatBytes(each.from_bytes),
    count(each.blocks),
    formatBytes(each.bytes),
    `${count(each.most_live_blocks)}, ${formatBytes(each.most_live_bytes)}`,
    each.median_lifetime_events === null ? '-' : `below ${count(each.median_lifetime_events)}`,
    count(each.unfreed_blocks),
  ]);
  return rightAligned([['from', 'blocks', 'bytes', 'most at once', 'median life, events', 'never freed'], ...rows]);
}

function largestTable({ origin }: Trace, blocks: readonly LargeBlock[]): string[] {
  const rows = blocks.map(({ event, size_bytes, site, touched_pages, lifetime_events }) => [
    formatBytes(size_bytes),
    count(event),
    lifetime_events === null ? 'for ever' : count(lifetime_events),
    touched_pages === null ? '-' : formatBytes(touched_pages * origin.page_bytes),
    origin.has_sites ? (origin.sites[site].name ?? origin.sites[site].hash) : '-',
  ]);
  return rightAligned([['size', 'event', 'lived, events', 'touched', 'site'], ...rows], 1);
}

/** Names and values in two columns. */
function table(rows: readonly (readonly [string, string])[]): string[] {
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${printable(value)}`);
}

/** A line for each power of two between the least and the greatest that occurs. */
function bars(histogram: readonly (readonly [number, number])[], label: (bound: number) => string): string[] {
  if (histogram.length === 0) return ['  none'];
  const counts = new Map(histogram);
  const most = Math.max(...counts.values());
  const total = [...counts.values()].reduce((sum, each) => sum + each, 0);
  const rows: string[][] = [];
  for (let bound = histogram[0][0]; bound <= histogram[histogram.length - 1][0]; bound *= 2) {
    const here = counts.get(bound) ?? 0;
    rows.push([`below ${label(bound)}`, count(here), percent(here / total), '█'.repeat(Math.ceil((here / most) * 40))]);
  }
  return rightAligned(rows, 1);
}

function duration(ns: number): string {
  const units = ['ns', 'us', 'ms', 's'];
  let value = ns;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(2)} ${units[unit]}`;
}
