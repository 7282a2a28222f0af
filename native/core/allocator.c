/*
 * The policy: decide, then act. select -> threshold -> BigCache -> kept or map, or heap; and the way of a free.
 * Mirrors sim/decide/allocator.ts, action by action.
 */
#include <string.h>

#include "hak.h"

enum { dead = -2, on_heap = -1 };

static hak_block *at(hak_allocator *allocator, int32_t block) { return &allocator->blocks.block[block]; }

static int64_t mapped_pages(hak_allocator *allocator, int32_t block) {
  return at(allocator, block)->pages + allocator->header_pages;
}

static int64_t user_start(hak_allocator *allocator, int32_t block) {
  return at(allocator, block)->start + allocator->header_pages;
}

static void act(hak_allocator *allocator, int kind, int64_t start, int64_t pages) {
  allocator->acted += 1;
  hak_digest_mix(&allocator->digest, hak_digest_pack(start, (uint32_t)pages << 4 | (uint32_t)kind));
  if (allocator->recording && allocator->recorded < HAK_ACTIONS_LOGGED_MAX) {
    allocator->record[allocator->recorded] = (hak_action){kind, start, pages};
    allocator->recorded += 1;
  }
}

static void describe(hak_allocator *allocator, int32_t block) {
  allocator->usable_bytes = at(allocator, block)->pages * HAK_PAGE_BYTES;
  allocator->offset_pages = user_start(allocator, block);
}

static void take(hak_allocator *allocator, int64_t event, int arm) {
  allocator->arm = arm;
  if (arm == allocator->digested_arm) return;
  allocator->digested_arm = arm;
  hak_digest_mix(&allocator->digest, hak_digest_pack(event, (uint32_t)arm));
}

void hak_allocator_select(hak_allocator *allocator, int64_t event) {
  const hak_learning *learning = allocator->learning;
  take(allocator, event, learning == NULL ? hak_strategy_select(allocator->config) : allocator->first_arm + learning->arm);
}

int64_t hak_allocator_threshold(const hak_allocator *allocator) {
  const hak_learning *learning = allocator->learning;
  return learning == NULL ? hak_strategy_threshold(allocator->config, allocator->arm)
                          : learning->ledger.thresholds_bytes[allocator->arm - allocator->first_arm];
}

static void take_from_heap(hak_allocator *allocator, int64_t size_bytes) {
  allocator->route = HAK_ROUTE_HEAP;
  allocator->usable_bytes = size_bytes;
  hak_heap_allocate(&allocator->heap, size_bytes);
}

static void touch_block(hak_allocator *allocator, int32_t block, int64_t pages, bool was_zero) {
  if (pages == 0) return;
  hak_block *touched = at(allocator, block);
  act(allocator, HAK_ACTION_TOUCH, user_start(allocator, block), pages);
  touched->clean = 0;
  if (pages > touched->stamped_pages) touched->stamped_pages = pages;
  allocator->fault_ns +=
      allocator->kernel->touch(allocator->kernel, user_start(allocator, block), pages, touched->stamp, was_zero);
}

static void unmap_waiting(hak_allocator *allocator, int32_t block) {
  const int64_t start = at(allocator, block)->start;
  const int64_t pages = mapped_pages(allocator, block);
  act(allocator, HAK_ACTION_UNMAP, start, pages);
  allocator->free_ns += allocator->kernel->unmap(allocator->kernel, start, pages);
  hak_placement_give(&allocator->placement, start, pages);
  at(allocator, block)->mapped = 0;
}

static void unmap(hak_allocator *allocator, int32_t block) {
  unmap_waiting(allocator, block);
  hak_blocks_destroy(&allocator->blocks, block);
}

static void unmap_kept(hak_allocator *allocator, int32_t block) {
  hak_kept_remove(&allocator->kept, block, mapped_pages(allocator, block) * HAK_PAGE_BYTES);
  hak_kept_withdraw_offer(&allocator->kept, block);
  unmap(allocator, block);
}

static void trim_kept(hak_allocator *allocator) {
  hak_kept *kept = &allocator->kept;
  while (kept->bytes > allocator->config->kept_bytes_max) unmap_kept(allocator, kept->oldest);
}

