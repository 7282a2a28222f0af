/* The shadow ledger: what every strategy would have cost on the events that one of them acted on. Mirrors sim/decide/ledger.ts. */
#include <string.h>

#include "hak.h"

enum { bins = HAK_LEDGER_BINS, classes = HAK_BIGCACHE_CLASSES };
static const int64_t baseline_from_bytes[HAK_STRATEGIES] = HAK_STRATEGY_GEOMETRIC_BYTES;

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void spend(hak_ledger *ledger, int arm, uint32_t site, int64_t ns) {
  hak_assert(ns >= 0);
  ledger->arm[arm].cpu_ns += ns;
  if (ledger->by_site) ledger->site_ns[site][arm] += ns;
}

static int64_t release_ns(const hak_ledger *ledger, int64_t pages, bool huge) {
  const hak_prices *prices = ledger->prices;
  if (!huge) return pages * prices->release_page_ns;
  const int64_t windows = pages / HAK_WINDOW_PAGES;
  return windows * prices->release_huge_ns + (pages - windows * HAK_WINDOW_PAGES) * prices->release_page_ns;
}

/* What is kept beyond its bound is unmapped, by a hand that goes round the bins. */
static int64_t trim(hak_ledger *ledger, hak_ledger_arm *arm) {
  int64_t price = 0;
  int looked = 0;
  while (looked < bins && arm->kept_pages * HAK_PAGE_BYTES > ledger->config->kept_bytes_max) {
    const int bin = arm->hand;
    hak_pool *kept = &arm->kept[bin];
    if (arm->dry[bin] > 0) {
      arm->dry[bin] -= 1;
      price += ledger->prices->munmap_ns;
    } else if (kept->blocks > 0) {
      const int64_t share = kept->resident / kept->blocks;
      kept->blocks -= 1;
      kept->resident -= share;
      arm->resident_pages -= share;
      price += ledger->prices->munmap_ns + release_ns(ledger, share, ledger->bin_huge[bin]);
    } else {
      arm->hand = (bin + 1) % bins;
      looked += 1;
      continue;
    }
    arm->kept_pages -= ledger->bin_pages[bin];
    looked = 0;
  }
  if (looked == bins) arm->kept_pages = 0;
  return price;
}

static int64_t flush(hak_ledger *ledger, hak_ledger_arm *arm) {
  const hak_prices *prices = ledger->prices;
  int64_t price = ledger->config->batch_vectored ? prices->process_madvise_ns : prices->madvise_ns * arm->waiting_blocks;
  for (int bin = 0; bin < bins; bin += 1) {
    hak_pool *waiting = &arm->waiting[bin];
    if (waiting->blocks == 0) continue;
    price += release_ns(ledger, waiting->resident, ledger->bin_huge[bin]);
    arm->resident_pages -= waiting->resident;
    arm->dry[bin] += waiting->blocks;
    *waiting = (hak_pool){0};
  }
  arm->kept_pages += arm->waiting_pages;
  arm->waiting_blocks = 0;
  arm->waiting_pages = 0;
  return price + trim(ledger, arm);
}

/* By thermal class; what BigCache evicts is thought to be like what came in. */
static int64_t release_under(hak_ledger *ledger, hak_ledger_arm *arm, const hak_mould *mould) {
  const hak_config *config = ledger->config;
  const hak_prices *prices = ledger->prices;
  if (!config->thermal) {
    arm->resident_pages -= mould->resident_pages;
    return prices->munmap_ns + release_ns(ledger, mould->resident_pages, mould->huge);
  }
  ledger->bin_pages[mould->bin] = mould->pages;
  ledger->bin_huge[mould->bin] = mould->huge;
  if (mould->heat == HAK_THERMAL_COLD && config->batch) {
    arm->waiting[mould->bin].blocks += 1;
    arm->waiting[mould->bin].resident += mould->resident_pages;
    arm->waiting_blocks += 1;
    arm->waiting_pages += mould->pages;
    const bool full = arm->waiting_blocks >= config->batch_blocks_max ||
                      arm->waiting_pages * HAK_PAGE_BYTES >= config->batch_flush_bytes;
    return full ? flush(ledger, arm) : 0;
  }
  int64_t price = 0;
  if (mould->heat == HAK_THERMAL_COLD) {
    price = prices->madvise_ns + release_ns(ledger, mould->resident_pages, mould->huge);
    arm->resident_pages -= mould->resident_pages;
    arm->dry[mould->bin] += 1;
  } else {
    if (mould->heat == HAK_THERMAL_WARM) price = prices->madvise_ns + mould->lazy_ns;
    arm->kept[mould->bin].blocks += 1;
    arm->kept[mould->bin].resident += mould->resident_pages;
  }
  arm->kept_pages += mould->pages;
  return price + trim(ledger, arm);
}

