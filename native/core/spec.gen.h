/* Generated from sim/spec.ts by `npm run gen`. Do not edit. */
#pragma once
#include <stdint.h>
#define HAK_SPEC_FINGERPRINT "9dcf52b32a150e6c"

/* X(name, default, min, max, words): units and reasons are in sim/spec.ts. */
#define HAK_PARAMS(X) \
  X(mmap_threshold_bytes, 0, 0, 140737488355328, "") \
  X(strategy_set, 0, 0, 1, "geometric public") \
  X(strategy, 0, 0, 11, "") \
  X(lifecycle, 0, 0, 3, "off learn frozen auto") \
  X(bigcache, 1, 0, 1, "false true") \
  X(bigcache_slots, 64, 1, 4096, "") \
  X(bigcache_ways, 4, 1, 64, "") \
  X(bigcache_site_keyed, 1, 0, 1, "false true") \
  X(bigcache_round, 1, 0, 1, "false true") \
  X(bigcache_from_bytes, 524288, 1, 8388608, "") \
  X(thermal, 1, 0, 1, "false true") \
  X(warm_from_bytes, 1048576, 1, 140737488355328, "") \
  X(cold_from_bytes, 2097152, 1, 140737488355328, "") \
  X(batch, 1, 0, 1, "false true") \
  X(batch_blocks_max, 64, 1, 256, "") \
  X(batch_flush_bytes, 16777216, 1, 140737488355328, "") \
  X(batch_vectored, 0, 0, 1, "false true") \
  X(kept_bytes_max, 67108864, 0, 140737488355328, "") \
  X(thp_policy, 2, 0, 2, "off on auto") \
  X(thp_advice, 1, 0, 1, "false true") \
  X(thp_from_bytes, 2097152, 1, 140737488355328, "") \
  X(checkpoint_events, 4096, 1, 4294967296, "") \
  X(region_bytes, 1099511627776, 4194304, 4398046511104, "") \
  X(legacy_order, 0, 0, 1, "false true") \
  X(legacy_eviction_frees, 0, 0, 1, "false true") \
  X(legacy_undersized, 0, 0, 1, "false true") \
  X(legacy_stale_advice, 0, 0, 1, "false true") \
  X(legacy_header, 0, 0, 1, "false true")

/* X(mode, name, value): what a mode sets; the rest keeps its default. */
#define HAK_MODES(X) \
  X(MINIMAL, bigcache, 0) \
  X(MINIMAL, batch, 0) \
  X(MINIMAL, thermal, 0) \
  X(MINIMAL, thp_policy, 0) \
  X(MINIMAL, thp_advice, 0) \
  X(FAST, thp_policy, 2) \
  X(FAST, lifecycle, 2) \
  X(BALANCED, thp_policy, 2) \
  X(BALANCED, lifecycle, 2) \
  X(LEARNING, thp_policy, 2) \
  X(LEARNING, lifecycle, 1) \
  X(RESEARCH, thp_policy, 1) \
  X(RESEARCH, lifecycle, 1)

/* X(name, nominal): nanoseconds. */
#define HAK_PRICES(X) \
  X(heap_call_ns, 20) \
  X(lookup_ns, 30) \
  X(mmap_ns, 1400) \
  X(munmap_ns, 1600) \
  X(madvise_ns, 1100) \
  X(process_madvise_ns, 1500) \
  X(advise_huge_ns, 1900) \
  X(release_page_ns, 180) \
  X(lazy_free_page_ns, 190) \
  X(release_huge_ns, 6300) \
  X(fault_ns, 1360) \
  X(zero_fault_ns, 820) \
  X(huge_fault_ns, 93000) \
  X(fill_page_ns, 150)

#define HAK_PAGE_BYTES INT64_C(4096)
#define HAK_WINDOW_PAGES INT64_C(512)
#define HAK_STRATEGIES INT64_C(12)
#define HAK_BIGCACHE_CLASSES INT64_C(4)
#define HAK_BIGCACHE_CLASS_BYTES { INT64_C(1048576), INT64_C(2097152), INT64_C(4194304), INT64_C(8388608) }
#define HAK_BIGCACHE_FLOOR_BELOW_BYTES INT64_C(16777216)
#define HAK_STRATEGY_GEOMETRIC_BYTES { INT64_C(524288), INT64_C(765952), INT64_C(1118208), INT64_C(1630208), INT64_C(2379776), INT64_C(3473408), INT64_C(5066752), INT64_C(7393280), INT64_C(10792960), INT64_C(15753216), INT64_C(22990848), INT64_C(33554432) }
#define HAK_STRATEGY_PUBLIC_BYTES { INT64_C(524288), INT64_C(786432), INT64_C(1048576), INT64_C(1572864), INT64_C(2097152), INT64_C(3145728), INT64_C(4194304), INT64_C(6291456), INT64_C(8388608), INT64_C(12582912), INT64_C(16777216), INT64_C(33554432) }
#define HAK_REALLOC_FILL_DIVISOR INT64_C(2)
#define HAK_GUARD_BYTES INT64_C(2097152)
#define HAK_HEAP_HEADER_BYTES INT64_C(8)
#define HAK_HEAP_ALIGN_BYTES INT64_C(16)
#define HAK_HEAP_CHUNK_MIN_BYTES INT64_C(32)
#define HAK_HEAP_TOP_PAD_BYTES INT64_C(67108864)
#define HAK_BATCH_INDEX_MAX INT64_C(256)
#define HAK_VECTORED_RANGES_MAX INT64_C(64)
#define HAK_HISTOGRAM_SUB_BITS INT64_C(5)
#define HAK_HISTOGRAM_BUCKETS INT64_C(1568)
#define HAK_ELO_START INT64_C(1500)
#define HAK_SCORE_CPU 0.4
#define HAK_SCORE_FAULTS 0.3
#define HAK_SCORE_MEMORY 0.3