/* Advises everything that waits, in as few calls as it takes, and keeps it. */
static void flush(hak_allocator *allocator) {
  hak_batch *batch = &allocator->batch;
  for (int64_t index = 0; index < batch->count && !allocator->trusting; index += 1) {
    const hak_block *waiting = at(allocator, batch->waiting[index]);
    if (waiting->mapped) continue;
    const bool is_free = hak_placement_is_free(&allocator->placement, waiting->start, waiting->pages);
    allocator->violation = is_free ? HAK_VIOLATION_UNMAPPED_ADVICE : HAK_VIOLATION_LIVE_ADVICE;
    return;
  }
  hak_kernel *kernel = allocator->kernel;
  hak_range ranges[HAK_BATCH_INDEX_MAX];
  const int64_t count = hak_batch_ranges(batch, ranges);
  const bool vectored = allocator->config->batch_vectored;
  const int64_t step = vectored ? HAK_VECTORED_RANGES_MAX : 1;
  for (int64_t from = 0; from < count; from += step) {
    const int64_t part = count - from < step ? count - from : step;
    for (int64_t index = from; index < from + part; index += 1)
      act(allocator, vectored ? HAK_ACTION_PROCESS_MADVISE : HAK_ACTION_DONTNEED, ranges[index].start, ranges[index].pages);
    allocator->free_ns += vectored ? kernel->dontneed_vector(kernel, &ranges[from], part)
                                   : kernel->dontneed(kernel, ranges[from].start, ranges[from].pages);
  }
  int32_t flushed[HAK_BATCH_INDEX_MAX];
  const int64_t blocks = hak_batch_clear(batch, flushed);
  for (int64_t index = 0; index < blocks; index += 1) {
    if (!at(allocator, flushed[index])->mapped) continue;
    at(allocator, flushed[index])->clean = !allocator->config->legacy_header;
    hak_kept_add(&allocator->kept, flushed[index], mapped_pages(allocator, flushed[index]) * HAK_PAGE_BYTES);
  }
  trim_kept(allocator);
}

static void release_below(hak_allocator *allocator, int64_t bytes) {
  hak_kept *kept = &allocator->kept;
  if (allocator->batch.count > 0) flush(allocator);
  if (allocator->violation != HAK_VIOLATION_NONE) return;
  for (int32_t block = hak_bigcache_drain(&allocator->cache, bytes); block != HAK_NO_BLOCK;
       block = hak_bigcache_drain(&allocator->cache, bytes))
    unmap(allocator, block);
  for (int32_t block = kept->oldest; block != HAK_NO_BLOCK;) {
    const int32_t next = at(allocator, block)->kept_after;
    if (at(allocator, block)->pages * HAK_PAGE_BYTES < bytes) unmap_kept(allocator, block);
    block = next;
  }
}

/* The strategy in force is another: what only smaller requests could use is given back, or it would lie about for ever. */
static void follow(hak_allocator *allocator, int64_t bytes) {
  if (bytes > allocator->released_below_bytes) release_below(allocator, bytes);
  allocator->released_below_bytes = bytes;
}

/* The strategy is asked first; what it says is used. */
static bool decides_to_map(hak_allocator *allocator, int64_t size_bytes, uint32_t site) {
  hak_learning *learning = allocator->learning;
  if (learning == NULL) {
    hak_allocator_select(allocator, allocator->event);
    return size_bytes >= hak_strategy_threshold(allocator->config, allocator->arm) && !allocator->config->legacy_order;
  }
  if (size_bytes < learning->floor_bytes) {
    if (allocator->digested_arm < 0) hak_allocator_select(allocator, allocator->event);
    return false;
  }
  const int arm = hak_learning_decide(learning, allocator->event, site);
  if (allocator->config->switch_releases && allocator->first_arm == 0)
    follow(allocator, learning->ledger.thresholds_bytes[learning->arm]);
  take(allocator, allocator->event, allocator->first_arm + arm);
  return size_bytes >= hak_allocator_threshold(allocator) && !allocator->config->legacy_order;
}

