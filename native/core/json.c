/* The Result, worded as docs/RESULTS.md words it. Mirrors sim/result.ts. */
#include <string.h>

#include "hak.h"

static const char *const route_names[] = HAK_ROUTE_NAMES;
static const char *const action_names[] = HAK_ACTION_NAMES;
static const char *const violation_names[] = HAK_VIOLATION_NAMES;
static const char *const state_names[] = HAK_LIFECYCLE_STATE_NAMES;
static const char *const op_names[] = {"malloc", "calloc", "aligned", "realloc", "free"};

static void put(FILE *out, const char *name, int64_t value) { fprintf(out, "\"%s\":%lld,", name, (long long)value); }
static void put_last(FILE *out, const char *name, int64_t value) { fprintf(out, "\"%s\":%lld", name, (long long)value); }
static void open_object(FILE *out, const char *name) { fprintf(out, "\"%s\":{", name); }

static void put_huge_faults(FILE *out, const hak_replay *replay, int64_t huge_faults) {
  if (replay->kernel->huge_faults_unknown)
    fputs("\"huge_faults\":null,", out);
  else
    put(out, "huge_faults", huge_faults);
}

static void put_syscalls(FILE *out, const hak_syscalls *syscalls) {
  open_object(out, "syscalls");
  put(out, "mmap", syscalls->mmap);
  put(out, "munmap", syscalls->munmap);
  put(out, "mremap", syscalls->mremap);
  put(out, "brk", syscalls->brk);
  put(out, "madvise_dontneed", syscalls->madvise_dontneed);
  put(out, "madvise_free", syscalls->madvise_free);
  put(out, "madvise_hugepage", syscalls->madvise_hugepage);
  put(out, "madvise_nohugepage", syscalls->madvise_nohugepage);
  put_last(out, "process_madvise", syscalls->process_madvise);
  fputs("},", out);
}

static void put_digest(FILE *out, const char *name, const hak_digest *digest) {
  char text[17];
  hak_digest_hex(digest, text);
  fprintf(out, "\"%s\":\"%s\",", name, text);
}

static void put_checkpoint(FILE *out, const hak_replay *replay, const hak_checkpoint *checkpoint) {
  fputs("{", out);
  put(out, "events", checkpoint->events);
  put_digest(out, "digest", &checkpoint->digest);
  put(out, "faults", checkpoint->faults);
  put_huge_faults(out, replay, checkpoint->huge_faults);
  put(out, "resident_bytes", checkpoint->residency.resident_bytes);
  put(out, "huge_bytes", checkpoint->residency.huge_bytes);
  put(out, "areas", checkpoint->residency.areas);
  put(out, "mapped_bytes", checkpoint->mapped_bytes);
  put_last(out, "syscalls", checkpoint->syscalls);
  fputs("}", out);
}

static void put_log_entry(FILE *out, const hak_replay *replay, const hak_log_entry *entry) {
  fputs("{", out);
  put(out, "event", entry->event);
  fprintf(out, "\"op\":\"%s\",", op_names[entry->op]);
  put(out, "object", entry->object);
  put(out, "size_bytes", entry->size_bytes);
  put(out, "site", entry->site);
  put(out, "arm", entry->arm);
  put(out, "threshold_bytes", entry->threshold_bytes);
  fprintf(out, "\"route\":\"%s\",\"released\":\"%s\",", route_names[entry->route], route_names[entry->released]);
  put(out, "usable_bytes", entry->usable_bytes);
  put(out, "offset_bytes", entry->offset_bytes);
  fputs("\"actions\":[", out);
  for (int64_t at = 0; at < entry->actions; at += 1) {
    const hak_action *action = &replay->log_action[entry->first_action + at];
    fprintf(out, "%s{\"name\":\"%s\",\"offset_bytes\":%lld,\"bytes\":%lld}", at > 0 ? "," : "",
            action_names[action->kind], (long long)(action->start * HAK_PAGE_BYTES),
            (long long)(action->pages * HAK_PAGE_BYTES));
  }
  fputs("],", out);
  open_object(out, "state");
  put_digest(out, "digest", &entry->digest);
  put(out, "faults", entry->faults);
  put_huge_faults(out, replay, entry->huge_faults);
  put(out, "resident_bytes", entry->residency.resident_bytes);
  put(out, "areas", entry->residency.areas);
  put(out, "cached_blocks", entry->cached_blocks);
  put(out, "batch_blocks", entry->batch_blocks);
  put(out, "batch_bytes", entry->batch_bytes);
  put(out, "kept_blocks", entry->kept_blocks);
  put_last(out, "kept_bytes", entry->kept_bytes);
  fputs("}}", out);
}

