/* The core's one internal header, grouped by file. The mirror of each .c is the .ts of the same name in sim/. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "spec.gen.h"

#ifndef __cplusplus
_Static_assert(HAK_PAGE_BYTES == 4096 && HAK_WINDOW_PAGES == 512, "window shifts assume 4 KiB pages");
#endif


/* assert: our own mistakes, on in every build. Never allocates. */
void hak_assert_failed(const char *claim, const char *file, int line) __attribute__((noreturn));
#define hak_assert(holds) ((holds) ? (void)0 : hak_assert_failed(#holds, __FILE__, __LINE__))

/* memory.c: growing arrays out of one reserved stretch of address space, so that nothing is ever mapped into the region. */
typedef struct {
  char *base;
  size_t used_bytes;
  size_t committed_bytes;
  size_t reserved_bytes;
  /* Faults of the core's own memory, which are neither the mapped path's nor the heap's. */
  int64_t faults;
} hak_memory;

bool hak_memory_open(hak_memory *memory);
void hak_memory_close(hak_memory *memory);
/* Room for `new_bytes`, zeroed beyond the `old_bytes` copied from `old`. Aborts when 64 GiB do not suffice. */
void *hak_memory_grow(hak_memory *memory, const void *old, size_t old_bytes, size_t new_bytes);

/* config */
typedef struct {
#define X(name, value, min, max, words) int64_t name;
  HAK_PARAMS(X)
#undef X
} hak_config;

typedef struct {
#define X(name, value) int64_t name;
  HAK_PRICES(X)
#undef X
} hak_prices;

typedef struct {
  int thp_kernel;
  bool pt_reclaim;
  int huge_zero_write;
  bool read_maps_zero;
  bool split_maps_zero;
  bool process_madvise;
} hak_profile;

/* digest.c */
typedef struct {
  uint32_t low, high;
  uint32_t sum_low, sum_high;
} hak_digest;
void hak_digest_init(hak_digest *digest);
void hak_digest_mix(hak_digest *digest, uint32_t word);
/* Two words as one: a change of either alone changes it. */
uint32_t hak_digest_pack(int64_t first, uint32_t second);
/* An event that stayed on the heap path, and many of them. */
void hak_digest_add(hak_digest *digest, int64_t event, uint32_t word, int64_t size_bytes);
void hak_digest_add_sums(hak_digest *digest, const hak_digest *sums);
void hak_digest_hex(const hak_digest *digest, char text[17]);
uint32_t hak_mix32(uint32_t value);

/* histogram.c */
typedef struct {
  int64_t total, max;
  int64_t counts[HAK_HISTOGRAM_BUCKETS];
} hak_histogram;
void hak_histogram_add(hak_histogram *histogram, int64_t value);
void hak_histogram_add_many(hak_histogram *histogram, int64_t value, int64_t times);
/* As if everything that `other` was given had been added here. */
void hak_histogram_merge(hak_histogram *histogram, const hak_histogram *other);
void hak_histogram_clear(hak_histogram *histogram);
int64_t hak_histogram_quantile(const hak_histogram *histogram, int64_t permyriad);
int64_t hak_histogram_bucket(int64_t value);
/* Values in buckets above that of `value`. */
int64_t hak_histogram_above(const hak_histogram *histogram, int64_t value);

/* prng.c: Alea. `seed` is ASCII. */
typedef struct {
  double s0, s1, s2, c;
  int64_t draws;
} hak_prng;
void hak_prng_init(hak_prng *prng, const char *seed);
/* In [0, 1), of 32 random bits. */
double hak_prng_next(hak_prng *prng);
/* A whole number in [0, count). */
int64_t hak_prng_below(hak_prng *prng, int64_t count);

/* elo.c: ratings in 2^-16 points, scores in 2^-16. */
int32_t hak_elo_expected16(int32_t own, int32_t other);
/* Moves both ratings by one delta; returns what `a` gained. */
int32_t hak_elo_match(int32_t *ratings, int a, int b, int32_t score16, int32_t k);

/* p2.c */
typedef struct {
  double p;
  double heights[5], positions[5];
  int64_t count, rejected;
} hak_p2;
void hak_p2_init(hak_p2 *p2, double p);
void hak_p2_add(hak_p2 *p2, double value);
void hak_p2_clear(hak_p2 *p2);
/* NaN while there is no value. */
double hak_p2_estimate(const hak_p2 *p2);