/* Takes one of the blocks, with an even share of their resident pages; what it lacks of them faults. */
static int64_t reuse(hak_ledger *ledger, hak_ledger_arm *arm, const hak_mould *mould, hak_pool *pool) {
  const int64_t share = pool->resident / pool->blocks;
  pool->blocks -= 1;
  pool->resident -= share;
  const int64_t lacking = mould->resident_pages - share;
  arm->resident_pages += lacking;
  if (lacking <= 0) return 0;
  arm->faults += lacking;
  return lacking * ledger->prices->fault_ns;
}

static void allocate_under(hak_ledger *ledger, int index, const hak_mould *mould, uint32_t site) {
  const hak_prices *prices = ledger->prices;
  hak_ledger_arm *arm = &ledger->arm[index];
  if (index >= mould->mapping_arms) {
    arm->heap_bytes += hak_heap_chunk_bytes(mould->size_bytes);
    spend(ledger, index, site, prices->heap_call_ns);
    return;
  }
  int64_t price = prices->heap_call_ns + prices->lookup_ns;
  if (mould->cached && arm->cached[mould->ring].blocks > 0) {
    price += reuse(ledger, arm, mould, &arm->cached[mould->ring]);
  } else if (arm->waiting[mould->bin].blocks > 0) {
    price += reuse(ledger, arm, mould, &arm->waiting[mould->bin]);
    arm->waiting_blocks -= 1;
    arm->waiting_pages -= mould->pages;
  } else if (arm->kept[mould->bin].blocks > 0) {
    price += reuse(ledger, arm, mould, &arm->kept[mould->bin]);
    arm->kept_pages -= mould->pages;
  } else {
    if (arm->dry[mould->bin] > 0) {
      arm->dry[mould->bin] -= 1;
      arm->kept_pages -= mould->pages;
    } else {
      price += mould->map_ns;
    }
    price += mould->fault_ns;
    arm->faults += mould->faults;
    arm->resident_pages += mould->resident_pages;
  }
  spend(ledger, index, site, price);
}

static void free_under(hak_ledger *ledger, int index, const hak_mould *mould, uint32_t site) {
  const hak_prices *prices = ledger->prices;
  hak_ledger_arm *arm = &ledger->arm[index];
  if (index >= mould->mapping_arms) {
    arm->heap_bytes -= hak_heap_chunk_bytes(mould->size_bytes);
    spend(ledger, index, site, prices->heap_call_ns);
    return;
  }
  int64_t price = prices->heap_call_ns + prices->lookup_ns;
  if (mould->cached && arm->cached[mould->ring].blocks < ledger->config->bigcache_ways) {
    arm->cached[mould->ring].blocks += 1;
    arm->cached[mould->ring].resident += mould->resident_pages;
  } else {
    price += release_under(ledger, arm, mould);
  }
  spend(ledger, index, site, price);
}

static void count_baseline(hak_ledger *ledger, const hak_mould *mould, uint32_t site) {
  const hak_prices *prices = ledger->prices;
  const int64_t pages = hak_pages_of(mould->size_bytes);
  const int64_t price = prices->mmap_ns + prices->munmap_ns + pages * (prices->fault_ns + prices->release_page_ns);
  if (ledger->by_site) ledger->site_baseline_ns[site] += price;
  if (mould->size_bytes < baseline_from_bytes[0]) return;
  ledger->baseline_ns += price;
  ledger->baseline_pages += pages;
  ledger->live_bytes += mould->size_bytes;
  if (ledger->live_bytes > ledger->peak_bytes) ledger->peak_bytes = ledger->live_bytes;
}

