/* Which page ranges are mapped, as the kernel's own areas merge and split. Mirrors sim/kernel/vma.ts. */
#include <string.h>

#include "hak.h"

static bool compatible(int64_t a, int64_t b) { return a == 0 || b == 0 || a == b; }

static int64_t first_set(int64_t a, int64_t b) { return a != 0 ? a : b; }

/* Index of the first area that begins beyond `page`. */
static int64_t after(const hak_areas *areas, int64_t page) {
  int64_t low = 0;
  int64_t high = areas->count;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (areas->area[middle].start <= page)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

static void insert(hak_areas *areas, int64_t at, hak_area area) {
  if (areas->count == areas->room) {
    const size_t bytes = sizeof(hak_area) * (size_t)areas->room;
    areas->area = hak_memory_grow(areas->memory, areas->area, bytes, bytes * 2);
    areas->room *= 2;
  }
  memmove(&areas->area[at + 1], &areas->area[at], sizeof(hak_area) * (size_t)(areas->count - at));
  areas->area[at] = area;
  areas->count += 1;
}

static void drop(hak_areas *areas, int64_t at) {
  areas->count -= 1;
  memmove(&areas->area[at], &areas->area[at + 1], sizeof(hak_area) * (size_t)(areas->count - at));
}

/* Joins area `at` with its right neighbour where both may be one. */
static bool join(hak_areas *areas, int64_t at) {
  if (at < 0 || at + 1 >= areas->count) return false;
  hak_area *left = &areas->area[at];
  const hak_area *right = &areas->area[at + 1];
  if (left->end != right->start || left->flag != right->flag || !compatible(left->anon, right->anon)) return false;
  left->end = right->end;
  left->anon = first_set(left->anon, right->anon);
  drop(areas, at + 1);
  return true;
}

void hak_areas_init(hak_areas *areas, hak_memory *memory) {
  *areas = (hak_areas){.memory = memory, .room = 64, .next_anon = 1};
  areas->area = hak_memory_grow(memory, NULL, 0, sizeof(hak_area) * (size_t)areas->room);
}

int64_t hak_areas_find(const hak_areas *areas, int64_t page) {
  const int64_t at = after(areas, page) - 1;
  return at >= 0 && page < areas->area[at].end ? at : -1;
}

void hak_areas_map(hak_areas *areas, int64_t start, int64_t end) {
  hak_assert(!hak_areas_overlap(areas, start, end));
  const int64_t at = after(areas, start);
  insert(areas, at, (hak_area){start, end, HAK_AREA_PLAIN, 0});
  /* The left neighbour first: where both sides fit but not each other, the kernel merges to the left. */
  if (join(areas, at - 1))
    join(areas, at - 1);
  else
    join(areas, at);
}

void hak_areas_unmap(hak_areas *areas, int64_t start, int64_t end) {
  int64_t at = after(areas, start) - 1;
  if (at < 0 || areas->area[at].end <= start) at += 1;
  while (at < areas->count && areas->area[at].start < end) {
    const hak_area was = areas->area[at];
    drop(areas, at);
    if (was.end > end) insert(areas, at, (hak_area){end, was.end, was.flag, was.anon});
    if (was.start < start) {
      insert(areas, at, (hak_area){was.start, start, was.flag, was.anon});
      at += 1;
    }
    if (was.end > end) return;
  }
}

void hak_areas_advise(hak_areas *areas, int64_t start, int64_t end, int64_t flag) {
  int64_t at = hak_areas_find(areas, start);
  hak_assert(at >= 0 && areas->area[at].end >= end);
  const hak_area was = areas->area[at];
  if (was.flag == flag) return;
  drop(areas, at);
  if (was.end > end) insert(areas, at, (hak_area){end, was.end, was.flag, was.anon});
  insert(areas, at, (hak_area){start, end, flag, was.anon});
  if (was.start < start) {
    insert(areas, at, (hak_area){was.start, start, was.flag, was.anon});
    at += 1;
  }
  if (join(areas, at - 1))
    join(areas, at - 1);
  else
    join(areas, at);
}

void hak_areas_prepare_anon(hak_areas *areas, int64_t at) {
  if (areas->area[at].anon != 0) return;
  areas->area[at].anon = areas->next_anon;
  areas->next_anon += 1;
}

bool hak_areas_overlap(const hak_areas *areas, int64_t start, int64_t end) {
  const int64_t next = after(areas, start);
  if (next > 0 && areas->area[next - 1].end > start) return true;
  return next < areas->count && areas->area[next].start < end;
}