static void put_modelled_time(FILE *out, const hak_replay *replay) {
  const hak_allocator *allocator = &replay->allocator;
  const int64_t fault_ns = allocator->fault_ns + hak_heap_faults(&allocator->heap) * replay->prices.fault_ns;
  open_object(out, "time_ns");
  put(out, "total", allocator->allocate_ns + allocator->free_ns + fault_ns);
  put(out, "allocate", allocator->allocate_ns);
  put(out, "free", allocator->free_ns);
  put(out, "fault", fault_ns);
  put_last(out, "wait", 0);
  fputs("},", out);
  open_object(out, "latency_ns");
  put(out, "p50", hak_histogram_quantile(&replay->latency, 5000));
  put(out, "p95", hak_histogram_quantile(&replay->latency, 9500));
  put(out, "p99", hak_histogram_quantile(&replay->latency, 9900));
  put(out, "p999", hak_histogram_quantile(&replay->latency, 9990));
  put_last(out, "max", replay->latency.max);
  fputs("},", out);
}

static void put_learning(FILE *out, const hak_replay *replay) {
  static const hak_figures none = {0};
  enum { lifecycle_frozen = 2 };
  const hak_learning *learning = replay->allocator.learning;
  const hak_lifecycle *cycle = learning == NULL ? NULL : &learning->lifecycle;
  const hak_figures *figures = learning == NULL ? &none : &learning->learner.figures;
  const int fixed = replay->config.lifecycle == lifecycle_frozen ? HAK_LIFECYCLE_STATE_FROZEN : HAK_LIFECYCLE_STATE_OFF;
  open_object(out, "learning");
  fprintf(out, "\"state\":\"%s\",\"ratings\":[", state_names[cycle == NULL ? fixed : cycle->state]);
  const bool rated = learning != NULL && learning->learner.method == &hak_tournament;
  for (int arm = 0; arm < HAK_STRATEGIES; arm += 1)
    fprintf(out, "%s%.17g", arm > 0 ? "," : "",
            rated ? (double)learning->learner.ratings[arm] / HAK_ELO_UNIT : (double)HAK_ELO_START);
  fputs("],", out);
  put(out, "matches", figures->matches);
  put(out, "explorations", figures->explorations);
  put(out, "windows", learning == NULL ? 0 : learning->windows);
  if (learning == NULL || learning->windows == 0)
    fputs("\"p99_ns\":null,", out);
  else
    put(out, "p99_ns", cycle->p99_ns);
  put(out, "arm", learning == NULL ? hak_strategy_select(&replay->config) : learning->arm);
  put(out, "rating_writes", figures->rating_writes);
  put(out, "draws", figures->draws);
  put(out, "freezes", cycle == NULL ? 0 : cycle->freezes);
  put(out, "canaries", cycle == NULL ? 0 : cycle->canaries);
  put(out, "promotions", cycle == NULL ? 0 : cycle->promotions);
  put(out, "rollbacks", cycle == NULL ? 0 : cycle->rollbacks);
  put_last(out, "relearns", cycle == NULL ? 0 : cycle->relearns);
  fputs("},", out);
}

