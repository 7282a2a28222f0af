/* One configuration over the rows that folding left: what a full replay comes to. Mirrors sim/planned.ts. */
#include "hak.h"

/* The checkpoints up to and at `events`: nothing has changed since the row before. */
static void pass(hak_replay *replay, int64_t events) {
  while (replay->events + replay->until_checkpoint <= events) {
    replay->events += replay->until_checkpoint;
    replay->until_checkpoint = replay->config.checkpoint_events;
    hak_replay_checkpoint(replay);
  }
  replay->until_checkpoint -= events - replay->events;
  replay->events = events;
}

/* What was folded from the start of the trace up to here costs a heap call each. */
static void add_folded(hak_replay *replay, const hak_stretch *stretch) {
  hak_allocator *allocator = &replay->allocator;
  const int64_t call_ns = replay->prices.heap_call_ns;
  allocator->allocate_ns += stretch->allocations * call_ns;
  allocator->free_ns += stretch->frees * call_ns;
  hak_histogram_add_many(&replay->latency, call_ns, stretch->allocations + stretch->frees);
  hak_digest_add_sums(&allocator->digest, &stretch->sums);
}

void hak_planned_feed(hak_replay *replay, const hak_fold *fold) {
  hak_allocator *allocator = &replay->allocator;
  if (allocator->digested_arm < 0 && fold->events > 0) hak_allocator_select(allocator, 0);
  for (int64_t at = 0; at < fold->rows && !replay->stopped; at += 1) {
    const hak_row *row = &fold->row[at];
    pass(replay, row->event);
    hak_heap_fold(&allocator->heap, row->stretch.net_bytes, row->stretch.most_bytes);
    if (row->before_bytes >= 0) hak_allocator_adopt(allocator, row->object, row->before_bytes);
    const int64_t price = hak_allocator_run(allocator, row->event, row->op, row->object, row->size_bytes, row->align,
                                            row->site, row->touched_pages);
    hak_histogram_add(&replay->latency, price);
    if (allocator->violation == HAK_VIOLATION_NONE) allocator->violation = replay->kernel->violation;
    if (allocator->violation != HAK_VIOLATION_NONE) {
      replay->events += 1;
      replay->stopped = true;
      add_folded(replay, &row->stretch);
    }
  }
}

void hak_planned_finish(hak_replay *replay, const hak_fold *fold) {
  if (!replay->stopped) {
    pass(replay, fold->events);
    hak_heap_fold(&replay->allocator.heap, fold->stretch.net_bytes, fold->stretch.most_bytes);
    add_folded(replay, &fold->stretch);
  }
  hak_replay_finish(replay);
}
