/* Freed blocks that stay mapped, by page count (newest first) and by arrival (oldest first). Mirrors sim/decide/kept.ts. */
#include "hak.h"

/* The list of one page count, or the empty place where it belongs. Lists stay when they run empty. */
static hak_kept_list *list_of(const hak_kept *kept, int64_t pages) {
  uint64_t at = hak_mix32((uint32_t)pages) & (uint64_t)(kept->room - 1);
  while (kept->list[at].pages != 0 && kept->list[at].pages != pages) at = (at + 1) & (uint64_t)(kept->room - 1);
  return &kept->list[at];
}

void hak_kept_init(hak_kept *kept, hak_memory *memory, hak_blocks *blocks) {
  *kept = (hak_kept){.memory = memory, .blocks = blocks, .oldest = HAK_NO_BLOCK, .newest = HAK_NO_BLOCK, .room = 256};
  kept->list = hak_memory_grow(memory, NULL, 0, sizeof(hak_kept_list) * (size_t)kept->room);
}

static void widen(hak_kept *kept) {
  const hak_kept_list *lists = kept->list;
  const int64_t room = kept->room;
  kept->room *= 2;
  kept->list = hak_memory_grow(kept->memory, NULL, 0, sizeof(hak_kept_list) * (size_t)kept->room);
  for (int64_t at = 0; at < room; at += 1)
    if (lists[at].pages != 0) *list_of(kept, lists[at].pages) = lists[at];
}

void hak_kept_offer(hak_kept *kept, int32_t block) {
  hak_block *blocks = kept->blocks->block;
  if (kept->lists * 2 >= kept->room) widen(kept);
  hak_kept_list *list = list_of(kept, blocks[block].pages);
  if (list->pages == 0) {
    *list = (hak_kept_list){blocks[block].pages, HAK_NO_BLOCK};
    kept->lists += 1;
  }
  blocks[block].older = list->newest;
  blocks[block].newer = HAK_NO_BLOCK;
  if (list->newest != HAK_NO_BLOCK) blocks[list->newest].newer = block;
  list->newest = block;
}

int32_t hak_kept_find(const hak_kept *kept, int64_t pages) {
  const hak_kept_list *list = list_of(kept, pages);
  return list->pages == 0 ? HAK_NO_BLOCK : list->newest;
}

void hak_kept_withdraw_offer(hak_kept *kept, int32_t block) {
  hak_block *blocks = kept->blocks->block;
  const int32_t older = blocks[block].older;
  const int32_t newer = blocks[block].newer;
  if (older != HAK_NO_BLOCK) blocks[older].newer = newer;
  if (newer != HAK_NO_BLOCK)
    blocks[newer].older = older;
  else
    list_of(kept, blocks[block].pages)->newest = older;
}

void hak_kept_add(hak_kept *kept, int32_t block, int64_t mapped_bytes) {
  hak_block *blocks = kept->blocks->block;
  blocks[block].home = HAK_HOME_KEPT;
  blocks[block].kept_before = kept->newest;
  blocks[block].kept_after = HAK_NO_BLOCK;
  if (kept->newest != HAK_NO_BLOCK)
    blocks[kept->newest].kept_after = block;
  else
    kept->oldest = block;
  kept->newest = block;
  kept->bytes += mapped_bytes;
  kept->count += 1;
}

void hak_kept_remove(hak_kept *kept, int32_t block, int64_t mapped_bytes) {
  hak_block *blocks = kept->blocks->block;
  hak_assert(blocks[block].home == HAK_HOME_KEPT);
  const int32_t before = blocks[block].kept_before;
  const int32_t after = blocks[block].kept_after;
  if (before != HAK_NO_BLOCK)
    blocks[before].kept_after = after;
  else
    kept->oldest = after;
  if (after != HAK_NO_BLOCK)
    blocks[after].kept_before = before;
  else
    kept->newest = before;
  kept->bytes -= mapped_bytes;
  kept->count -= 1;
}