#define HAK_LIMIT_SIZE_BYTES INT64_C(140737488355328)
#define HAK_LIMIT_CHUNK_EVENTS INT64_C(1048576)
#define HAK_LIMIT_UNKNOWN INT64_C(4294967295)
#define HAK_LIMIT_ALIGN_BYTES INT64_C(2147483648)
#define HAK_LAYOUT_VERSION INT64_C(1)
#define HAK_LAYOUT_PREAMBLE_BYTES INT64_C(64)
#define HAK_LAYOUT_FRAME_BYTES INT64_C(32)
#define HAK_LAYOUT_FLAG_TIME INT64_C(1)
#define HAK_LAYOUT_FLAG_SITES INT64_C(2)
#define HAK_LAYOUT_FLAG_TOUCH INT64_C(4)
#define HAK_LAYOUT_OP_SWITCH_THREAD INT64_C(5)
#define HAK_LAYOUT_HINT_ESCAPE INT64_C(0)
#define HAK_LAYOUT_HINT_SIZE_MAX INT64_C(28)
#define HAK_LAYOUT_HINT_RECENT_FIRST INT64_C(29)
#define HAK_LAYOUT_HINT_DISTANCE_MAX INT64_C(30)
#define HAK_LAYOUT_HINT_SAME_DISTANCE INT64_C(31)
#define HAK_LAYOUT_HINT_THREAD_MAX INT64_C(30)
#define HAK_LAYOUT_HINT_SUCCESSOR INT64_C(31)
#define HAK_LAYOUT_SUCCESSORS INT64_C(256)
#define HAK_LAYOUT_SUCCESSOR_MULTIPLIER INT64_C(2654435761)
#define HAK_LAYOUT_SUCCESSOR_SHIFT INT64_C(24)
#define HAK_LAYOUT_SIZE_UNIT_BYTES INT64_C(8)
#define HAK_OP_MALLOC INT64_C(0)
#define HAK_OP_CALLOC INT64_C(1)
#define HAK_OP_ALIGNED INT64_C(2)
#define HAK_OP_REALLOC INT64_C(3)
#define HAK_OP_FREE INT64_C(4)

enum { HAK_ROUTE_NONE, HAK_ROUTE_HEAP, HAK_ROUTE_CACHE, HAK_ROUTE_BATCH, HAK_ROUTE_KEPT, HAK_ROUTE_MAP, HAK_ROUTE_IN_PLACE, HAK_ROUTE_FREE_HEAP, HAK_ROUTE_FREE_CACHE, HAK_ROUTE_FREE_HOT, HAK_ROUTE_FREE_WARM, HAK_ROUTE_FREE_COLD, HAK_ROUTE_FREE_UNMAP };
#define HAK_ROUTE_NAMES { "none", "heap", "cache", "batch", "kept", "map", "in_place", "free_heap", "free_cache", "free_hot", "free_warm", "free_cold", "free_unmap" }
enum { HAK_ACTION_MAP, HAK_ACTION_UNMAP, HAK_ACTION_HUGEPAGE, HAK_ACTION_NOHUGEPAGE, HAK_ACTION_DONTNEED, HAK_ACTION_FREE, HAK_ACTION_PROCESS_MADVISE, HAK_ACTION_TOUCH, HAK_ACTION_ZERO, HAK_ACTION_READ, HAK_ACTION_EVICT, HAK_ACTION_WITHDRAW };
#define HAK_ACTION_NAMES { "map", "unmap", "hugepage", "nohugepage", "dontneed", "free", "process_madvise", "touch", "zero", "read", "evict", "withdraw" }
enum { HAK_THERMAL_HOT, HAK_THERMAL_WARM, HAK_THERMAL_COLD };
#define HAK_THERMAL_NAMES { "hot", "warm", "cold" }
enum { HAK_TOUCH_NONE, HAK_TOUCH_FIRST, HAK_TOUCH_PAGE, HAK_TOUCH_ALL, HAK_TOUCH_RECORDED };
#define HAK_TOUCH_NAMES { "none", "first", "page", "all", "recorded" }
enum { HAK_THP_KERNEL_NEVER, HAK_THP_KERNEL_MADVISE, HAK_THP_KERNEL_ALWAYS };
#define HAK_THP_KERNEL_NAMES { "never", "madvise", "always" }
enum { HAK_HUGE_ZERO_WRITE_SPLIT, HAK_HUGE_ZERO_WRITE_HUGE };
#define HAK_HUGE_ZERO_WRITE_NAMES { "split", "huge" }
enum { HAK_VIOLATION_NONE, HAK_VIOLATION_UNDERSIZED, HAK_VIOLATION_UNMAPPED_ADVICE, HAK_VIOLATION_LIVE_ADVICE, HAK_VIOLATION_REGION_EXHAUSTED, HAK_VIOLATION_CONTENTS, HAK_VIOLATION_KERNEL };
#define HAK_VIOLATION_NAMES { "none", "undersized", "unmapped_advice", "live_advice", "region_exhausted", "contents", "kernel" }