void hak_ledger_init(hak_ledger *ledger, hak_memory *memory, const hak_config *config, const hak_prices *prices,
                     const hak_bigcache *cache, hak_heap *heap, bool huge_works) {
  memset(ledger, 0, sizeof *ledger);
  ledger->config = config;
  ledger->prices = prices;
  ledger->cache = cache;
  ledger->heap = heap;
  ledger->huge_works = huge_works;
  ledger->by_site = hak_strategy_learns_sites(config);
  ledger->thresholds_bytes = ledger->by_site ? hak_strategy_steps() : hak_strategy_thresholds(config);
  ledger->arms = ledger->by_site ? HAK_UCB1_STEPS : HAK_STRATEGIES;
  ledger->rings = config->bigcache_slots * classes;
  for (int arm = 0; arm < ledger->arms; arm += 1)
    ledger->arm[arm].cached = hak_memory_grow(memory, NULL, 0, sizeof(hak_pool) * (size_t)ledger->rings);
}

void hak_ledger_begin(hak_ledger *ledger, int64_t event, int from, int to) {
  ledger->from = from;
  ledger->to = to;
  ledger->last_event = event;
  ledger->heap_acted_bytes = 0;
  const int64_t heap_pages = hak_pages_of(hak_heap_settle(ledger->heap));
  for (int index = 0; index < ledger->arms; index += 1) {
    hak_pool *cached = ledger->arm[index].cached;
    memset(cached, 0, sizeof(hak_pool) * (size_t)ledger->rings);
    ledger->arm[index] = (hak_ledger_arm){.heap_peak_pages = heap_pages, .cached = cached};
  }
  hak_ledger_clear_window(ledger);
}

void hak_ledger_add(hak_ledger *ledger, const hak_mould *mould, bool on_heap) {
  if (on_heap) ledger->heap_acted_bytes += hak_heap_chunk_bytes(mould->size_bytes);
  for (int arm = ledger->from; arm < ledger->to; arm += 1) {
    if (arm < mould->mapping_arms)
      ledger->arm[arm].resident_pages += mould->resident_pages;
    else
      ledger->arm[arm].heap_bytes += hak_heap_chunk_bytes(mould->size_bytes);
  }
}

void hak_ledger_advance(hak_ledger *ledger, int64_t event) {
  const int64_t passed = event - ledger->last_event;
  ledger->last_event = event;
  ledger->baseline_events += passed;
  const int64_t highest_bytes = hak_heap_settle(ledger->heap) - ledger->heap_acted_bytes;
  for (int index = ledger->from; index < ledger->to; index += 1) {
    hak_ledger_arm *arm = &ledger->arm[index];
    const int64_t pages = hak_pages_of(highest_bytes + arm->heap_bytes);
    const int64_t grown = pages - arm->heap_peak_pages;
    if (grown > 0) {
      arm->heap_peak_pages = pages;
      arm->faults += grown;
      spend(ledger, index, ledger->last_site, grown * ledger->prices->fault_ns);
    }
    arm->page_events += (arm->resident_pages + arm->heap_peak_pages) * passed;
  }
}

void hak_ledger_allocate(hak_ledger *ledger, const hak_mould *mould, uint32_t site) {
  ledger->last_site = site;
  count_baseline(ledger, mould, site);
  for (int arm = ledger->from; arm < ledger->to; arm += 1) allocate_under(ledger, arm, mould, site);
}

void hak_ledger_free(hak_ledger *ledger, const hak_mould *mould, uint32_t site) {
  ledger->last_site = site;
  if (mould->size_bytes >= baseline_from_bytes[0]) ledger->live_bytes -= mould->size_bytes;
  for (int arm = ledger->from; arm < ledger->to; arm += 1) free_under(ledger, arm, mould, site);
}

void hak_ledger_reallocate(hak_ledger *ledger, const hak_mould *before, const hak_mould *after, uint32_t site) {
  ledger->last_site = site;
  if (before->size_bytes >= baseline_from_bytes[0]) ledger->live_bytes -= before->size_bytes;
  count_baseline(ledger, after, site);
  const bool fits =
      after->pages <= before->pages && after->size_bytes * HAK_REALLOC_FILL_DIVISOR >= before->pages * HAK_PAGE_BYTES;
  const int64_t copied_ns = hak_pages_of(least(before->size_bytes, after->size_bytes)) * ledger->prices->fill_page_ns;
  for (int arm = ledger->from; arm < ledger->to; arm += 1) {
    if (fits && arm < before->mapping_arms && arm < after->mapping_arms) {
      const int64_t grown = after->resident_pages - before->resident_pages;
      ledger->arm[arm].resident_pages += grown;
      if (grown <= 0) continue;
      ledger->arm[arm].faults += grown;
      spend(ledger, arm, site, grown * ledger->prices->fault_ns);
      continue;
    }
    allocate_under(ledger, arm, after, site);
    if (arm < after->mapping_arms) spend(ledger, arm, site, copied_ns);
    free_under(ledger, arm, before, site);
  }
}

