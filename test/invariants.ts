/**
 * What must hold of the simulator after every event, looked at from outside: the columns of the blocks, the pages, the areas
 * and the actions of the event, against plain recounts. Names as in the design: I1, I2 ...
 */
import { Allocator } from '../sim/decide/allocator.ts';
import { home, no_block } from '../sim/decide/blocks.ts';
import { PageModel } from '../sim/kernel/pages.ts';
import { pagesOf, touchIndex } from '../sim/kernel/touch.ts';
import type { Setup } from '../sim/replay.ts';
import { enums, params, shape } from '../sim/spec.ts';
import { type Chunk, op } from '../traces/trace.ts';

const { page_bytes, window_pages } = shape;
const page_state = { absent: 0, zero: 1, resident: 2, lazy: 3 } as const;
const window_state = { empty: 0, table: 1, huge: 2, huge_lazy: 3, huge_zero: 4 } as const;

/** The private state that a recount needs. */
interface Pages {
  readonly page: Uint8Array;
  readonly window: Uint8Array;
  readonly present: Uint16Array;
  readonly special: Uint16Array;
  readonly folio_pages: Uint16Array;
}
interface Objects {
  readonly block_of: Int32Array;
  readonly size_of: Float64Array;
}

/** Runs events one by one and throws at the first broken rule, by name. */
export class Checked {
  readonly kernel: PageModel;
  readonly allocator: Allocator;
  private readonly setup: Setup;
  /** Free stretches of the region, naively: the mapped ones, sorted. */
  private mapped: [start: number, end: number][] = [];
  /** Asked for by the event. */
  private align = 0;
  private flushes = 0;
  private lookups = 0;
  private probes = 0;
  private withdrawn_bytes = 0;
  private added_bytes = 0;

  constructor(setup: Setup) {
    this.setup = setup;
    this.kernel = new PageModel(setup.profile, setup.prices);
    this.allocator = new Allocator(setup, this.kernel, touchIndex(setup.touch));
    this.watch();
  }

  /** Runs all of it; returns false where the region was full. */
  run(chunks: readonly Chunk[]): boolean {
    let event = 0;
    for (const chunk of chunks)
      for (let row = 0; row < chunk.length; row += 1, event += 1) {
        this.allocator.recording = [];
        this.step(event, chunk, row);
        if (this.allocator.violation !== 0) {
          const rule = enums.violation[this.allocator.violation];
          hold(rule === 'region_exhausted', `no rule is broken but a full region, not ${rule}`);
          return false;
        }
        this.check(chunk, row);
      }
    this.allocator.recording = [];
    this.allocator.finish();
    this.follow();
    this.checkBlocks();
    hold(this.allocator.batch.waiting.length === 0, 'I12: nothing waits at exit');
    return true;
  }

  private step(event: number, chunk: Chunk, row: number): void {
    const { op: kind, object, size_bytes, align, site, touched_pages } = chunk;
    this.lookups = this.allocator.cache.hits + this.allocator.cache.misses;
    this.probes = 0;
    this.align = align[row];
    this.allocator.run(event, kind[row], object[row], size_bytes[row], align[row], site[row], touched_pages[row]);
    const lookups = this.allocator.cache.hits + this.allocator.cache.misses - this.lookups;
    hold(lookups <= 1, 'an event looks up at most once');
    const { bigcache_round } = this.setup.config;
    if (bigcache_round === 1) hold(this.probes === lookups, 'I10: with rounding a lookup is one probe');
    else hold(this.probes <= 2 * lookups, 'I10: without rounding a lookup is at most two probes');
  }

  private check(chunk: Chunk, row: number): void {
    this.follow();
    this.checkBlocks();
    this.checkPages();
    this.checkRequest(chunk, row);
    this.checkBatch();
  }

