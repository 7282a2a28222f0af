/* The heap ledger: what blocks below the threshold cost in a C library that grows by brk alone. Mirrors sim/decide/heap.ts. */
#include "hak.h"

int64_t hak_heap_chunk_bytes(int64_t size_bytes) {
  const int64_t needed = (size_bytes + HAK_HEAP_HEADER_BYTES + HAK_HEAP_ALIGN_BYTES - 1) & ~(HAK_HEAP_ALIGN_BYTES - 1);
  return needed < HAK_HEAP_CHUNK_MIN_BYTES ? HAK_HEAP_CHUNK_MIN_BYTES : needed;
}

void hak_heap_allocate(hak_heap *heap, int64_t size_bytes) {
  heap->live_bytes += hak_heap_chunk_bytes(size_bytes);
  if (heap->live_bytes > heap->peak_bytes) heap->peak_bytes = heap->live_bytes;
}

void hak_heap_free(hak_heap *heap, int64_t size_bytes) { heap->live_bytes -= hak_heap_chunk_bytes(size_bytes); }

void hak_heap_fold(hak_heap *heap, int64_t net_bytes, int64_t most_bytes) {
  if (heap->live_bytes + most_bytes > heap->peak_bytes) heap->peak_bytes = heap->live_bytes + most_bytes;
  heap->live_bytes += net_bytes;
}

int64_t hak_heap_settle(hak_heap *heap) {
  const int64_t since_bytes = heap->peak_bytes;
  if (since_bytes > heap->settled_bytes) heap->settled_bytes = since_bytes;
  heap->peak_bytes = heap->live_bytes;
  return since_bytes;
}

int64_t hak_heap_faults(const hak_heap *heap) {
  return hak_pages_of(heap->peak_bytes > heap->settled_bytes ? heap->peak_bytes : heap->settled_bytes);
}