/* signature.c */
enum { HAK_NO_TEST = -1 };
typedef struct {
  double counts[HAK_SIGNATURE_CLASSES], bytes[HAK_SIGNATURE_CLASSES];
  double samples, total_bytes;
} hak_signature;
void hak_signature_add(hak_signature *signature, int64_t size_bytes);
void hak_signature_add_all(hak_signature *signature, const hak_signature *other);
void hak_signature_clear(hak_signature *signature);
/* From 0 to 2000, or HAK_NO_TEST where one of the two has too few samples. */
int64_t hak_signature_drift_permille(const hak_signature *reference, const hak_signature *now);

/* touch.c */
int64_t hak_pages_of(int64_t size_bytes);
int64_t hak_touched_pages(int model, int64_t size_bytes, uint32_t touched_pages);

/* kernel: what both kernels answer. All prices in ns; a real kernel has none and answers 0. */
typedef struct {
  int64_t mmap, munmap, mremap, brk, madvise_dontneed, madvise_free, madvise_hugepage, madvise_nohugepage, process_madvise;
} hak_syscalls;
int64_t hak_syscalls_total(const hak_syscalls *syscalls);

typedef struct {
  int64_t start, pages;
} hak_range;

typedef struct {
  int64_t resident_bytes, huge_bytes, areas, heap_resident_bytes;
} hak_residency;

typedef struct hak_kernel hak_kernel;
struct hak_kernel {
  hak_syscalls syscalls;
  int64_t faults, huge_faults;
  /* A kernel that cannot tell huge faults from small ones says so. */
  bool huge_faults_unknown;
  int64_t mapped_pages, mapped_pages_peak;
  /* Set by a kernel that was refused or whose memory is not what was written. */
  int violation;
  char trouble[160];
  int64_t (*map)(hak_kernel *kernel, int64_t start, int64_t pages);
  int64_t (*unmap)(hak_kernel *kernel, int64_t start, int64_t pages);
  int64_t (*advise_huge)(hak_kernel *kernel, int64_t start, int64_t pages);
  int64_t (*advise_no_huge)(hak_kernel *kernel, int64_t start, int64_t pages);
  int64_t (*dontneed)(hak_kernel *kernel, int64_t start, int64_t pages);
  int64_t (*dontneed_vector)(hak_kernel *kernel, const hak_range *ranges, int64_t count);
  int64_t (*free)(hak_kernel *kernel, int64_t start, int64_t pages);
  /* Writes `stamp` to each page; a real kernel checks that each held zero before, where `was_zero`. */
  int64_t (*touch)(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp, bool was_zero);
  int64_t (*read)(hak_kernel *kernel, int64_t start, int64_t pages);
  /* The first `pages` pages of a live block must still hold its stamp. */
  void (*verify)(hak_kernel *kernel, int64_t start, int64_t pages, uint64_t stamp);
  void (*residency)(hak_kernel *kernel, hak_residency *residency);
  /* The heap path: a ledger has nothing to do here, a real kernel calls the C library. */
  void (*heap_allocate)(hak_kernel *kernel, int64_t object, int kind, int64_t size_bytes, int64_t align, int64_t touched);
  void (*heap_reallocate)(hak_kernel *kernel, int64_t object, int64_t size_bytes, int64_t touched);
  void (*heap_free)(hak_kernel *kernel, int64_t object);
};

/* vma.c */
typedef struct {
  int64_t start, end;
  int64_t flag, anon;
} hak_area;
enum { HAK_AREA_PLAIN, HAK_AREA_HUGE, HAK_AREA_NO_HUGE };
typedef struct {
  hak_memory *memory;
  hak_area *area;
  int64_t count, room;
  int64_t next_anon;
} hak_areas;
void hak_areas_init(hak_areas *areas, hak_memory *memory);
int64_t hak_areas_find(const hak_areas *areas, int64_t page);
void hak_areas_map(hak_areas *areas, int64_t start, int64_t end);
void hak_areas_unmap(hak_areas *areas, int64_t start, int64_t end);
void hak_areas_advise(hak_areas *areas, int64_t start, int64_t end, int64_t flag);
void hak_areas_prepare_anon(hak_areas *areas, int64_t at);
bool hak_areas_overlap(const hak_areas *areas, int64_t start, int64_t end);

