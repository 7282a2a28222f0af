/* What no configuration can treat differently, added up: rows of the events that are left, chunk by chunk. Mirrors sim/fold.ts. */
#include <string.h>

#include "hak.h"

static void grow(hak_fold *fold, int64_t objects) {
  const int64_t before = fold->objects;
  int64_t after = before * 2;
  if (after < objects) after = objects;
  fold->size_of = hak_memory_grow(&fold->memory, fold->size_of, sizeof(int64_t) * (size_t)before, sizeof(int64_t) * (size_t)after);
  fold->left = hak_memory_grow(&fold->memory, fold->left, (size_t)before, (size_t)after);
  fold->objects = after;
}

/* Ends the stretch: what it came to stands in the row that follows it. */
static hak_row *next_row(hak_fold *fold) {
  if (fold->rows == fold->room) {
    const size_t bytes = sizeof(hak_row) * (size_t)fold->room;
    fold->row = hak_memory_grow(&fold->memory, fold->row, bytes, bytes * 2);
    fold->room *= 2;
  }
  hak_row *row = &fold->row[fold->rows];
  fold->rows += 1;
  row->stretch = fold->stretch;
  fold->stretch.net_bytes = 0;
  fold->stretch.most_bytes = 0;
  return row;
}

static void keep(hak_fold *fold, const hak_chunk *chunk, int64_t at, int64_t before_bytes) {
  hak_row *row = next_row(fold);
  row->event = fold->events;
  row->op = chunk->op[at];
  row->object = chunk->object[at];
  row->size_bytes = (int64_t)chunk->size_bytes[at];
  row->align = chunk->align[at];
  row->site = chunk->site[at];
  row->touched_pages = chunk->touched_pages[at];
  row->before_bytes = before_bytes;
}

void hak_fold_init(hak_fold *fold, int64_t floor_bytes) {
  fold->floor_bytes = floor_bytes;
  fold->room = 1024;
  fold->row = hak_memory_grow(&fold->memory, NULL, 0, sizeof(hak_row) * (size_t)fold->room);
  hak_digest_init(&fold->stretch.sums);
  grow(fold, 1024);
}

void hak_fold_add(hak_fold *fold, const hak_chunk *chunk) {
  fold->rows = 0;
  for (int64_t at = 0; at < chunk->length; at += 1) {
    const int64_t object = chunk->object[at];
    if (object >= fold->objects) grow(fold, object + 1);
    const bool is_free = chunk->op[at] == HAK_OP_FREE;
    const int64_t size_bytes = is_free ? 0 : (int64_t)chunk->size_bytes[at];
    const int64_t before_bytes = chunk->op[at] == HAK_OP_REALLOC || is_free ? fold->size_of[object] : -1;
    hak_stretch *stretch = &fold->stretch;
    if (fold->left[object] || size_bytes >= fold->floor_bytes) {
      keep(fold, chunk, at, fold->left[object] ? -1 : before_bytes);
      fold->left[object] = !is_free;
    } else {
      if (before_bytes >= 0) stretch->net_bytes -= hak_heap_chunk_bytes(before_bytes);
      if (is_free) {
        stretch->frees += 1;
      } else {
        stretch->net_bytes += hak_heap_chunk_bytes(size_bytes);
        if (stretch->net_bytes > stretch->most_bytes) stretch->most_bytes = stretch->net_bytes;
        stretch->allocations += 1;
      }
      hak_digest_add(&stretch->sums, fold->events, is_free ? HAK_ROUTE_FREE_HEAP << 8 : HAK_ROUTE_HEAP, size_bytes);
    }
    fold->size_of[object] = size_bytes;
    fold->events += 1;
  }
}
