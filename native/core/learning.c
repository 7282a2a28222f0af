/* Learning, as the allocator sees it: windows close here, the ledger prices them, the learner learns. Mirrors sim/decide/learning.ts. */
#include <string.h>

#include "hak.h"

enum { rating_paired, rating_classic };

static uint32_t site_slot(uint32_t site) { return hak_mix32(site) & (HAK_UCB1_SITES - 1); }

static void grow(hak_learning *learning, int64_t objects) {
  const int64_t before = learning->objects;
  int64_t after = before * 2;
  if (after < objects) after = objects;
  learning->block = hak_memory_grow(learning->memory, learning->block, sizeof(hak_learned_block) * (size_t)before,
                                    sizeof(hak_learned_block) * (size_t)after);
  learning->objects = after;
}

static bool follows(const hak_learning *learning, int64_t object) {
  return object < learning->objects && learning->block[object].size_bytes > 0;
}

static void cast_of(const hak_learning *learning, hak_mould *mould, const hak_learned_block *block) {
  const hak_config *config = learning->config;
  const int64_t ring_slot = config->bigcache_site_keyed ? hak_mix32(block->site) & (uint32_t)(config->bigcache_slots - 1) : 0;
  hak_ledger_cast(&learning->ledger, mould, block->size_bytes, block->align, ring_slot, block->touched_pages);
}

/* Fills in the costs, and returns what those in force came to. */
static int64_t price(hak_learning *learning) {
  const hak_ledger *ledger = &learning->ledger;
  int64_t *costs = learning->costs;
  if (learning->by_sites) {
    int64_t cost = 0;
    for (int arm = 0; arm < ledger->arms; arm += 1) costs[arm] = ledger->arm[arm].cpu_ns;
    for (int site = 0; site < HAK_UCB1_SITES; site += 1) cost += ledger->site_ns[site][learning->learner.step[site]];
    return cost;
  }
  if (learning->config->rating == rating_classic && learning->lifecycle.state == HAK_LIFECYCLE_STATE_LEARN) {
    for (int arm = 0; arm < ledger->arms; arm += 1) costs[arm] = -1;
    int64_t baseline = ledger->baseline_ns - learning->baseline_from_ns;
    if (baseline < 1) baseline = 1;
    costs[learning->arm] = (int64_t)((double)hak_ledger_cost(ledger, learning->arm) * 65536 / (double)baseline);
  } else {
    for (int arm = 0; arm < ledger->arms; arm += 1) costs[arm] = hak_ledger_cost(ledger, arm);
  }
  return costs[learning->arm];
}

static int sample(hak_learning *learning, int64_t event, uint32_t site);
static int sample_frozen(hak_learning *learning, int64_t event, uint32_t site);

/* What a change means for who acts and whom the ledger follows. */
static void follow(hak_learning *learning, int change, int64_t event) {
  hak_learner *learner = &learning->learner;
  const hak_lifecycle *cycle = &learning->lifecycle;
  if (change == HAK_CHANGE_RELEARN) learner->method->reset(learner);
  learning->sample = cycle->state == HAK_LIFECYCLE_STATE_FROZEN ? sample_frozen : sample;
  if (cycle->state == HAK_LIFECYCLE_STATE_LEARN) {
    learning->arm = learner->method->choose(learner);
    return;
  }
  if (change == HAK_CHANGE_NONE) return;
  if (change == HAK_CHANGE_PROMOTE)
    for (int slot = 0; slot < HAK_UCB1_SITES; slot += 1) learner->step[slot] = cycle->confirmed;
  learning->arm = cycle->confirmed;
  const bool all = cycle->state == HAK_LIFECYCLE_STATE_CANARY || learning->by_sites;
  hak_ledger_begin(&learning->ledger, event, all ? 0 : learning->arm, all ? learning->ledger.arms : learning->arm + 1);
  for (int64_t object = 0; object < learning->objects; object += 1) {
    const hak_learned_block *block = &learning->block[object];
    if (block->size_bytes == 0) continue;
    hak_mould mould;
    cast_of(learning, &mould, block);
    hak_ledger_add(&learning->ledger, &mould, block->on_heap);
  }
}

