/* Where blocks lie in the region: first fit by address. Mirrors sim/decide/placement.ts. */
#include <string.h>

#include "hak.h"

static void insert(hak_placement *placement, int64_t at, hak_range range) {
  if (placement->count == placement->room) {
    const size_t bytes = sizeof(hak_range) * (size_t)placement->room;
    placement->range = hak_memory_grow(placement->memory, placement->range, bytes, bytes * 2);
    placement->room *= 2;
  }
  memmove(&placement->range[at + 1], &placement->range[at], sizeof(hak_range) * (size_t)(placement->count - at));
  placement->range[at] = range;
  placement->count += 1;
}

static void drop(hak_placement *placement, int64_t at) {
  placement->count -= 1;
  memmove(&placement->range[at], &placement->range[at + 1], sizeof(hak_range) * (size_t)(placement->count - at));
}

static int64_t end_of(const hak_range *range) { return range->start + range->pages; }

/* Index of the first free stretch that begins beyond `page`. */
static int64_t after(const hak_placement *placement, int64_t page) {
  int64_t low = 0;
  int64_t high = placement->count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (placement->range[middle].start <= page)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

void hak_placement_init(hak_placement *placement, hak_memory *memory, int64_t region_pages) {
  *placement = (hak_placement){.memory = memory, .room = 64};
  placement->range = hak_memory_grow(memory, NULL, 0, sizeof(hak_range) * (size_t)placement->room);
  insert(placement, 0, (hak_range){0, region_pages});
}

int64_t hak_placement_take(hak_placement *placement, int64_t pages, int64_t align_pages) {
  for (int64_t at = 0; at < placement->count; at += 1) {
    const hak_range free_range = placement->range[at];
    const int64_t placed = (free_range.start + align_pages - 1) / align_pages * align_pages;
    const int64_t before = placed - free_range.start;
    const int64_t left = free_range.pages - before - pages;
    if (left < 0) continue;
    drop(placement, at);
    if (left > 0) insert(placement, at, (hak_range){placed + pages, left});
    if (before > 0) insert(placement, at, (hak_range){free_range.start, before});
    return placed;
  }
  return -1;
}

void hak_placement_give(hak_placement *placement, int64_t start, int64_t pages) {
  const int64_t next = after(placement, start);
  hak_assert(next == 0 || end_of(&placement->range[next - 1]) <= start);
  hak_assert(next == placement->count || start + pages <= placement->range[next].start);
  insert(placement, next, (hak_range){start, pages});
  if (next + 1 < placement->count && end_of(&placement->range[next]) == placement->range[next + 1].start) {
    placement->range[next].pages += placement->range[next + 1].pages;
    drop(placement, next + 1);
  }
  if (next > 0 && end_of(&placement->range[next - 1]) == start) {
    placement->range[next - 1].pages += placement->range[next].pages;
    drop(placement, next);
  }
}

bool hak_placement_is_free(const hak_placement *placement, int64_t start, int64_t pages) {
  const int64_t next = after(placement, start);
  return next > 0 && start + pages <= end_of(&placement->range[next - 1]);
}
