/**
 * Wrong ideas of what the kernel does or of what a policy may do, as patches: each is planted in TypeScript and C alike, so
 * that the two halves agree with each other, and only the real kernel is left to object. Data for wrong-ideas.ts.
 */

export interface Edit {
  readonly file: string;
  /** Stands in the file exactly once. */
  readonly find: string;
  readonly replace: string;
}

export interface Idea {
  readonly name: string;
  readonly about: 'kernel' | 'policy';
  /** What is really so. */
  readonly why: string;
  /** False where no kernel could know better. */
  readonly catchable: boolean;
  readonly edits: readonly Edit[];
}

const sim_pages = 'sim/kernel/pages.ts';
const core_pages = 'native/core/pages.c';

export const ideas: readonly Idea[] = [
  {
    name: 'MADV_FREE drops pages at once',
    about: 'kernel',
    why: 'lazily freed pages stay resident until memory is short, and a write brings them back without a fault',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '    this.syscalls.madvise_free += 1;\n',
        replace:
          '    this.syscalls.madvise_free += 1;\n    if (start >= 0) return this.prices.madvise_ns + this.discard(start, pages);\n',
      },
      {
        file: core_pages,
        find: 'static int64_t counted_free(hak_kernel *kernel, int64_t start, int64_t pages) {\n',
        replace:
          'static int64_t counted_free(hak_kernel *kernel, int64_t start, int64_t pages) {\n  if (start >= 0) {\n    kernel->syscalls.madvise_free += 1;\n    return model_of(kernel)->prices->madvise_ns + discard(model_of(kernel), start, pages);\n  }\n',
      },
    ],
  },
  {
    name: 'a touch of a lazily freed page faults',
    about: 'kernel',
    why: 'the page is still mapped: a write marks it dirty, without a fault',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '      if (was < resident) made += 1;\n',
        replace: '      if (was < resident) made += 1;\n      if (was === lazy) this.faults += 1;\n',
      },
      {
        file: core_pages,
        find: '  if (is_present(was)) return 0;\n',
        replace:
          '  if ((was & page_state) == page_lazy) {\n    model->kernel.faults += 1;\n    return model->prices->fault_ns;\n  }\n  if (is_present(was)) return 0;\n',
      },
    ],
  },
  {
    name: 'MADV_FREE of a whole huge page splits it',
    about: 'kernel',
    why: 'only a part of a huge page is cut out of it; the whole is marked and stays huge',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '      if (whole && this.window[at] === huge) {\n',
        replace: '      if (whole && pages < 0) {\n',
      },
      {
        file: sim_pages,
        find: '      } else if (!whole && (this.window[at] === huge || this.window[at] === huge_lazy)) {\n',
        replace: '      } else if (this.window[at] === huge || this.window[at] === huge_lazy) {\n',
      },
      {
        file: core_pages,
        find: '    if (whole && *window == window_huge) {\n',
        replace: '    if (whole && pages < 0) {\n',
      },
      {
        file: core_pages,
        find: '    if (!whole && (*window == window_huge || *window == window_huge_lazy)) split(model, window_of(from));\n',
        replace: '    if (*window == window_huge || *window == window_huge_lazy) split(model, window_of(from));\n',
      },
    ],
  },
  {
    name: 'MADV_DONTNEED in two halves gives the page table back',
    about: 'kernel',
    why: 'the table goes only where one walk covers its whole window',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '      if (to - from === window_pages && this.profile.pt_reclaim) this.window[at] = empty;\n',
        replace:
          '      const bare = this.window[at] === table && this.present[at] === 0 && this.special[at] === 0;\n      if ((bare || to - from === window_pages) && this.profile.pt_reclaim) this.window[at] = empty;\n',
      },
      {
        file: core_pages,
        find: 'static int64_t discard(hak_page_model *model, int64_t start, int64_t pages) {\n',
        replace:
          'static bool is_bare(const hak_page_model *model, int64_t window) {\n  if (model->window[window] != window_table) return false;\n  for (int64_t page = 0; page < HAK_WINDOW_PAGES; page += 1)\n    if (model->page[window * HAK_WINDOW_PAGES + page] != page_absent) return false;\n  return true;\n}\n\nstatic int64_t discard(hak_page_model *model, int64_t start, int64_t pages) {\n',
      },
      {
        file: core_pages,
        find: '    if (to - from == HAK_WINDOW_PAGES && model->profile.pt_reclaim) model->window[window_of(from)] = window_empty;\n',
        replace:
          '    const bool bare = is_bare(model, window_of(from));\n    if ((bare || to - from == HAK_WINDOW_PAGES) && model->profile.pt_reclaim) model->window[window_of(from)] = window_empty;\n',
      },
    ],
  },
  {
    name: 'a discarded window keeps its page table',
    about: 'kernel',
    why: 'since Linux 6.14 MADV_DONTNEED of a whole window gives it back, and the next touch is a huge fault',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '      if (to - from === window_pages && this.profile.pt_reclaim) this.window[at] = empty;\n',
        replace: '      if (this.window[at] === empty && to - from === window_pages) this.window[at] = table;\n',
      },
      {
        file: core_pages,
        find: '    if (to - from == HAK_WINDOW_PAGES && model->profile.pt_reclaim) model->window[window_of(from)] = window_empty;\n',
        replace:
          '    if (model->window[window_of(from)] == window_empty && to - from == HAK_WINDOW_PAGES) model->window[window_of(from)] = window_table;\n',
      },
    ],
  },
  {
    name: 'neighbouring areas always merge',
    about: 'kernel',
    why: 'two that were written to separately have anon_vmas of their own, and stay apart',
    catchable: true,
    edits: [
      {
        file: 'sim/kernel/vma.ts',
        find: '  return a === 0 || b === 0 || a === b;\n',
        replace: '  return a >= 0 || b >= 0;\n',
      },
      {
        file: 'native/core/vma.c',
        find: '{ return a == 0 || b == 0 || a == b; }',
        replace: '{ return a >= 0 || b >= 0; }',
      },
    ],
  },
  {
    name: 'munmap of part of a huge page drops all of it',
    about: 'kernel',
    why: 'the huge page is split, and what lies outside the range stays',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: 'this.window[at] >= huge) this.split(at);\n',
        replace:
          'this.window[at] >= huge)\n      this.release(at, at << window_shift, (at << window_shift) + window_pages);\n',
      },
      {
        file: core_pages,
        find: '/* A boundary cuts the window it lies in: a huge page there becomes small ones. */\n',
        replace: 'static int64_t release(hak_page_model *model, int64_t from, int64_t to);\n\n',
      },
      {
        file: core_pages,
        find: '  if (page % HAK_WINDOW_PAGES != 0 && window_of(page) < model->windows) split(model, window_of(page));\n',
        replace:
          '  const int64_t window = window_of(page);\n  if (page % HAK_WINDOW_PAGES != 0 && window < model->windows && model->window[window] >= window_huge)\n    release(model, window * HAK_WINDOW_PAGES, (window + 1) * HAK_WINDOW_PAGES);\n',
      },
    ],
  },
  {
    name: 'a huge page may reach beyond its area',
    about: 'kernel',
    why: 'the whole aligned window must lie inside one area',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '    if (areas.start[area] > start || areas.end[area] < start + window_pages) return false;\n',
        replace: '    if (start < 0) return false;\n',
      },
      {
        file: core_pages,
        find: '  if (in->start > window * HAK_WINDOW_PAGES || in->end < (window + 1) * HAK_WINDOW_PAGES) return false;\n',
        replace: '  if (window < 0) return false;\n',
      },
    ],
  },
  {
    name: 'a read of an untouched page is answered the other way',
    about: 'kernel',
    why: 'it maps the shared zero page, which belongs to no one; where that is forbidden, it makes the page resident',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '    const { read_maps_zero } = this.profile;\n',
        replace: '    const read_maps_zero = !this.profile.read_maps_zero;\n',
      },
      {
        file: core_pages,
        find: '    price += model->profile.read_maps_zero ? read_page(',
        replace: '    price += !model->profile.read_maps_zero ? read_page(',
      },
    ],
  },
  {
    name: 'a huge page of which a part is freed keeps all its pages',
    about: 'kernel',
    why: 'MADV_FREE of a part splits it, and pages that hold nothing but zeroes go to the zero page (Linux 6.12)',
    catchable: true,
    edits: [
      {
        file: sim_pages,
        find: '      if ((was & written) !== 0 || !this.profile.split_maps_zero) {\n',
        replace: '      if ((was & written) !== 0 || at >= 0) {\n',
      },
      {
        file: core_pages,
        find: '    const bool to_zero = (was & page_written) == 0 && model->profile.split_maps_zero;\n',
        replace: '    const bool to_zero = (was & page_written) == 0 && window < 0;\n',
      },
    ],
  },
  {
    name: 'the batch also advises blocks that were withdrawn from it',
    about: 'policy',
    why: 'they are in use again: their contents are lost',
    catchable: true,
    edits: [
      {
        file: 'sim/decide/batch.ts',
        find: '  readonly waiting: number[] = [];\n',
        replace: '  readonly waiting: number[] = [];\n  private readonly stale: number[] = [];\n',
      },
      {
        file: 'sim/decide/batch.ts',
        find: '    this.waiting.splice(at, 1);\n',
        replace:
          '    this.waiting.splice(at, 1);\n    if (this.stale.length < 64 && !this.stale.includes(block)) this.stale.push(block);\n',
      },
      {
        file: 'sim/decide/batch.ts',
        find: '    const sorted = [...this.waiting].sort(',
        replace:
          '    const stale = this.stale.splice(0).filter((block) => blocks.home[block] === home.live);\n    const sorted = [...this.waiting, ...stale].sort(',
      },
      {
        file: 'native/core/batch.c',
        find: '  batch->waiting_bytes -= bytes;\n',
        replace:
          '  int64_t known = 0;\n  while (known < stales && stale[known] != block) known += 1;\n  if (known == stales && stales < 64) stale[stales++] = block;\n  batch->waiting_bytes -= bytes;\n',
      },
      {
        file: 'native/core/batch.c',
        find: 'void hak_batch_withdraw(',
        replace: 'static int32_t stale[64];\nstatic int64_t stales;\n\nvoid hak_batch_withdraw(',
      },
      {
        file: 'native/core/batch.c',
        find: 'int64_t hak_batch_ranges(const hak_batch *batch, hak_range ranges[HAK_BATCH_INDEX_MAX]) {\n',
        replace:
          'int64_t hak_batch_ranges(const hak_batch *given, hak_range ranges[HAK_BATCH_INDEX_MAX]) {\n  static hak_batch all;\n  all = *given;\n  for (int64_t at = 0; at < stales; at += 1)\n    if (all.blocks->block[stale[at]].home == HAK_HOME_LIVE) all.waiting[all.count++] = stale[at];\n  stales = 0;\n  const hak_batch *batch = &all;\n',
      },
    ],
  },
  {
    name: 'a block reads as zero after MADV_FREE',
    about: 'policy',
    why: 'until memory is short it still holds what was written: calloc would hand that out',
    catchable: true,
    edits: [
      {
        file: 'sim/decide/allocator.ts',
        find: '      this.act(action.free, start, pages);\n',
        replace: '      this.act(action.free, start, pages);\n      blocks.clean[block] = 1;\n',
      },
      {
        file: 'native/core/allocator.c',
        find: '    act(allocator, HAK_ACTION_FREE, start, pages);\n',
        replace: '    act(allocator, HAK_ACTION_FREE, start, pages);\n    freed->clean = 1;\n',
      },
    ],
  },
  {
    name: 'a cached block serves a larger request',
    about: 'policy',
    why: 'the program writes beyond its end',
    catchable: true,
    edits: [
      {
        file: 'sim/decide/bigcache.ts',
        find: 'if (this.blocks.pages[block] * page_bytes < size_bytes && this.config.legacy_undersized === 0) {\n',
        replace: 'if (size_bytes < 0) {\n',
      },
      {
        file: 'sim/decide/allocator.ts',
        find: '    if (blocks.pages[block] * page_bytes < size_bytes) {\n',
        replace: '    if (size_bytes < 0) {\n',
      },
      {
        file: 'native/core/bigcache.c',
        find: '  if (found->pages * HAK_PAGE_BYTES < size_bytes && !cache->config->legacy_undersized) {\n',
        replace: '  if (found->pages < 0) {\n',
      },
      {
        file: 'native/core/allocator.c',
        find: '  if (acquired->pages * HAK_PAGE_BYTES < size_bytes && !allocator->trusting) {\n',
        replace: '  if (size_bytes < 0) {\n',
      },
    ],
  },
  {
    name: 'a block is placed one page over the end of the one before',
    about: 'policy',
    why: 'MAP_FIXED_NOREPLACE refuses it',
    catchable: true,
    edits: [
      {
        file: 'sim/decide/placement.ts',
        find: '        this.start[at] = placed + pages;\n        this.pages[at] = after;\n',
        replace: '        this.start[at] = placed + pages - 1;\n        this.pages[at] = after + 1;\n',
      },
      {
        file: 'native/core/placement.c',
        find: '    if (left > 0) insert(placement, at, (hak_range){placed + pages, left});\n',
        replace:
          '    const int64_t over = before == 0 ? 1 : 0;\n    if (left > 0) insert(placement, at, (hak_range){placed + pages - over, left + over});\n',
      },
    ],
  },
  {
    name: 'a block of exactly cold_from_bytes is warm',
    about: 'policy',
    why: 'a policy may think so: the kernel does what it is told, and counts it truly',
    catchable: false,
    edits: [
      {
        file: 'sim/decide/thermal.ts',
        find: '  if (size_bytes >= config.cold_from_bytes) return cold;\n',
        replace: '  if (size_bytes > config.cold_from_bytes) return cold;\n',
      },
      {
        file: 'native/core/thermal.c',
        find: '  if (size_bytes >= config->cold_from_bytes) return HAK_THERMAL_COLD;\n',
        replace: '  if (size_bytes > config->cold_from_bytes) return HAK_THERMAL_COLD;\n',
      },
    ],
  },
  {
    name: 'BigCache hands out its oldest block',
    about: 'policy',
    why: 'a policy may do so: no kernel knows which of two equal blocks was meant',
    catchable: false,
    edits: [
      {
        file: 'sim/decide/bigcache.ts',
        find: '    const block = ring[at * ways + held[at] - 1];\n',
        replace:
          '    const block = ring[at * ways];\n    ring.copyWithin(at * ways, at * ways + 1, at * ways + held[at]);\n    ring[at * ways + held[at] - 1] = block;\n',
      },
      {
        file: 'native/core/bigcache.c',
        find: '  const int32_t block = cache->ring[at * cache->config->bigcache_ways + cache->held[at] - 1];\n',
        replace:
          '  int32_t *ring = &cache->ring[at * cache->config->bigcache_ways];\n  const int32_t block = ring[0];\n  memmove(ring, ring + 1, sizeof(int32_t) * (size_t)(cache->held[at] - 1));\n  ring[cache->held[at] - 1] = block;\n',
      },
    ],
  },
];