/* pages.c: the kernel `counted`. */
typedef struct {
  hak_kernel kernel;
  hak_memory *memory;
  hak_profile profile;
  const hak_prices *prices;
  hak_areas areas;
  uint8_t *page;
  uint8_t *window;
  int64_t windows;
  int64_t resident_pages, huge_pages;
} hak_page_model;
void hak_page_model_init(hak_page_model *model, hak_memory *memory, hak_profile profile, const hak_prices *prices);

/* blocks.c */
enum { HAK_HOME_UNMAPPED, HAK_HOME_LIVE, HAK_HOME_CACHE, HAK_HOME_BATCH, HAK_HOME_KEPT };
enum { HAK_NO_BLOCK = -1, HAK_NO_CLASS = 255 };
typedef struct {
  int64_t start, pages;
  int64_t size_bytes;
  int64_t stamped_pages;
  uint64_t stamp;
  uint32_t site;
  int32_t newer, older;
  int32_t kept_before, kept_after;
  uint8_t home, size_class, mapped, clean;
} hak_block;
typedef struct {
  hak_memory *memory;
  hak_block *block;
  int32_t *unused;
  int64_t count, room, unused_count;
} hak_blocks;
void hak_blocks_init(hak_blocks *blocks, hak_memory *memory);
int32_t hak_blocks_create(hak_blocks *blocks, int64_t start, int64_t pages);
void hak_blocks_destroy(hak_blocks *blocks, int32_t block);

/* placement.c */
typedef struct {
  hak_memory *memory;
  hak_range *range;
  int64_t count, room;
} hak_placement;
void hak_placement_init(hak_placement *placement, hak_memory *memory, int64_t region_pages);
int64_t hak_placement_take(hak_placement *placement, int64_t pages, int64_t align_pages);
void hak_placement_give(hak_placement *placement, int64_t start, int64_t pages);
bool hak_placement_is_free(const hak_placement *placement, int64_t start, int64_t pages);

/* thermal.c thp.c strategy.c */
int hak_thermal_class(const hak_config *config, int64_t size_bytes);
bool hak_thp_wants_huge(const hak_config *config, int64_t mapped_bytes);
bool hak_thp_forbids_huge(const hak_config *config);
enum { HAK_FIXED_ARM = 255, HAK_FIRST_STEP_ARM = 32 };
/* The strategy of a configuration that learns nothing. */
int hak_strategy_select(const hak_config *config);
int64_t hak_strategy_threshold(const hak_config *config, int arm);
const int64_t *hak_strategy_thresholds(const hak_config *config);
const int64_t *hak_strategy_steps(void);
bool hak_strategy_learns(const hak_config *config);
bool hak_strategy_learns_sites(const hak_config *config);
/* The lowest size that the configuration may map. */
int64_t hak_strategy_floor(const hak_config *config);

/* heap.c */
typedef struct {
  /* The most that was live since it was settled, and before that. */
  int64_t live_bytes, peak_bytes, settled_bytes;
} hak_heap;
int64_t hak_heap_chunk_bytes(int64_t size_bytes);
void hak_heap_allocate(hak_heap *heap, int64_t size_bytes);
void hak_heap_free(hak_heap *heap, int64_t size_bytes);
/* A stretch of events at once: what they leave live, and the most that was live among them, both relative. */
void hak_heap_fold(hak_heap *heap, int64_t net_bytes, int64_t most_bytes);
/* The most that was live since this was asked last. */
int64_t hak_heap_settle(hak_heap *heap);
int64_t hak_heap_faults(const hak_heap *heap);

/* kept.c */
typedef struct {
  int64_t pages;
  int32_t newest;
} hak_kept_list;
typedef struct {
  hak_memory *memory;
  hak_blocks *blocks;
  int64_t bytes, count;
  int32_t oldest, newest;
  hak_kept_list *list;
  int64_t lists, room;
} hak_kept;
void hak_kept_init(hak_kept *kept, hak_memory *memory, hak_blocks *blocks);
void hak_kept_offer(hak_kept *kept, int32_t block);
int32_t hak_kept_find(const hak_kept *kept, int64_t pages);
void hak_kept_withdraw_offer(hak_kept *kept, int32_t block);
void hak_kept_add(hak_kept *kept, int32_t block, int64_t mapped_bytes);
void hak_kept_remove(hak_kept *kept, int32_t block, int64_t mapped_bytes);