static int release_by_thermal(hak_allocator *allocator, int32_t block) {
  const hak_config *config = allocator->config;
  hak_kernel *kernel = allocator->kernel;
  if (!config->thermal) {
    unmap(allocator, block);
    return HAK_ROUTE_FREE_UNMAP;
  }
  hak_block *freed = at(allocator, block);
  const int64_t start = freed->start;
  const int64_t pages = freed->pages;
  const int heat = hak_thermal_class(config, freed->size_bytes);
  allocator->thermal_frees[heat] += 1;
  allocator->free_ns += allocator->prices->lookup_ns;
  if (heat == HAK_THERMAL_COLD && config->batch) {
    hak_batch_add(&allocator->batch, block, pages * HAK_PAGE_BYTES);
    if (config->legacy_stale_advice)
      unmap_waiting(allocator, block);
    else
      hak_kept_offer(&allocator->kept, block);
    if (hak_batch_is_full(&allocator->batch)) flush(allocator);
    return HAK_ROUTE_FREE_COLD;
  }
  if (heat == HAK_THERMAL_WARM) {
    act(allocator, HAK_ACTION_FREE, start, pages);
    allocator->free_ns += kernel->free(kernel, start, pages);
  } else if (heat == HAK_THERMAL_COLD) {
    act(allocator, HAK_ACTION_DONTNEED, start, pages);
    allocator->free_ns += kernel->dontneed(kernel, start, pages);
    freed->clean = !config->legacy_header;
  }
  hak_kept_offer(&allocator->kept, block);
  hak_kept_add(&allocator->kept, block, mapped_pages(allocator, block) * HAK_PAGE_BYTES);
  trim_kept(allocator);
  return HAK_ROUTE_FREE_HOT + heat;
}

static void release(hak_allocator *allocator, int32_t block) {
  hak_block *freed = at(allocator, block);
  hak_assert(freed->home == HAK_HOME_LIVE);
  allocator->kernel->verify(allocator->kernel, user_start(allocator, block), freed->stamped_pages, freed->stamp);
  if (freed->size_class == HAK_NO_CLASS) {
    allocator->released = release_by_thermal(allocator, block);
    return;
  }
  allocator->released = HAK_ROUTE_FREE_CACHE;
  allocator->free_ns += allocator->prices->lookup_ns;
  const int32_t evicted = hak_bigcache_put(&allocator->cache, block);
  allocator->free_ns += allocator->cache.probed * allocator->prices->probe_ns;
  if (evicted == HAK_NO_BLOCK) return;
  act(allocator, HAK_ACTION_EVICT, at(allocator, evicted)->start, at(allocator, evicted)->pages);
  if (allocator->config->legacy_eviction_frees)
    unmap(allocator, evicted);
  else
    release_by_thermal(allocator, evicted);
}

static void reuse(hak_allocator *allocator, int32_t block) {
  const hak_block *reused = at(allocator, block);
  hak_kept_withdraw_offer(&allocator->kept, block);
  if (reused->home == HAK_HOME_BATCH) {
    hak_batch_withdraw(&allocator->batch, block, reused->pages * HAK_PAGE_BYTES);
    act(allocator, HAK_ACTION_WITHDRAW, reused->start, reused->pages);
    allocator->route = HAK_ROUTE_BATCH;
  } else {
    hak_kept_remove(&allocator->kept, block, mapped_pages(allocator, block) * HAK_PAGE_BYTES);
    allocator->kept_reused += 1;
    allocator->route = HAK_ROUTE_KEPT;
  }
}

static int32_t map(hak_allocator *allocator, int64_t pages, int64_t align) {
  const hak_config *config = allocator->config;
  hak_kernel *kernel = allocator->kernel;
  const int64_t all_pages = pages + allocator->header_pages;
  const bool huge = hak_thp_wants_huge(config, pages * HAK_PAGE_BYTES);
  int64_t align_pages = huge && all_pages >= HAK_WINDOW_PAGES ? HAK_WINDOW_PAGES : 1;
  if (align / HAK_PAGE_BYTES > align_pages) align_pages = align / HAK_PAGE_BYTES;
  const int64_t start = hak_placement_take(&allocator->placement, all_pages, align_pages);
  if (start < 0) {
    allocator->violation = HAK_VIOLATION_REGION_EXHAUSTED;
    return HAK_NO_BLOCK;
  }
  const int32_t block = hak_blocks_create(&allocator->blocks, start, pages);
  if (config->bigcache) at(allocator, block)->size_class = (uint8_t)hak_bigcache_class_of(&allocator->cache, pages);
  act(allocator, HAK_ACTION_MAP, start, all_pages);
  allocator->allocate_ns += kernel->map(kernel, start, all_pages);
  if (huge) {
    act(allocator, HAK_ACTION_HUGEPAGE, start, all_pages);
    allocator->allocate_ns += kernel->advise_huge(kernel, start, all_pages);
  } else if (hak_thp_forbids_huge(config)) {
    act(allocator, HAK_ACTION_NOHUGEPAGE, start, all_pages);
    allocator->allocate_ns += kernel->advise_no_huge(kernel, start, all_pages);
  }
  if (allocator->header_pages > 0) {
    act(allocator, HAK_ACTION_TOUCH, start, allocator->header_pages);
    allocator->fault_ns += kernel->touch(kernel, start, allocator->header_pages, 1, true);
  }
  allocator->route = HAK_ROUTE_MAP;
  return block;
}

