/* The loop: chunks of a trace, a configuration, a kernel -> what it came to. Mirrors sim/replay.ts. */
#include <string.h>

#include "hak.h"

void hak_replay_checkpoint(hak_replay *replay) {
  hak_kernel *kernel = replay->kernel;
  hak_residency *now = &replay->last;
  kernel->residency(kernel, now);
  replay->checkpoints += 1;
  replay->resident_sum_bytes += now->resident_bytes;
  if (now->resident_bytes > replay->resident_peak_bytes) replay->resident_peak_bytes = now->resident_bytes;
  if (now->areas > replay->areas_peak) replay->areas_peak = now->areas;
  if (replay->terse) return;
  if (replay->checkpoints_kept == replay->checkpoint_room) {
    const size_t bytes = sizeof(hak_checkpoint) * (size_t)replay->checkpoint_room;
    replay->checkpoint = hak_memory_grow(&replay->memory, replay->checkpoint, bytes, bytes * 2);
    replay->checkpoint_room *= 2;
  }
  replay->checkpoint[replay->checkpoints_kept] = (hak_checkpoint){
      .events = replay->events,
      .digest = replay->allocator.digest,
      .faults = kernel->faults,
      .huge_faults = kernel->huge_faults,
      .mapped_bytes = kernel->mapped_pages * HAK_PAGE_BYTES,
      .syscalls = hak_syscalls_total(&kernel->syscalls),
      .residency = *now,
  };
  replay->checkpoints_kept += 1;
}

static void add_to_log(hak_replay *replay, const hak_chunk *chunk, int64_t row) {
  hak_allocator *allocator = &replay->allocator;
  if (replay->logged == replay->log_room) {
    const size_t bytes = sizeof(hak_log_entry) * (size_t)replay->log_room;
    replay->log = hak_memory_grow(&replay->memory, replay->log, bytes, bytes * 2);
    replay->log_room *= 2;
  }
  while (replay->log_actions + allocator->recorded > replay->log_action_room) {
    const size_t bytes = sizeof(hak_action) * (size_t)replay->log_action_room;
    replay->log_action = hak_memory_grow(&replay->memory, replay->log_action, bytes, bytes * 2);
    replay->log_action_room *= 2;
  }
  memcpy(&replay->log_action[replay->log_actions], allocator->record, sizeof(hak_action) * (size_t)allocator->recorded);
  hak_log_entry *entry = &replay->log[replay->logged];
  *entry = (hak_log_entry){
      .event = replay->events,
      .size_bytes = allocator->size_of[chunk->object[row]],
      .object = chunk->object[row],
      .usable_bytes = allocator->usable_bytes,
      .offset_bytes = allocator->offset_pages * HAK_PAGE_BYTES,
      .faults = replay->kernel->faults,
      .huge_faults = replay->kernel->huge_faults,
      .cached_blocks = allocator->cache.blocks_held,
      .batch_blocks = allocator->batch.count,
      .batch_bytes = allocator->batch.waiting_bytes,
      .kept_blocks = allocator->kept.count,
      .kept_bytes = allocator->kept.bytes,
      .threshold_bytes = hak_allocator_threshold(allocator),
      .first_action = replay->log_actions,
      .actions = allocator->recorded,
      .digest = allocator->digest,
      .site = chunk->site[row],
      .op = chunk->op[row],
      .arm = allocator->arm,
      .route = allocator->route,
      .released = allocator->released,
  };
  replay->kernel->residency(replay->kernel, &entry->residency);
  replay->log_actions += allocator->recorded;
  replay->logged += 1;
}

int64_t hak_syscalls_total(const hak_syscalls *syscalls) {
  return syscalls->mmap + syscalls->munmap + syscalls->mremap + syscalls->brk + syscalls->madvise_dontneed +
         syscalls->madvise_free + syscalls->madvise_hugepage + syscalls->madvise_nohugepage + syscalls->process_madvise;
}

void hak_replay_init(hak_replay *replay, int touch, hak_profile profile, hak_kernel *real) {
  hak_memory *memory = &replay->memory;
  replay->kernel = real;
  if (real == NULL) {
    hak_page_model_init(&replay->model, memory, profile, &replay->prices);
    replay->kernel = &replay->model.kernel;
  }
  hak_allocator_init(&replay->allocator, memory, &replay->config, &replay->prices, replay->kernel, touch, profile,
                     replay->seed);
  replay->until_checkpoint = replay->config.checkpoint_events;
  /* Of many replays side by side, none keeps checkpoints or logs. */
  if (replay->terse) return;
  replay->allocator.record = hak_memory_grow(memory, NULL, 0, sizeof(hak_action) * HAK_ACTIONS_LOGGED_MAX);
  replay->checkpoint_room = 1024;
  replay->checkpoint = hak_memory_grow(memory, NULL, 0, sizeof(hak_checkpoint) * (size_t)replay->checkpoint_room);
  replay->log_room = 256;
  replay->log = hak_memory_grow(memory, NULL, 0, sizeof(hak_log_entry) * (size_t)replay->log_room);
  replay->log_action_room = HAK_ACTIONS_LOGGED_MAX;
  replay->log_action = hak_memory_grow(memory, NULL, 0, sizeof(hak_action) * (size_t)replay->log_action_room);
}

void hak_replay_feed(hak_replay *replay, const hak_chunk *chunk) {
  hak_allocator *allocator = &replay->allocator;
  for (int64_t row = 0; row < chunk->length && !replay->stopped; row += 1) {
    if (replay->cancel != NULL && *replay->cancel) return;
    allocator->recording = replay->events >= replay->log_from && replay->events < replay->log_to;
    allocator->recorded = 0;
    const int64_t price =
        hak_allocator_run(allocator, replay->events, chunk->op[row], chunk->object[row], (int64_t)chunk->size_bytes[row],
                          chunk->align[row], chunk->site[row], chunk->touched_pages[row]);
    hak_histogram_add(&replay->latency, price);
    if (allocator->violation == HAK_VIOLATION_NONE) allocator->violation = replay->kernel->violation;
    if (allocator->recording) add_to_log(replay, chunk, row);
    replay->events += 1;
    if (allocator->violation != HAK_VIOLATION_NONE) {
      replay->stopped = true;
      return;
    }
    replay->until_checkpoint -= 1;
    if (replay->until_checkpoint > 0) continue;
    replay->until_checkpoint = replay->config.checkpoint_events;
    hak_replay_checkpoint(replay);
  }
}

void hak_replay_finish(hak_replay *replay) {
  if (!replay->stopped) {
    hak_allocator_finish(&replay->allocator);
    if (replay->allocator.violation == HAK_VIOLATION_NONE) replay->allocator.violation = replay->kernel->violation;
  }
  hak_replay_checkpoint(replay);
}