/* bigcache.c */
typedef struct {
  const hak_config *config;
  hak_blocks *blocks;
  int64_t hits, misses, evictions, undersized, blocks_held;
  /* Site slots looked at: in total, and beyond the first in the last lookup or put. */
  int64_t probes, probed;
  int32_t *ring;
  uint8_t *held;
  /* Sites of the slots that are taken, as they came; unused where a hash tells the slot. */
  uint32_t *sites;
  int64_t taken;
} hak_bigcache;
void hak_bigcache_init(hak_bigcache *cache, hak_memory *memory, const hak_config *config, hak_blocks *blocks);
bool hak_bigcache_serves(const hak_bigcache *cache, int64_t size_bytes);
int64_t hak_bigcache_round_up(const hak_bigcache *cache, int64_t size_bytes);
int hak_bigcache_class_of(const hak_bigcache *cache, int64_t pages);
int32_t hak_bigcache_try_get(hak_bigcache *cache, uint32_t site, int64_t size_bytes);
int32_t hak_bigcache_put(hak_bigcache *cache, int32_t block);
/* Takes out the next block that no request of `bytes` or more is served from, or HAK_NO_BLOCK: slot by slot, oldest first. */
int32_t hak_bigcache_drain(hak_bigcache *cache, int64_t bytes);

/* batch.c */
typedef struct {
  const hak_config *config;
  hak_blocks *blocks;
  int64_t added, withdrawn, flushes, bytes_flushed, waiting_bytes, count;
  int32_t waiting[HAK_BATCH_INDEX_MAX];
} hak_batch;
void hak_batch_init(hak_batch *batch, const hak_config *config, hak_blocks *blocks);
void hak_batch_add(hak_batch *batch, int32_t block, int64_t bytes);
void hak_batch_withdraw(hak_batch *batch, int32_t block, int64_t bytes);
bool hak_batch_is_full(const hak_batch *batch);
int64_t hak_batch_ranges(const hak_batch *batch, hak_range ranges[HAK_BATCH_INDEX_MAX]);
int64_t hak_batch_clear(hak_batch *batch, int32_t flushed[HAK_BATCH_INDEX_MAX]);

/* paired.c: differences, window by window. */
typedef struct {
  int64_t count;
  double mean, squares;
} hak_paired;
void hak_paired_add(hak_paired *paired, double value);
double hak_paired_half(const hak_paired *paired);
bool hak_paired_is_positive(const hak_paired *paired);
bool hak_paired_is_within(const hak_paired *paired, double band);
/* True where `hits` of `of` are surely more than the reference's share. */
bool hak_is_more(int64_t hits, int64_t of, int64_t reference_hits, int64_t reference_of, double z_squared);

/* ledger.c: what every strategy would have cost. Of ucb1 the strategies are steps. */
enum { HAK_ARMS_MAX = HAK_STRATEGIES };
typedef struct {
  int64_t size_bytes, pages, touched_pages, ring, bin, faults, fault_ns, resident_pages, lazy_ns, map_ns;
  int mapping_arms, heat;
  bool cached, huge;
} hak_mould;
/* Free blocks at one place, and their resident pages together. */
typedef struct {
  int64_t blocks, resident;
} hak_pool;
typedef struct {
  int64_t cpu_ns, faults, page_events;
  int64_t heap_bytes, heap_peak_pages, resident_pages;
  int64_t waiting_blocks, waiting_pages, kept_pages;
  int hand;
  hak_pool waiting[HAK_LEDGER_BINS], kept[HAK_LEDGER_BINS];
  int64_t dry[HAK_LEDGER_BINS];
  hak_pool *cached;
} hak_ledger_arm;
typedef struct {
  const hak_config *config;
  const hak_prices *prices;
  const hak_bigcache *cache;
  hak_heap *heap;
  const int64_t *thresholds_bytes;
  int arms, from, to;
  bool huge_works, by_site;
  int64_t baseline_ns, baseline_pages, baseline_events, live_bytes, peak_bytes;
  int64_t last_event;
  uint32_t last_site;
  int64_t heap_acted_bytes;
  int64_t rings;
  hak_ledger_arm arm[HAK_ARMS_MAX];
  int64_t bin_pages[HAK_LEDGER_BINS];
  bool bin_huge[HAK_LEDGER_BINS];
  int64_t site_ns[HAK_UCB1_SITES][HAK_UCB1_STEPS];
  int64_t site_baseline_ns[HAK_UCB1_SITES];
} hak_ledger;
void hak_ledger_init(hak_ledger *ledger, hak_memory *memory, const hak_config *config, const hak_prices *prices,
                     const hak_bigcache *cache, hak_heap *heap, bool huge_works);