/* A mapped block for the request: from BigCache, from the batch or the keep, or new; HAK_NO_BLOCK on a violation. */
static int32_t acquire(hak_allocator *allocator, int64_t size_bytes, int64_t align, uint32_t site) {
  allocator->allocate_ns += allocator->prices->lookup_ns;
  const bool over_aligned = align > HAK_PAGE_BYTES;
  const bool cached = !over_aligned && hak_bigcache_serves(&allocator->cache, size_bytes);
  int32_t block = cached ? hak_bigcache_try_get(&allocator->cache, site, size_bytes) : HAK_NO_BLOCK;
  if (cached) allocator->allocate_ns += allocator->cache.probed * allocator->prices->probe_ns;
  if (block != HAK_NO_BLOCK) {
    allocator->route = HAK_ROUTE_CACHE;
  } else {
    const int64_t pages = hak_pages_of(cached ? hak_bigcache_round_up(&allocator->cache, size_bytes) : size_bytes);
    if (!over_aligned) block = hak_kept_find(&allocator->kept, pages);
    if (block == HAK_NO_BLOCK)
      block = map(allocator, pages, align);
    else
      reuse(allocator, block);
  }
  if (block == HAK_NO_BLOCK) return HAK_NO_BLOCK;
  hak_block *acquired = at(allocator, block);
  if (acquired->pages * HAK_PAGE_BYTES < size_bytes && !allocator->trusting) {
    allocator->violation = HAK_VIOLATION_UNDERSIZED;
    return HAK_NO_BLOCK;
  }
  acquired->home = HAK_HOME_LIVE;
  acquired->size_bytes = size_bytes;
  acquired->site = site;
  acquired->stamped_pages = 0;
  acquired->stamp = allocator->next_stamp;
  allocator->next_stamp += 1;
  describe(allocator, block);
  return block;
}

static void allocate(hak_allocator *allocator, int kind, int64_t object, int64_t size_bytes, int64_t align,
                     uint32_t site, uint32_t touched) {
  hak_assert(allocator->block_of[object] == dead);
  allocator->allocate_ns += allocator->prices->heap_call_ns;
  allocator->size_of[object] = size_bytes;
  const int64_t touches = hak_touched_pages(allocator->touch, size_bytes, touched);
  const bool maps = decides_to_map(allocator, size_bytes, site);
  if (size_bytes >= allocator->learns_from_bytes)
    hak_learning_allocated(allocator->learning, object, size_bytes, align, site, touched, !maps);
  if (!maps) {
    allocator->block_of[object] = on_heap;
    take_from_heap(allocator, size_bytes);
    allocator->kernel->heap_allocate(allocator->kernel, object, kind, size_bytes, align, touches);
    return;
  }
  const int32_t block = acquire(allocator, size_bytes, align, site);
  if (block == HAK_NO_BLOCK) return;
  allocator->block_of[object] = block;
  const bool calloc_clean = kind == HAK_OP_CALLOC && at(allocator, block)->clean;
  if (kind == HAK_OP_CALLOC && !calloc_clean) {
    const int64_t pages = hak_pages_of(size_bytes);
    act(allocator, HAK_ACTION_ZERO, user_start(allocator, block), pages);
    allocator->allocate_ns += pages * allocator->prices->fill_page_ns;
    allocator->fault_ns += allocator->kernel->touch(allocator->kernel, user_start(allocator, block), pages, 0, false);
  }
  touch_block(allocator, block, touches, kind == HAK_OP_CALLOC);
}