/* The digest covers what was learned. */
static void tell(const hak_learning *learning, int64_t event, int change) {
  hak_digest *digest = learning->digest;
  const hak_learner *learner = &learning->learner;
  const hak_lifecycle *cycle = &learning->lifecycle;
  hak_digest_mix(digest, hak_digest_pack(event, (uint32_t)cycle->state << 16 | (uint32_t)learning->arm << 8 | (uint32_t)change));
  for (int arm = 0; arm < learner->arms; arm += 1) hak_digest_mix(digest, (uint32_t)learning->costs[arm]);
  if (learner->method == &hak_tournament)
    for (int arm = 0; arm < learner->arms; arm += 1) hak_digest_mix(digest, (uint32_t)learner->ratings[arm]);
  if (learning->by_sites)
    for (int slot = 0; slot < HAK_UCB1_SITES; slot += 1) hak_digest_mix(digest, (uint32_t)learner->step[slot]);
  hak_digest_mix(digest, (uint32_t)cycle->p99_ns);
}

static void close_window(hak_learning *learning, int64_t event) {
  hak_learner *learner = &learning->learner;
  hak_lifecycle *cycle = &learning->lifecycle;
  const int64_t cost = price(learning);
  if (cycle->state == HAK_LIFECYCLE_STATE_LEARN && !learning->config->legacy_unrated)
    learner->method->learn(learner, learning->arm, learning->costs);
  const int change = hak_lifecycle_close(cycle, learning->costs, learner, cost);
  follow(learning, change, event);
  tell(learning, event, change);
  hak_ledger_clear_window(&learning->ledger);
  learning->window_from = event;
  learning->baseline_from_ns = learning->ledger.baseline_ns;
  learning->windows += 1;
  learning->samples = 0;
}

/* Every sample advances the ledger and may close the window. */
static void arrive(hak_learning *learning, int64_t event) {
  const hak_config *config = learning->config;
  hak_ledger_advance(&learning->ledger, event);
  if (event - learning->window_from >= config->window_events && learning->samples >= config->window_samples)
    close_window(learning, event);
  learning->samples += 1;
}

static int arm_of(hak_learning *learning, uint32_t site) {
  if (learning->by_sites) learning->arm = learning->learner.step[site_slot(site)];
  return learning->arm;
}

/* In LEARN and CANARY. A hash says which samples the candidate decides, so that no other choice shifts it. */
static int sample(hak_learning *learning, int64_t event, uint32_t site) {
  const hak_lifecycle *cycle = &learning->lifecycle;
  learning->by_candidate = cycle->state == HAK_LIFECYCLE_STATE_CANARY && cycle->candidate >= 0 &&
                           hak_mix32((uint32_t)event ^ learning->canary_seed) < learning->canary_below;
  return learning->by_candidate ? cycle->candidate : arm_of(learning, site);
}

/* In FROZEN: nothing is drawn, nothing is rated. */
static int sample_frozen(hak_learning *learning, int64_t event, uint32_t site) {
  (void)event;
  learning->by_candidate = false;
  return arm_of(learning, site);
}

int hak_learning_decide(hak_learning *learning, int64_t event, uint32_t site) {
  arrive(learning, event);
  return learning->sample(learning, event, site);
}

static hak_learned_block *keep(hak_learning *learning, int64_t object, int64_t size_bytes, int64_t align, uint32_t site,
                               uint32_t touched, bool on_heap) {
  if (object >= learning->objects) grow(learning, object + 1);
  hak_learned_block *block = &learning->block[object];
  *block = (hak_learned_block){
      .size_bytes = size_bytes,
      .touched_pages = hak_touched_pages(learning->touch, size_bytes, touched),
      .site = site,
      .align = (uint32_t)align,
      .on_heap = on_heap,
  };
  return block;
}