void hak_ledger_begin(hak_ledger *ledger, int64_t event, int from, int to);
void hak_ledger_add(hak_ledger *ledger, const hak_mould *mould, bool on_heap);
void hak_ledger_advance(hak_ledger *ledger, int64_t event);
void hak_ledger_allocate(hak_ledger *ledger, const hak_mould *mould, uint32_t site);
void hak_ledger_free(hak_ledger *ledger, const hak_mould *mould, uint32_t site);
void hak_ledger_reallocate(hak_ledger *ledger, const hak_mould *before, const hak_mould *after, uint32_t site);
int64_t hak_ledger_cost(const hak_ledger *ledger, int arm);
void hak_ledger_clear_window(hak_ledger *ledger);
void hak_ledger_cast(const hak_ledger *ledger, hak_mould *mould, int64_t size_bytes, int64_t align, int64_t ring_slot,
                     int64_t touched);

/* arms.c */
int hak_means_add(hak_paired *means, int arms, const int64_t *costs);
int hak_means_best(const hak_paired *means, int arms);

/* learner.c tournament.c epsilon.c halving.c ucb1.c */
typedef struct {
  int64_t matches, explorations, rating_writes, draws;
} hak_figures;
typedef struct hak_learner hak_learner;
typedef struct {
  void (*learn)(hak_learner *learner, int acted, const int64_t *costs);
  int (*choose)(hak_learner *learner);
  int (*best)(const hak_learner *learner);
  void (*reset)(hak_learner *learner);
  bool (*is_active)(const hak_learner *learner, int arm);
} hak_method;
struct hak_learner {
  const hak_method *method;
  const hak_config *config;
  int arms;
  hak_figures figures;
  hak_prng explore, opponent;
  hak_paired means[HAK_ARMS_MAX];
  /* tournament.c */
  int32_t ratings[HAK_ARMS_MAX];
  int64_t acted[HAK_ARMS_MAX], games[HAK_ARMS_MAX], last[HAK_ARMS_MAX];
  /* tournament.c halving.c */
  bool active[HAK_ARMS_MAX];
  int64_t windows;
  /* ucb1.c */
  const hak_ledger *ledger;
  int step[HAK_UCB1_SITES], wanted[HAK_UCB1_SITES];
  int64_t streak[HAK_UCB1_SITES], rest[HAK_UCB1_SITES];
  double plays[HAK_UCB1_SITES][HAK_UCB1_STEPS], rewards[HAK_UCB1_SITES][HAK_UCB1_STEPS];
};
extern const hak_method hak_tournament, hak_epsilon, hak_halving, hak_ucb1;
void hak_learner_init(hak_learner *learner, const hak_config *config, const hak_ledger *ledger, int64_t seed);
bool hak_learner_all_active(const hak_learner *learner, int arm);
double hak_natural_log(double count);

/* lifecycle.c */
enum { HAK_CHANGE_NONE, HAK_CHANGE_FREEZE, HAK_CHANGE_CANARY, HAK_CHANGE_PROMOTE, HAK_CHANGE_ROLLBACK, HAK_CHANGE_RELEARN };
typedef struct {
  bool by_p2;
  int64_t count;
  hak_histogram histogram;
  hak_p2 p2;
} hak_quantiles;
typedef struct {
  const hak_config *config;
  int arms;
  int state, confirmed, candidate;
  int64_t p99_ns, freezes, canaries, promotions, rollbacks, relearns;
  hak_quantiles prices, canary_prices;
  hak_histogram calm;
  hak_signature reference, now, window;
  hak_paired others[HAK_ARMS_MAX], trial;
  int leader;
  int64_t windows, stable, streak, calming;
  double leader_cost, observed[HAK_ARMS_MAX], observed_cost;
  int64_t p99_before, p99_frozen, slow_bucket, slow_reference, calm_samples, slow, samples;
  int64_t canary_slow, canary_samples, control_slow, control_samples;
} hak_lifecycle;
void hak_lifecycle_init(hak_lifecycle *cycle, const hak_config *config, int arms);
void hak_lifecycle_add(hak_lifecycle *cycle, int64_t size_bytes, int64_t price_ns, bool by_candidate);
int hak_lifecycle_close(hak_lifecycle *cycle, const int64_t *costs, const hak_learner *learner, int64_t cost);