  /** The actions of the event, one by one: I6, I23, I42, and the map of the region. */
  private follow(): void {
    const { allocator, mapped, setup } = this;
    const { config } = setup;
    for (const { name, offset_bytes, bytes } of allocator.recording!) {
      const start = offset_bytes / page_bytes;
      const end = start + bytes / page_bytes;
      if (name === 'map') {
        const at = firstFit(mapped, start, end, config.region_bytes / page_bytes, this.alignments(start, end));
        hold(at, `I42: ${start} is the lowest place for ${end - start} pages`);
        mapped.push([start, end]);
        mapped.sort((a, b) => a[0] - b[0]);
      } else if (name === 'unmap') {
        const at = mapped.findIndex((each) => each[0] === start && each[1] === end);
        hold(at >= 0, 'what is unmapped was mapped, as it was');
        mapped.splice(at, 1);
      } else if (name === 'dontneed' || name === 'process_madvise' || name === 'free') {
        hold(
          mapped.some(([from]) => from === start) && covered(mapped, start, end),
          'I7: advice lies on mapped blocks, from one block start on',
        );
        for (let block = 0; block < allocator.blocks.count; block += 1)
          if (allocator.blocks.home[block] === home.live)
            hold(
              allocator.blocks.start[block] >= end ||
                allocator.blocks.start[block] + allocator.blocks.pages[block] <= start,
              'I6: what is advised belongs to no live block',
            );
      } else if (name === 'hugepage') {
        hold(params.thp_policy.words![config.thp_policy] !== 'off', 'I23: THP off asks for no huge page');
      }
    }
    const { syscalls } = this.kernel;
    if (config.thermal === 0)
      hold(
        syscalls.madvise_dontneed + syscalls.madvise_free + syscalls.process_madvise === 0,
        'I23: thermal off advises nothing',
      );
    if (config.batch_vectored === 0) hold(syscalls.process_madvise === 0, 'nothing is vectored unasked');
  }

  private alignments(start: number, end: number): number {
    const { recording } = this.allocator;
    const huge = recording!.some(
      ({ name, offset_bytes }) => name === 'hugepage' && offset_bytes === start * page_bytes,
    );
    const wanted = Math.max(1, this.align / page_bytes, huge && end - start >= window_pages ? window_pages : 1);
    hold(start % wanted === 0, 'I5, I42: a block begins on its alignment, a huge one on a window');
    return wanted;
  }

  /** I2, I3, I4, I8, I9, I11. */
  private checkBlocks(): void {
    const { allocator, kernel } = this;
    const { blocks, batch, kept, cache } = allocator;
    const { block_of, size_of } = allocator as unknown as Objects;
    let mapped_pages = 0;
    const at_home = [0, 0, 0, 0, 0];
    let kept_bytes = 0;
    const extents: [number, number][] = [];
    for (let block = 0; block < blocks.count; block += 1) {
      at_home[blocks.home[block]] += 1;
      if (blocks.home[block] === home.unmapped) continue;
      hold(blocks.mapped[block] === 1, 'I7: a block that has a home is mapped');
      mapped_pages += blocks.pages[block];
      extents.push([blocks.start[block], blocks.start[block] + blocks.pages[block]]);
      if (blocks.home[block] === home.kept) kept_bytes += blocks.pages[block] * page_bytes;
    }
    extents.sort((a, b) => a[0] - b[0]);
    for (let at = 1; at < extents.length; at += 1)
      hold(extents[at - 1][1] <= extents[at][0], 'I3: mapped blocks are disjoint');
    hold(mapped_pages === kernel.mapped_pages, 'I2: the blocks are what is mapped');
    hold(sum(this.mapped.map(([start, end]) => end - start)) === mapped_pages, 'I2: maps less unmaps are the blocks');
    let live = 0;
    for (let object = 0; object < block_of.length; object += 1) {
      const block = block_of[object];
      if (block < 0) continue;
      live += 1;
      hold(blocks.home[block] === home.live, 'I8: the block of a live object is live');
      hold(blocks.pages[block] * page_bytes >= size_of[object], 'I4, I9: a block is as large as was asked for');
    }
    hold(at_home[home.live] === live, 'I8: every live block belongs to one object');
    hold(at_home[home.cache] === cache.blocks_held, 'I8: what is cached is what BigCache holds');
    hold(at_home[home.batch] === batch.waiting.length, 'I7: what waits waits once');
    hold(new Set(batch.waiting).size === batch.waiting.length, 'I7: nothing waits twice');
    hold(at_home[home.kept] === kept.count && kept_bytes === kept.bytes, 'I8: what is kept is what is counted');
    hold(kept.bytes <= this.setup.config.kept_bytes_max, 'no more is kept than may be');
  }