void hak_json_result(FILE *out, const hak_replay *replay, const hak_measured *measured) {
  const hak_allocator *allocator = &replay->allocator;
  const hak_kernel *kernel = replay->kernel;
  fputs("{", out);
  put(out, "events", replay->events);
  put_digest(out, "decision_digest", &allocator->digest);
  put_syscalls(out, &kernel->syscalls);
  put(out, "faults", kernel->faults);
  put_huge_faults(out, replay, kernel->huge_faults);
  fprintf(out, "\"resident_bytes\":{\"mean\":%.17g,", (double)replay->resident_sum_bytes / (double)replay->checkpoints);
  put(out, "peak", replay->resident_peak_bytes);
  put_last(out, "end", replay->last.resident_bytes);
  fputs("},", out);
  open_object(out, "mapped_bytes");
  put(out, "peak", kernel->mapped_pages_peak * HAK_PAGE_BYTES);
  put_last(out, "end", kernel->mapped_pages * HAK_PAGE_BYTES);
  fputs("},", out);
  open_object(out, "areas");
  put(out, "peak", replay->areas_peak);
  put_last(out, "end", replay->last.areas);
  fputs("},", out);
  open_object(out, "heap");
  put(out, "faults", measured->real ? measured->heap_faults : hak_heap_faults(&allocator->heap));
  put_last(out, "resident_peak_bytes",
           measured->real ? measured->heap_resident_peak_bytes : hak_heap_faults(&allocator->heap) * HAK_PAGE_BYTES);
  fputs("},", out);
  open_object(out, "bigcache");
  put(out, "hits", allocator->cache.hits);
  put(out, "misses", allocator->cache.misses);
  put(out, "evictions", allocator->cache.evictions);
  put(out, "undersized", allocator->cache.undersized);
  put_last(out, "probes", allocator->cache.probes);
  fputs("},", out);
  open_object(out, "batch");
  put(out, "added", allocator->batch.added);
  put(out, "withdrawn", allocator->batch.withdrawn);
  put(out, "flushes", allocator->batch.flushes);
  put(out, "bytes_flushed", allocator->batch.bytes_flushed);
  put_last(out, "pending", allocator->batch.count);
  fputs("},", out);
  open_object(out, "thermal");
  put(out, "hot", allocator->thermal_frees[HAK_THERMAL_HOT]);
  put(out, "warm", allocator->thermal_frees[HAK_THERMAL_WARM]);
  put_last(out, "cold", allocator->thermal_frees[HAK_THERMAL_COLD]);
  fputs("},", out);
  open_object(out, "kept");
  put(out, "blocks", allocator->kept.count);
  put(out, "bytes", allocator->kept.bytes);
  put_last(out, "reused", allocator->kept_reused);
  fputs("},", out);
  put_learning(out, replay);
  if (measured->real)
    fprintf(out,
            "\"time_ns\":{\"total\":%lld,\"allocate\":null,\"free\":null,\"fault\":null,\"wait\":null},"
            "\"latency_ns\":{\"p50\":null,\"p95\":null,\"p99\":null,\"p999\":null,\"max\":null},",
            (long long)measured->cpu_ns);
  else
    put_modelled_time(out, replay);
  if (allocator->violation == HAK_VIOLATION_NONE)
    fputs("\"violation\":null,", out);
  else
    fprintf(out, "\"violation\":{\"event\":%lld,\"rule\":\"%s\"},", (long long)(replay->events - 1),
            violation_names[allocator->violation]);
  fputs("\"checkpoints\":[", out);
  for (int64_t at = 0; at < replay->checkpoints_kept; at += 1) {
    if (at > 0) fputs(",", out);
    put_checkpoint(out, replay, &replay->checkpoint[at]);
  }
  fputs("],\"log\":[", out);
  for (int64_t at = 0; at < replay->logged; at += 1) {
    if (at > 0) fputs(",", out);
    put_log_entry(out, replay, &replay->log[at]);
  }
  fputs("]}", out);
}