/* learning.c */
typedef struct {
  int64_t size_bytes, touched_pages;
  uint32_t site, align;
  bool on_heap;
} hak_learned_block;
typedef struct hak_learning hak_learning;
struct hak_learning {
  const hak_config *config;
  hak_memory *memory;
  hak_digest *digest;
  int64_t floor_bytes;
  hak_learner learner;
  hak_lifecycle lifecycle;
  hak_ledger ledger;
  int64_t windows, samples, window_from, baseline_from_ns;
  int arm;
  bool by_sites, by_candidate;
  uint32_t canary_seed;
  int64_t canary_below;
  int touch;
  hak_learned_block *block;
  int64_t objects;
  int64_t costs[HAK_ARMS_MAX];
  /* The way of a sample: another one in each state, and none of learning in FROZEN. */
  int (*sample)(hak_learning *learning, int64_t event, uint32_t site);
};
/* NULL where the configuration learns nothing. */
hak_learning *hak_learning_new(hak_memory *memory, const hak_config *config, const hak_prices *prices, hak_profile profile,
                               int64_t seed, int touch, const hak_bigcache *cache, hak_heap *heap, hak_digest *digest);
int hak_learning_decide(hak_learning *learning, int64_t event, uint32_t site);
void hak_learning_allocated(hak_learning *learning, int64_t object, int64_t size_bytes, int64_t align, uint32_t site,
                            uint32_t touched, bool on_heap);
void hak_learning_freed(hak_learning *learning, int64_t event, int64_t object);
void hak_learning_reallocated(hak_learning *learning, int64_t object, int64_t size_bytes, uint32_t site, uint32_t touched,
                              bool on_heap);

/* allocator.c */
enum { HAK_ACTIONS_LOGGED_MAX = 4096 };
typedef struct {
  int kind;
  int64_t start, pages;
} hak_action;
typedef struct {
  const hak_config *config;
  const hak_prices *prices;
  hak_kernel *kernel;
  hak_memory *memory;
  int touch;
  /* Leaves the policy's own assertions out, so that only the kernel can catch it. */
  bool trusting;
  hak_blocks blocks;
  hak_placement placement;
  hak_bigcache cache;
  hak_batch batch;
  hak_kept kept;
  hak_heap heap;
  hak_digest digest;
  int64_t thermal_frees[3];
  int64_t kept_reused;
  int64_t allocate_ns, free_ns, fault_ns;
  int violation;
  int route, released, arm;
  /* NULL where nothing is learned. */
  hak_learning *learning;
  int64_t learns_from_bytes;
  /* Where arms begin in the digest and the log. */
  int first_arm;
  /* The threshold up to which free blocks may be of use. */
  int64_t released_below_bytes;
  /* The arm that the digest was told of last. */
  int digested_arm;
  int64_t event;
  int64_t usable_bytes, offset_pages;
  int64_t header_pages;
  int32_t *block_of;
  int64_t *size_of;
  int64_t objects;
  uint32_t acted;
  uint64_t next_stamp;
  bool recording;
  int64_t recorded;
  hak_action *record;
} hak_allocator;
void hak_allocator_init(hak_allocator *allocator, hak_memory *memory, const hak_config *config, const hak_prices *prices,
                        hak_kernel *kernel, int touch, hak_profile profile, int64_t seed);
int64_t hak_allocator_threshold(const hak_allocator *allocator);
int64_t hak_allocator_run(hak_allocator *allocator, int64_t event, int kind, int64_t object, int64_t size_bytes,
                          int64_t align, uint32_t site, uint32_t touched);
/* Asks the strategy, as of `event`; the digest is told when the arm changes. */
void hak_allocator_select(hak_allocator *allocator, int64_t event);
/* A live object of the heap path, of which only the ledger was told. */
void hak_allocator_adopt(hak_allocator *allocator, int64_t object, int64_t size_bytes);
void hak_allocator_finish(hak_allocator *allocator);