int64_t hak_ledger_cost(const hak_ledger *ledger, int index) {
  const hak_ledger_arm *arm = &ledger->arm[index];
  if (ledger->baseline_pages == 0) return arm->cpu_ns;
  const double baseline_ns = (double)ledger->baseline_ns;
  const double per_fault = ((HAK_SCORE_FAULTS / HAK_SCORE_CPU) * baseline_ns) / (double)ledger->baseline_pages;
  const int64_t peak_pages = hak_pages_of(ledger->peak_bytes);
  const double per_page =
      ledger->baseline_events == 0
          ? 0
          : ((HAK_SCORE_MEMORY / HAK_SCORE_CPU) * baseline_ns) / ((double)ledger->baseline_events * (double)peak_pages);
  return (int64_t)((double)arm->cpu_ns + (double)arm->faults * per_fault + (double)arm->page_events * per_page);
}

void hak_ledger_clear_window(hak_ledger *ledger) {
  for (int arm = 0; arm < ledger->arms; arm += 1) {
    ledger->arm[arm].cpu_ns = 0;
    ledger->arm[arm].faults = 0;
    ledger->arm[arm].page_events = 0;
  }
  if (!ledger->by_site) return;
  memset(ledger->site_ns, 0, sizeof ledger->site_ns);
  memset(ledger->site_baseline_ns, 0, sizeof ledger->site_baseline_ns);
}

void hak_ledger_cast(const hak_ledger *ledger, hak_mould *mould, int64_t size_bytes, int64_t align, int64_t ring_slot,
                     int64_t touched) {
  const hak_config *config = ledger->config;
  const hak_prices *prices = ledger->prices;
  const bool served = align <= HAK_PAGE_BYTES && hak_bigcache_serves(ledger->cache, size_bytes);
  const int64_t pages = hak_pages_of(served ? hak_bigcache_round_up(ledger->cache, size_bytes) : size_bytes);
  const int size_class = served ? hak_bigcache_class_of(ledger->cache, pages) : HAK_NO_CLASS;
  const bool wants_huge = hak_thp_wants_huge(config, pages * HAK_PAGE_BYTES);
  mould->huge = ledger->huge_works && pages >= HAK_WINDOW_PAGES && wants_huge;
  const int64_t windows =
      mould->huge ? least(pages / HAK_WINDOW_PAGES, (touched + HAK_WINDOW_PAGES - 1) / HAK_WINDOW_PAGES) : 0;
  const int64_t beyond = touched - windows * HAK_WINDOW_PAGES;
  const int64_t small = beyond > 0 ? beyond : 0;
  mould->size_bytes = size_bytes;
  mould->pages = pages;
  mould->touched_pages = touched;
  mould->mapping_arms = 0;
  while (mould->mapping_arms < ledger->arms && size_bytes >= ledger->thresholds_bytes[mould->mapping_arms])
    mould->mapping_arms += 1;
  mould->cached = size_class != HAK_NO_CLASS;
  mould->ring = mould->cached ? ring_slot * classes + size_class : 0;
  mould->bin = mould->cached ? size_class : classes + (int64_t)(hak_mix32((uint32_t)pages) % (bins - classes));
  mould->heat = hak_thermal_class(config, size_bytes);
  mould->faults = windows + small;
  mould->fault_ns = windows * prices->huge_fault_ns + small * prices->fault_ns;
  mould->resident_pages = windows * HAK_WINDOW_PAGES + small;
  mould->lazy_ns = windows * prices->release_huge_ns + small * prices->lazy_free_page_ns;
  mould->map_ns = prices->mmap_ns + (wants_huge ? prices->advise_huge_ns : 0);
}
