/* The mapped blocks: each is in exactly one home. Mirrors sim/decide/blocks.ts. */
#include "hak.h"

void hak_blocks_init(hak_blocks *blocks, hak_memory *memory) {
  *blocks = (hak_blocks){.memory = memory, .room = 64};
  blocks->block = hak_memory_grow(memory, NULL, 0, sizeof(hak_block) * (size_t)blocks->room);
  blocks->unused = hak_memory_grow(memory, NULL, 0, sizeof(int32_t) * (size_t)blocks->room);
}

int32_t hak_blocks_create(hak_blocks *blocks, int64_t start, int64_t pages) {
  int32_t block;
  if (blocks->unused_count > 0) {
    blocks->unused_count -= 1;
    block = blocks->unused[blocks->unused_count];
  } else {
    if (blocks->count == blocks->room) {
      const size_t rows = (size_t)blocks->room;
      blocks->block = hak_memory_grow(blocks->memory, blocks->block, sizeof(hak_block) * rows, sizeof(hak_block) * rows * 2);
      blocks->unused = hak_memory_grow(blocks->memory, blocks->unused, sizeof(int32_t) * rows, sizeof(int32_t) * rows * 2);
      blocks->room *= 2;
    }
    block = (int32_t)blocks->count;
    blocks->count += 1;
  }
  hak_assert(blocks->block[block].home == HAK_HOME_UNMAPPED);
  blocks->block[block] = (hak_block){
      .start = start,
      .pages = pages,
      .newer = HAK_NO_BLOCK,
      .older = HAK_NO_BLOCK,
      .kept_before = HAK_NO_BLOCK,
      .kept_after = HAK_NO_BLOCK,
      .size_class = HAK_NO_CLASS,
      .mapped = 1,
      .clean = 1,
  };
  return block;
}

void hak_blocks_destroy(hak_blocks *blocks, int32_t block) {
  blocks->block[block].home = HAK_HOME_UNMAPPED;
  blocks->unused[blocks->unused_count] = block;
  blocks->unused_count += 1;
}