  /** I11, with the bytes of the batch recounted. */
  private checkBatch(): void {
    const { allocator, setup } = this;
    const { batch, blocks } = allocator;
    const { batch_blocks_max, batch_flush_bytes } = setup.config;
    const bytes = sum(batch.waiting.map((block) => blocks.pages[block] * page_bytes));
    hold(bytes === batch.waiting_bytes, 'I11: the bytes that wait are counted');
    hold(
      batch.waiting.length < batch_blocks_max && bytes < batch_flush_bytes,
      'I11: after an event the batch has room',
    );
    hold(batch.flushes - this.flushes <= 1, 'I11: one add makes one flush at most');
    if (batch.flushes > this.flushes)
      hold(
        allocator.recording!.some(({ name }) => name === 'dontneed' || name === 'process_madvise'),
        'I11: a flush advises',
      );
    this.flushes = batch.flushes;
    for (const { name, bytes: moved } of allocator.recording!) if (name === 'withdraw') this.withdrawn_bytes += moved;
    hold(
      batch.bytes_flushed === this.added_bytes - this.withdrawn_bytes - batch.waiting_bytes,
      'I11: what was flushed is what was added, less what was taken back and what waits',
    );
  }

  /** I1, I15, and huge pages inside areas. */
  private checkPages(): void {
    const { kernel, allocator, setup } = this;
    const { page: marks, window, present, special, folio_pages } = kernel as unknown as Pages;
    // Above the state stand two marks: part of a huge page that is mapped page by page, and written.
    const page = marks.map((mark) => mark & 3);
    const { areas } = kernel;
    let resident = 0;
    let huge = 0;
    const inside = new Uint8Array(page.length);
    for (let at = 0; at < areas.count; at += 1) {
      hold(areas.start[at] < areas.end[at], 'an area is not empty');
      if (at > 0) hold(areas.end[at - 1] <= areas.start[at], 'areas are disjoint and sorted');
      inside.fill(1, areas.start[at], areas.end[at]);
    }
    hold(sum(areas.end) - sum(areas.start) === kernel.mapped_pages, 'I1: the areas are what is mapped');
    for (let at = 0; at < window.length; at += 1) {
      const from = at * window_pages;
      const state = window[at];
      if (state === window_state.table) {
        let here = 0;
        let odd = 0;
        let of_folio = 0;
        for (let each = from; each < from + window_pages; each += 1) {
          if (page[each] >= page_state.resident) here += 1;
          if (page[each] === page_state.zero || page[each] === page_state.lazy) odd += 1;
          if ((marks[each] & 4) !== 0) of_folio += 1;
          if (page[each] !== page_state.absent) hold(inside[each] === 1, 'I1: what is present is mapped');
        }
        hold(
          here === present[at] && odd === special[at] && of_folio === folio_pages[at],
          'I1: the pages of a window are counted',
        );
        resident += here;
        continue;
      }
      for (let each = from; each < from + window_pages; each += 1)
        hold(page[each] === page_state.absent, 'I1: a window that is no table speaks for its pages');
      if (state === window_state.empty) continue;
      if (state !== window_state.huge_zero) {
        resident += window_pages;
        huge += window_pages;
      }
      for (let each = from; each < from + window_pages; each += 1)
        hold(inside[each] === 1, 'I1: a huge page is mapped, all of it');
    }
    hold(resident === kernel.resident_pages, 'I1: resident pages are counted');
    hold(huge === kernel.huge_pages, 'I1: huge pages are counted');
    hold(
      resident <= kernel.mapped_pages && kernel.mapped_pages <= kernel.mapped_pages_peak,
      'I34: no more than the peak',
    );
    if (setup.profile.thp_kernel !== 'never') return;
    hold(huge === 0, 'no huge page where the kernel gives none');
    // A read may have given a clean block memory: it holds zeroes all the same.
    if (!setup.profile.read_maps_zero) return;
    const { blocks } = allocator;
    for (let block = 0; block < blocks.count; block += 1) {
      if (blocks.home[block] === home.unmapped || blocks.clean[block] === 0) continue;
      const end = Math.min(page.length, blocks.start[block] + blocks.pages[block]);
      for (let each = blocks.start[block]; each < end; each += 1)
        hold(page[each] < page_state.resident, 'I15: a clean block has no page that was written');
    }
  }

