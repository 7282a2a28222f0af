/* Cold blocks that wait for one flush. Mirrors sim/decide/batch.ts. */
#include <string.h>

#include "hak.h"

void hak_batch_init(hak_batch *batch, const hak_config *config, hak_blocks *blocks) {
  *batch = (hak_batch){.config = config, .blocks = blocks};
}

void hak_batch_add(hak_batch *batch, int32_t block, int64_t bytes) {
  hak_assert(batch->count < HAK_BATCH_INDEX_MAX);
  batch->blocks->block[block].home = HAK_HOME_BATCH;
  batch->waiting[batch->count] = block;
  batch->count += 1;
  batch->waiting_bytes += bytes;
  batch->added += 1;
}

void hak_batch_withdraw(hak_batch *batch, int32_t block, int64_t bytes) {
  int64_t at = 0;
  while (at < batch->count && batch->waiting[at] != block) at += 1;
  hak_assert(at < batch->count);
  batch->count -= 1;
  memmove(&batch->waiting[at], &batch->waiting[at + 1], sizeof(int32_t) * (size_t)(batch->count - at));
  batch->waiting_bytes -= bytes;
  batch->withdrawn += 1;
}

bool hak_batch_is_full(const hak_batch *batch) {
  return batch->count >= batch->config->batch_blocks_max || batch->waiting_bytes >= batch->config->batch_flush_bytes;
}

int64_t hak_batch_ranges(const hak_batch *batch, hak_range ranges[HAK_BATCH_INDEX_MAX]) {
  /* Insertion sort by address: at most 256 blocks, and no two share an address. */
  for (int64_t at = 0; at < batch->count; at += 1) {
    const hak_block *block = &batch->blocks->block[batch->waiting[at]];
    int64_t to = at;
    while (to > 0 && ranges[to - 1].start > block->start) {
      ranges[to] = ranges[to - 1];
      to -= 1;
    }
    ranges[to] = (hak_range){block->start, block->pages};
  }
  int64_t merged = 0;
  for (int64_t at = 0; at < batch->count; at += 1) {
    if (merged > 0 && ranges[merged - 1].start + ranges[merged - 1].pages == ranges[at].start) {
      ranges[merged - 1].pages += ranges[at].pages;
    } else {
      ranges[merged] = ranges[at];
      merged += 1;
    }
  }
  return merged;
}

int64_t hak_batch_clear(hak_batch *batch, int32_t flushed[HAK_BATCH_INDEX_MAX]) {
  const int64_t count = batch->count;
  memcpy(flushed, batch->waiting, sizeof(int32_t) * (size_t)count);
  batch->flushes += 1;
  batch->bytes_flushed += batch->waiting_bytes;
  batch->waiting_bytes = 0;
  batch->count = 0;
  return count;
}
