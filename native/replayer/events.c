/* Reads the whole trace before the replay begins and works out, for every event, all that needs no allocator. */
#include <string.h>

#include "replayer.h"

enum { THREADS_MAX = 4096 };

/* Trace threads in the order of their first event: the first of them is the main thread. */
static int64_t worker_of(uint32_t *known, int64_t *count, uint32_t thread, const char *path, int64_t event) {
  for (int64_t at = 0; at < *count; at += 1)
    if (known[at] == thread) return at;
  if (*count == THREADS_MAX)
    fail(EXIT_BAD_INPUT, "%s: event %lld: found more than %d threads; wanted at most that, or --threads one", path,
         (long long)event, THREADS_MAX);
  known[*count] = thread;
  *count += 1;
  return *count - 1;
}

static uint8_t log2_of(uint32_t align) { return align == 0 ? 0 : (uint8_t)(31 - __builtin_clz(align)); }

static void set_touch(hak_event *event, int model, uint32_t recorded) {
  const int64_t size_bytes = (int64_t)event->size_bytes;
  const int64_t pages = hak_touched_pages(model, size_bytes, recorded);
  event->touch_pages = pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages;
  if (pages > 0 && pages == hak_pages_of(size_bytes)) event->touch_flags |= TOUCH_LAST_BYTE;
  if (pages > 0 && model == HAK_TOUCH_ALL) event->touch_flags |= TOUCH_WHOLE;
}

static void find_stretches(hak_events *events, const uint32_t *worker) {
  for (int64_t event = 0; event < events->events; event += 1)
    if (event == 0 || worker[event] != worker[event - 1]) events->stretches += 1;
  events->stretch = own_memory(sizeof *events->stretch * (size_t)(events->stretches + 1));
  events->first_stretch = own_memory(sizeof *events->first_stretch * (size_t)events->threads);
  for (int64_t at = 0; at < events->threads; at += 1) events->first_stretch[at] = -1;
  int64_t stretch = events->stretches;
  for (int64_t to = events->events; to > 0;) {
    int64_t from = to - 1;
    while (from > 0 && worker[from - 1] == worker[to - 1]) from -= 1;
    stretch -= 1;
    int64_t *first = &events->first_stretch[worker[from]];
    events->stretch[stretch] = (event_stretch){from, to, *first, worker[from]};
    *first = stretch;
    to = from;
  }
}

void events_load(hak_events *events, const char *path, int touch, bool one_thread) {
  static hak_memory memory;
  static hak_file file;
  memset(events, 0, sizeof *events);
  if (!hak_memory_open(&memory)) fail(EXIT_FAILED, "%s: cannot reserve memory to read it into", path);
  if (!hak_file_open(&file, &memory, path)) fail(EXIT_BAD_INPUT, "%s", file.error);
  events->path = path;
  events->events = file.events;
  events->objects = file.objects;
  events->event = own_memory(sizeof *events->event * (size_t)(file.events + 1));
  uint32_t *worker = own_memory(sizeof *worker * (size_t)(file.events + 1));
  uint32_t *turn = own_memory(sizeof *turn * ((size_t)file.objects + 1));
  uint64_t *live = own_memory(sizeof *live * ((size_t)file.objects + 1));
  uint8_t *is_live = own_memory((size_t)file.objects + 1);
  uint32_t *known = own_memory(sizeof *known * THREADS_MAX);
  int64_t live_bytes = 0;
  int64_t at = 0;
  for (;;) {
    hak_chunk chunk;
    bool more = false;
    if (!hak_file_next(&file, &chunk, &more)) fail(EXIT_BAD_INPUT, "%s", file.error);
    if (!more) break;
    for (int64_t row = 0; row < chunk.length; row += 1, at += 1) {
      hak_event *event = &events->event[at];
      event->op = chunk.op[row];
      event->object = chunk.object[row];
      event->size_bytes = (uint64_t)chunk.size_bytes[row];
      event->align_log2 = log2_of(chunk.align[row]);
      event->turn = turn[event->object];
      turn[event->object] += 1;
      if (event->op != HAK_OP_FREE) set_touch(event, touch, chunk.touched_pages[row]);
      if (event->touch_pages >= HAK_WINDOW_PAGES) events->touches_huge = true;
      live_bytes += (int64_t)event->size_bytes - (int64_t)live[event->object];
      live[event->object] = event->size_bytes;
      is_live[event->object] = event->op != HAK_OP_FREE;
      if (live_bytes > events->peak_live_bytes) events->peak_live_bytes = live_bytes;
      worker[at] = one_thread ? 0 : (uint32_t)worker_of(known, &events->threads, chunk.thread[row], path, at);
    }
  }
  if (events->threads == 0) events->threads = 1;
  events->leftover_bytes = live_bytes;
  for (int64_t object = 0; object < events->objects; object += 1) events->leftover_blocks += is_live[object];
  find_stretches(events, worker);
}