/* A moving realloc is avoided while the block fits and fills its part. */
static bool fits(int64_t usable_bytes, int64_t size_bytes) {
  return size_bytes <= usable_bytes && size_bytes * HAK_REALLOC_FILL_DIVISOR >= usable_bytes;
}

static void reallocate(hak_allocator *allocator, int64_t object, int64_t size_bytes, uint32_t site, uint32_t touched) {
  hak_kernel *kernel = allocator->kernel;
  const int32_t block = allocator->block_of[object];
  hak_assert(block != dead);
  const int64_t old_bytes = allocator->size_of[object];
  allocator->size_of[object] = size_bytes;
  allocator->allocate_ns += allocator->prices->heap_call_ns;
  const int64_t touches = hak_touched_pages(allocator->touch, size_bytes, touched);
  if (old_bytes >= allocator->learns_from_bytes && size_bytes < allocator->learns_from_bytes)
    hak_learning_freed(allocator->learning, allocator->event, object);
  const bool maps = decides_to_map(allocator, size_bytes, site);
  const bool stays = block != on_heap && fits(at(allocator, block)->pages * HAK_PAGE_BYTES, size_bytes);
  if (size_bytes >= allocator->learns_from_bytes)
    hak_learning_reallocated(allocator->learning, object, size_bytes, site, touched, !maps && !stays);
  if (stays) {
    allocator->route = HAK_ROUTE_IN_PLACE;
    at(allocator, block)->size_bytes = size_bytes;
    describe(allocator, block);
    touch_block(allocator, block, touches, false);
    return;
  }
  const int64_t copied_pages = hak_pages_of(old_bytes < size_bytes ? old_bytes : size_bytes);
  int32_t moved = on_heap;
  if (maps) {
    moved = acquire(allocator, size_bytes, 0, site);
    if (moved == HAK_NO_BLOCK) return;
  } else {
    if (block == on_heap) {
      hak_heap_free(&allocator->heap, old_bytes);
      kernel->heap_reallocate(kernel, object, size_bytes, touches);
    } else {
      kernel->heap_allocate(kernel, object, HAK_OP_MALLOC, size_bytes, 0, touches);
    }
    take_from_heap(allocator, size_bytes);
  }
  allocator->block_of[object] = moved;
  if (block != on_heap && copied_pages > 0) {
    act(allocator, HAK_ACTION_READ, user_start(allocator, block), copied_pages);
    allocator->fault_ns += kernel->read(kernel, user_start(allocator, block), copied_pages);
  }
  if (moved != on_heap) {
    allocator->allocate_ns += copied_pages * allocator->prices->fill_page_ns;
    touch_block(allocator, moved, copied_pages, false);
    touch_block(allocator, moved, touches, false);
  }
  if (block != on_heap) {
    release(allocator, block);
  } else if (moved != on_heap) {
    hak_heap_free(&allocator->heap, old_bytes);
    kernel->heap_free(kernel, object);
    allocator->released = HAK_ROUTE_FREE_HEAP;
  }
}

static void free_object(hak_allocator *allocator, int64_t object) {
  const int32_t block = allocator->block_of[object];
  hak_assert(block != dead);
  allocator->block_of[object] = dead;
  allocator->free_ns += allocator->prices->heap_call_ns;
  if (allocator->size_of[object] >= allocator->learns_from_bytes)
    hak_learning_freed(allocator->learning, allocator->event, object);
  if (block == on_heap) {
    hak_heap_free(&allocator->heap, allocator->size_of[object]);
    allocator->kernel->heap_free(allocator->kernel, object);
    allocator->released = HAK_ROUTE_FREE_HEAP;
  } else {
    describe(allocator, block);
    release(allocator, block);
  }
}

static void grow(hak_allocator *allocator, int64_t objects) {
  const int64_t before = allocator->objects;
  int64_t after = before * 2;
  if (after < objects) after = objects;
  allocator->block_of = hak_memory_grow(allocator->memory, allocator->block_of, sizeof(int32_t) * (size_t)before,
                                        sizeof(int32_t) * (size_t)after);
  allocator->size_of = hak_memory_grow(allocator->memory, allocator->size_of, sizeof(int64_t) * (size_t)before,
                                       sizeof(int64_t) * (size_t)after);
  for (int64_t object = before; object < after; object += 1) allocator->block_of[object] = dead;
  allocator->objects = after;
}

