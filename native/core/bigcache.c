/* BigCache: freed blocks by (site, size class), a ring for each. Mirrors sim/decide/bigcache.ts. */
#include <string.h>

#include "hak.h"

enum { classes = HAK_BIGCACHE_CLASSES };
static const int64_t class_bytes[classes] = HAK_BIGCACHE_CLASS_BYTES;

static int floor_class(int64_t bytes) {
  int found = HAK_NO_CLASS;
  for (int at = 0; at < classes && class_bytes[at] <= bytes; at += 1) found = at;
  return found;
}

static int ceil_class(int64_t bytes) {
  int at = 0;
  while (at < classes && class_bytes[at] < bytes) at += 1;
  return at;
}

static bool rounds(const hak_bigcache *cache) { return cache->config->bigcache_round && !cache->config->legacy_undersized; }

/* The slot of the site, which takes the first empty one; bigcache_slots where all are others'. */
static int64_t search(hak_bigcache *cache, uint32_t site) {
  const int64_t slots = cache->config->bigcache_slots;
  for (int64_t slot = 0; slot < slots; slot += 1) {
    cache->probed = slot;
    if (slot == cache->taken) {
      cache->sites[slot] = site;
      cache->taken += 1;
      return slot;
    }
    if (cache->sites[slot] == site) return slot;
  }
  return slots;
}

static int64_t slot_of(hak_bigcache *cache, uint32_t site) {
  const hak_config *config = cache->config;
  cache->probed = 0;
  int64_t slot = 0;
  if (config->bigcache_site_keyed) {
    if (!config->bigcache_direct) slot = search(cache, site);
    if (config->bigcache_direct || slot == config->bigcache_slots)
      slot = hak_mix32(site) & (uint32_t)(config->bigcache_slots - 1);
  }
  cache->probes += 1 + cache->probed;
  return slot;
}

void hak_bigcache_init(hak_bigcache *cache, hak_memory *memory, const hak_config *config, hak_blocks *blocks) {
  *cache = (hak_bigcache){.config = config, .blocks = blocks};
  const size_t slots = (size_t)config->bigcache_slots * classes;
  cache->ring = hak_memory_grow(memory, NULL, 0, sizeof(int32_t) * slots * (size_t)config->bigcache_ways);
  cache->held = hak_memory_grow(memory, NULL, 0, slots);
  cache->sites = hak_memory_grow(memory, NULL, 0, sizeof(uint32_t) * (size_t)config->bigcache_slots);
}

bool hak_bigcache_serves(const hak_bigcache *cache, int64_t size_bytes) {
  if (!cache->config->bigcache || size_bytes < cache->config->bigcache_from_bytes) return false;
  if (rounds(cache)) return size_bytes <= class_bytes[classes - 1];
  return size_bytes < HAK_BIGCACHE_FLOOR_BELOW_BYTES;
}

int64_t hak_bigcache_round_up(const hak_bigcache *cache, int64_t size_bytes) {
  return rounds(cache) ? class_bytes[ceil_class(size_bytes)] : size_bytes;
}

int hak_bigcache_class_of(const hak_bigcache *cache, int64_t pages) {
  const int64_t usable_bytes = pages * HAK_PAGE_BYTES;
  if (!rounds(cache)) return usable_bytes < HAK_BIGCACHE_FLOOR_BELOW_BYTES ? floor_class(usable_bytes) : HAK_NO_CLASS;
  const int at = ceil_class(usable_bytes);
  return at < classes && class_bytes[at] == usable_bytes ? at : HAK_NO_CLASS;
}

static int32_t probe(hak_bigcache *cache, int64_t slot, int size_class, int64_t size_bytes) {
  const int64_t at = slot * classes + size_class;
  if (cache->held[at] == 0) return HAK_NO_BLOCK;
  const int32_t block = cache->ring[at * cache->config->bigcache_ways + cache->held[at] - 1];
  const hak_block *found = &cache->blocks->block[block];
  hak_assert(found->home == HAK_HOME_CACHE);
  if (found->pages * HAK_PAGE_BYTES < size_bytes && !cache->config->legacy_undersized) {
    cache->undersized += 1;
    return HAK_NO_BLOCK;
  }
  cache->held[at] -= 1;
  cache->blocks_held -= 1;
  return block;
}

int32_t hak_bigcache_try_get(hak_bigcache *cache, uint32_t site, int64_t size_bytes) {
  const int64_t slot = slot_of(cache, site);
  const int above = ceil_class(size_bytes);
  int32_t block = HAK_NO_BLOCK;
  if (rounds(cache)) {
    block = probe(cache, slot, above, size_bytes);
  } else {
    const int below = floor_class(size_bytes);
    if (below != HAK_NO_CLASS) block = probe(cache, slot, below, size_bytes);
    if (block == HAK_NO_BLOCK && !cache->config->legacy_undersized && above < classes && above != below)
      block = probe(cache, slot, above, size_bytes);
  }
  if (block == HAK_NO_BLOCK)
    cache->misses += 1;
  else
    cache->hits += 1;
  return block;
}

int32_t hak_bigcache_put(hak_bigcache *cache, int32_t block) {
  const int64_t ways = cache->config->bigcache_ways;
  hak_block *freed = &cache->blocks->block[block];
  const int64_t at = slot_of(cache, freed->site) * classes + freed->size_class;
  int32_t *ring = &cache->ring[at * ways];
  int32_t evicted = HAK_NO_BLOCK;
  if (cache->held[at] == ways) {
    evicted = ring[0];
    memmove(ring, ring + 1, sizeof(int32_t) * (size_t)(ways - 1));
    cache->held[at] -= 1;
    cache->blocks_held -= 1;
    cache->evictions += 1;
  }
  ring[cache->held[at]] = block;
  cache->held[at] += 1;
  cache->blocks_held += 1;
  freed->home = HAK_HOME_CACHE;
  return evicted;
}

/* The largest request that a block of the class may serve. */
static int64_t most_served(const hak_bigcache *cache, int64_t size_class) {
  if (rounds(cache)) return class_bytes[size_class];
  return (size_class + 1 < classes ? class_bytes[size_class + 1] : HAK_BIGCACHE_FLOOR_BELOW_BYTES) - 1;
}

int32_t hak_bigcache_drain(hak_bigcache *cache, int64_t bytes) {
  const int64_t ways = cache->config->bigcache_ways;
  for (int64_t at = 0; at < cache->config->bigcache_slots * classes; at += 1) {
    if (cache->held[at] == 0 || most_served(cache, at % classes) >= bytes) continue;
    int32_t *ring = &cache->ring[at * ways];
    const int32_t oldest = ring[0];
    cache->held[at] -= 1;
    cache->blocks_held -= 1;
    memmove(ring, ring + 1, sizeof(int32_t) * (size_t)cache->held[at]);
    return oldest;
  }
  return HAK_NO_BLOCK;
}