void hak_learning_allocated(hak_learning *learning, int64_t object, int64_t size_bytes, int64_t align, uint32_t site,
                            uint32_t touched, bool on_heap) {
  hak_ledger *ledger = &learning->ledger;
  hak_mould now;
  cast_of(learning, &now, keep(learning, object, size_bytes, align, site, touched, on_heap));
  const int arm = learning->by_candidate ? learning->lifecycle.candidate : learning->arm;
  const int64_t before_ns = ledger->arm[arm].cpu_ns;
  hak_ledger_allocate(ledger, &now, site_slot(site));
  hak_lifecycle_add(&learning->lifecycle, size_bytes, ledger->arm[arm].cpu_ns - before_ns, learning->by_candidate);
  if (on_heap) ledger->heap_acted_bytes += hak_heap_chunk_bytes(size_bytes);
}

void hak_learning_freed(hak_learning *learning, int64_t event, int64_t object) {
  if (!follows(learning, object)) return;
  hak_learned_block *block = &learning->block[object];
  hak_ledger_advance(&learning->ledger, event);
  hak_mould before;
  cast_of(learning, &before, block);
  hak_ledger_free(&learning->ledger, &before, site_slot(block->site));
  if (block->on_heap) learning->ledger.heap_acted_bytes -= hak_heap_chunk_bytes(block->size_bytes);
  block->size_bytes = 0;
}

void hak_learning_reallocated(hak_learning *learning, int64_t object, int64_t size_bytes, uint32_t site, uint32_t touched,
                              bool on_heap) {
  if (!follows(learning, object)) {
    hak_learning_allocated(learning, object, size_bytes, 0, site, touched, on_heap);
    return;
  }
  hak_ledger *ledger = &learning->ledger;
  const hak_learned_block *old = &learning->block[object];
  hak_mould before, now;
  cast_of(learning, &before, old);
  if (old->on_heap) ledger->heap_acted_bytes -= hak_heap_chunk_bytes(old->size_bytes);
  cast_of(learning, &now, keep(learning, object, size_bytes, 0, site, touched, on_heap));
  const int arm = learning->by_candidate ? learning->lifecycle.candidate : learning->arm;
  const int64_t before_ns = ledger->arm[arm].cpu_ns;
  hak_ledger_reallocate(ledger, &before, &now, site_slot(site));
  hak_lifecycle_add(&learning->lifecycle, size_bytes, ledger->arm[arm].cpu_ns - before_ns, learning->by_candidate);
  if (on_heap) ledger->heap_acted_bytes += hak_heap_chunk_bytes(size_bytes);
}

hak_learning *hak_learning_new(hak_memory *memory, const hak_config *config, const hak_prices *prices, hak_profile profile,
                               int64_t seed, int touch, const hak_bigcache *cache, hak_heap *heap, hak_digest *digest) {
  if (!hak_strategy_learns(config)) return NULL;
  hak_learning *learning = hak_memory_grow(memory, NULL, 0, sizeof *learning);
  learning->config = config;
  learning->memory = memory;
  learning->digest = digest;
  learning->touch = touch;
  learning->by_sites = hak_strategy_learns_sites(config);
  learning->floor_bytes = hak_strategy_floor(config);
  learning->canary_seed = hak_mix32((uint32_t)seed);
  learning->canary_below = (config->canary_permille << 32) / 1000;
  hak_ledger_init(&learning->ledger, memory, config, prices, cache, heap, profile.thp_kernel != HAK_THP_KERNEL_NEVER);
  hak_learner_init(&learning->learner, config, &learning->ledger, seed);
  hak_lifecycle_init(&learning->lifecycle, config, learning->ledger.arms);
  hak_ledger_begin(&learning->ledger, 0, 0, learning->ledger.arms);
  learning->sample = sample;
  learning->arm = learning->learner.method->choose(&learning->learner);
  grow(learning, 1024);
  return learning;
}