void hak_allocator_init(hak_allocator *allocator, hak_memory *memory, const hak_config *config, const hak_prices *prices,
                        hak_kernel *kernel, int touch, hak_profile profile, int64_t seed) {
  memset(allocator, 0, sizeof *allocator);
  allocator->config = config;
  allocator->prices = prices;
  allocator->kernel = kernel;
  allocator->memory = memory;
  allocator->touch = touch;
  allocator->header_pages = config->legacy_header;
  allocator->next_stamp = 2;
  allocator->digested_arm = -1;
  hak_blocks_init(&allocator->blocks, memory);
  hak_placement_init(&allocator->placement, memory, config->region_bytes / HAK_PAGE_BYTES);
  hak_bigcache_init(&allocator->cache, memory, config, &allocator->blocks);
  hak_batch_init(&allocator->batch, config, &allocator->blocks);
  hak_kept_init(&allocator->kept, memory, &allocator->blocks);
  hak_digest_init(&allocator->digest);
  allocator->learning = hak_learning_new(memory, config, prices, profile, seed, touch, &allocator->cache, &allocator->heap,
                                         &allocator->digest);
  allocator->learns_from_bytes = allocator->learning == NULL ? INT64_MAX : allocator->learning->floor_bytes;
  allocator->first_arm = hak_strategy_learns_sites(config) ? HAK_FIRST_STEP_ARM : 0;
  grow(allocator, 1024);
}

int64_t hak_allocator_run(hak_allocator *allocator, int64_t event, int kind, int64_t object, int64_t size_bytes,
                          int64_t align, uint32_t site, uint32_t touched) {
  const int64_t before_ns = allocator->allocate_ns + allocator->free_ns + allocator->fault_ns;
  allocator->event = event;
  allocator->acted = 0;
  allocator->route = HAK_ROUTE_NONE;
  allocator->released = HAK_ROUTE_NONE;
  allocator->usable_bytes = 0;
  allocator->offset_pages = 0;
  if (object >= allocator->objects) grow(allocator, object + 1);
  if (kind == HAK_OP_FREE)
    free_object(allocator, object);
  else if (kind == HAK_OP_REALLOC)
    reallocate(allocator, object, size_bytes, site, touched);
  else
    allocate(allocator, kind, object, size_bytes, align, site, touched);
  hak_digest *digest = &allocator->digest;
  const uint32_t word = (uint32_t)allocator->route | ((uint32_t)allocator->released << 8);
  if (allocator->acted == 0 && (word == HAK_ROUTE_HEAP || word == HAK_ROUTE_FREE_HEAP << 8)) {
    hak_digest_add(digest, event, word, size_bytes);
    return allocator->allocate_ns + allocator->free_ns + allocator->fault_ns - before_ns;
  }
  hak_digest_mix(digest, hak_digest_pack(event, word | (allocator->acted << 16)));
  hak_digest_mix(digest, (uint32_t)size_bytes);
  const int64_t usable_pages = allocator->usable_bytes / HAK_PAGE_BYTES;
  hak_digest_mix(digest, allocator->route == HAK_ROUTE_HEAP ? 0 : hak_digest_pack(allocator->offset_pages, (uint32_t)usable_pages));
  if (size_bytes >= INT64_C(1) << 31) hak_digest_mix(digest, (uint32_t)(size_bytes >> 32));
  return allocator->allocate_ns + allocator->free_ns + allocator->fault_ns - before_ns;
}

void hak_allocator_adopt(hak_allocator *allocator, int64_t object, int64_t size_bytes) {
  if (object >= allocator->objects) grow(allocator, object + 1);
  hak_assert(allocator->block_of[object] == dead);
  allocator->block_of[object] = on_heap;
  allocator->size_of[object] = size_bytes;
}

void hak_allocator_finish(hak_allocator *allocator) {
  if (allocator->batch.count > 0) flush(allocator);
  /* What the program never freed must be whole as well: the last flush may have thrown it away. */
  for (int32_t block = 0; block < allocator->blocks.count; block += 1) {
    const hak_block *left = at(allocator, block);
    if (left->home == HAK_HOME_LIVE)
      allocator->kernel->verify(allocator->kernel, user_start(allocator, block), left->stamped_pages, left->stamp);
  }
}