  /** I15, I16, I30 for the event just run. */
  private checkRequest(chunk: Chunk, row: number): void {
    const { allocator, setup } = this;
    const kind = chunk.op[row];
    const actions = allocator.recording!;
    const { block_of } = allocator as unknown as Objects;
    if (kind === op.calloc) {
      const zeroed = actions.filter(({ name }) => name === 'zero');
      const fresh = actions.some(({ name }) => name === 'map');
      hold(zeroed.length <= 1 && !(fresh && zeroed.length > 0), 'I15: new memory is not zeroed again');
      const block = block_of[chunk.object[row]];
      if (block !== no_block && block >= 0 && zeroed.length === 1)
        hold(zeroed[0].bytes === pagesOf(chunk.size_bytes[row]) * page_bytes, 'I15: all of the request is zeroed');
    } else {
      hold(!actions.some(({ name }) => name === 'zero'), 'only calloc zeroes');
    }
    const read = actions.filter(({ name }) => name === 'read');
    hold(kind === op.realloc || read.length === 0, 'only realloc reads');
    if (kind === op.realloc && read.length === 1) {
      const block = block_of[chunk.object[row]];
      const copied = read[0].bytes;
      if (block >= 0)
        hold(
          actions.some(({ name, bytes }) => name === 'touch' && bytes === copied),
          'I16: what is read of the old block is written to the new',
        );
    }
    const cold = allocator.thermal_frees[2];
    if (setup.config.thermal === 1 && setup.config.batch === 1)
      hold(allocator.batch.added === cold, 'I30: a cold free is an add');
  }

  private watch(): void {
    const cache = this.allocator.cache as unknown as { probe: (...of: number[]) => number };
    const probe = cache.probe;
    cache.probe = (...of) => {
      this.probes += 1;
      return probe.apply(cache, of);
    };
    const { batch } = this.allocator;
    const add = batch.add;
    batch.add = (block, bytes) => {
      const { blocks } = this.allocator;
      hold(bytes === blocks.pages[block] * page_bytes, 'I11: a block is added with all its bytes');
      this.added_bytes += bytes;
      add.call(batch, block, bytes);
    };
  }
}

/** True where [start, end) is free, inside the region, and nothing lower and aligned would have done. */
function firstFit(
  mapped: readonly (readonly [number, number])[],
  start: number,
  end: number,
  region_pages: number,
  align: number,
): boolean {
  const pages = end - start;
  let at = 0;
  for (const [from, to] of [...mapped, [region_pages, region_pages] as const]) {
    const placed = Math.ceil(at / align) * align;
    if (placed + pages <= from) return placed === start;
    at = to;
  }
  return false;
}

function covered(mapped: readonly (readonly [number, number])[], start: number, end: number): boolean {
  let at = start;
  for (const [from, to] of mapped) if (from <= at && to > at) at = to;
  return at >= end;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

function hold(holds: boolean, claim: string): void {
  if (!holds) throw new Error(`broken: ${claim}`);
}