/* replay.c */
typedef struct {
  int64_t length;
  const uint8_t *op;
  const uint32_t *thread;
  const uint32_t *object;
  const double *size_bytes;
  const uint32_t *align;
  const uint32_t *site;
  const uint32_t *touched_pages;
} hak_chunk;
typedef struct {
  int64_t events;
  hak_digest digest;
  int64_t faults, huge_faults, mapped_bytes, syscalls;
  hak_residency residency;
} hak_checkpoint;
typedef struct {
  int64_t event, size_bytes, object, usable_bytes, offset_bytes;
  int64_t faults, huge_faults;
  int64_t cached_blocks, batch_blocks, batch_bytes, kept_blocks, kept_bytes;
  int64_t threshold_bytes;
  int64_t first_action, actions;
  hak_residency residency;
  hak_digest digest;
  uint32_t site;
  int op, arm, route, released;
} hak_log_entry;
typedef struct {
  hak_memory memory;
  hak_config config;
  hak_prices prices;
  int64_t seed;
  hak_page_model model;
  hak_kernel *kernel;
  hak_allocator allocator;
  hak_histogram latency;
  int64_t events, until_checkpoint;
  bool stopped;
  /* Counts checkpoints without keeping each. */
  bool terse;
  int64_t checkpoints;
  int64_t resident_sum_bytes, resident_peak_bytes, areas_peak;
  hak_residency last;
  hak_checkpoint *checkpoint;
  int64_t checkpoints_kept, checkpoint_room;
  int64_t log_from, log_to;
  hak_log_entry *log;
  int64_t logged, log_room;
  hak_action *log_action;
  int64_t log_actions, log_action_room;
  /* Looked at between events; another thread may set it. */
  volatile bool *cancel;
} hak_replay;
void hak_replay_checkpoint(hak_replay *replay);
/* `real` is the kernel to use, or NULL for the page model. `memory` must be open. */
void hak_replay_init(hak_replay *replay, int touch, hak_profile profile, hak_kernel *real);
void hak_replay_feed(hak_replay *replay, const hak_chunk *chunk);
void hak_replay_finish(hak_replay *replay);

/* fold.c: events below every threshold, added up. */
typedef struct {
  /* Heap bytes that a stretch of folded events leaves live, and the most that were live in it; both relative. */
  int64_t net_bytes, most_bytes;
  /* From the start of the trace; of the digest, the sums alone. */
  int64_t allocations, frees;
  hak_digest sums;
} hak_stretch;
/* An event that is left, and the stretch before it. */
typedef struct {
  hak_stretch stretch;
  int64_t event, size_bytes;
  /* Of an object that was folded until this realloc; -1 elsewhere. */
  int64_t before_bytes;
  uint32_t object, align, site, touched_pages;
  int op;
} hak_row;
typedef struct {
  hak_memory memory;
  int64_t floor_bytes;
  int64_t events;
  /* Of the chunk added last. */
  hak_row *row;
  int64_t rows, room;
  /* Since the last row. */
  hak_stretch stretch;
  int64_t *size_of;
  uint8_t *left;
  int64_t objects;
} hak_fold;
/* `memory` must be open. */
void hak_fold_init(hak_fold *fold, int64_t floor_bytes);
void hak_fold_add(hak_fold *fold, const hak_chunk *chunk);

/* planned.c: a replay that is fed folded chunks; hak_replay_init comes first. */
void hak_planned_feed(hak_replay *replay, const hak_fold *fold);
void hak_planned_finish(hak_replay *replay, const hak_fold *fold);

/* json.c: the Result, as the contract words it. `heap` overrides the ledger where a real kernel measured. */
typedef struct {
  bool real;
  int64_t heap_faults, heap_resident_peak_bytes;
  int64_t cpu_ns;
  /* Of a bare kernel alone. */
  int64_t slow_touches;
} hak_measured;
void hak_json_result(FILE *out, const hak_replay *replay, const hak_measured *measured);

/* crc32.c hakfile.c: reading .hak without Node. */
uint32_t hak_crc32(uint32_t before, const uint8_t *bytes, size_t length);
typedef struct {
  const char *path;
  int descriptor;
  hak_memory *memory;
  int64_t length, events, chunks, header_offset;
  uint32_t flags, objects, sites, header_bytes;
  uint8_t *header;
  uint8_t *payload;
  size_t payload_room;
  int64_t next_chunk;
  bool started;
  uint8_t *live, *live_now;
  uint32_t *free_slot;
  int64_t free_slots, high;
  uint32_t *slot_at;
  uint8_t *op;
  uint32_t *thread, *object, *align, *site, *touched;
  double *size_bytes;
  char error[256];
} hak_file;
/* Both return false and leave one line in `error` where the file is not a legal trace. */
bool hak_file_open(hak_file *file, hak_memory *memory, const char *path);
/* *more is false after the last chunk. */
bool hak_file_next(hak_file *file, hak_chunk *chunk, bool *more);
