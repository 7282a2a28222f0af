/*
 * The replay itself. Between two clocks lie events alone: everything else, sampling, handing over, reading counters, is
 * done where no clock runs. A thread of the trace is a thread here; the thread of the first event is the main one.
 *
 * Touches: of a block with n touched pages (sim/kernel/touch.ts says how many) one byte at each of its first n multiples
 * of 4096, and where that is all of them its last byte too; `all` writes every byte. A realloc is touched as a fresh block
 * of its new size is. A realloc to nothing, which no trace should hold, asks for one byte, so that the object lives on.
 */
#include <errno.h>
#include <linux/futex.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "replayer.h"

enum { STACK_BYTES = 256 << 10, STACK_BYTES_OF_MANY = 64 << 10, MANY_THREADS = 64, SPINS = 64 };
static const uint32_t SOMEONE_WAITS = (uint32_t)1 << 31;
/* A huge fault takes some 100 us; where the host of a virtual machine has to find the memory first, many times that. */
enum { SLOW_TOUCH_NS = 2000000 };

typedef struct {
  pthread_t thread;
  int64_t index;
  /* The stretch it may run now, plus one. */
  _Atomic uint32_t baton;
  int64_t faults_at_start, faults, cpu_ns, wall_ns;
  /* Of its CPU time: waiting for another's event and waking who waits, which is the replay's doing and not the trace's. */
  int64_t waiting_ns;
  int64_t samples, resident_sum_bytes, resident_most_bytes;
  int64_t preemptions, slow_touches;
  int64_t served_events, unserved_event;
  const char *unserved_reason;
  int64_t books_bytes;
} __attribute__((aligned(128))) worker;

static hak_run *run;
static const hak_events *trace;
static worker *workers;
static void **block_of;
static uint64_t *size_of;
/* Events of an object that are done; SOMEONE_WAITS beside it while a thread sleeps until one more is. */
static _Atomic uint32_t *turn_of;
/* What SPINS of them take. */
static int64_t spins_ns;
static hak_round *round_now;
static bool first_round;
static _Atomic uint32_t begun, opened, ready, done;
/* Of the log: faults of the stretches before, whichever thread ran them. */
static int64_t faults_logged;

static void futex_wait(_Atomic uint32_t *word, uint32_t while_value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int threads) {
  syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

static void wait_until(_Atomic uint32_t *word, uint32_t wanted) {
  for (uint32_t found; (found = atomic_load(word)) != wanted;) futex_wait(word, found);
}

static void set_and_wake(_Atomic uint32_t *word, uint32_t value) {
  atomic_store(word, value);
  futex_wake(word, INT32_MAX);
}

static void add_and_wake(_Atomic uint32_t *word) {
  atomic_fetch_add(word, 1);
  futex_wake(word, INT32_MAX);
}

static void touch_pages(volatile char *block, int64_t from, int64_t to) {
  for (int64_t page = from; page < to; page += 1) block[page * HAK_PAGE_BYTES] = 1;
}

/*
 * The first write into each aligned 2 MiB is timed, for a huge fault happens there or nowhere; the clock costs some 50 ns,
 * a hundredth of what the rest of the 2 MiB costs.
 */
static void touch_large(worker *self, char *block, const hak_event *event) {
  const uintptr_t window_bytes = (uintptr_t)HAK_WINDOW_PAGES * HAK_PAGE_BYTES;
  int64_t slow = 0;
  for (int64_t from = 0; from < event->touch_pages;) {
    const uintptr_t at = (uintptr_t)block + (uintptr_t)from * HAK_PAGE_BYTES;
    const uintptr_t left_bytes = window_bytes - at % window_bytes;
    int64_t to = from + (int64_t)((left_bytes + HAK_PAGE_BYTES - 1) / HAK_PAGE_BYTES);
    if (to > event->touch_pages) to = event->touch_pages;
    const int64_t begin_ns = monotonic_ns();
    touch_pages(block, from, from + 1);
    if (monotonic_ns() - begin_ns > SLOW_TOUCH_NS) slow += 1;
    touch_pages(block, from + 1, to);
    from = to;
  }
  if (event->touch_flags & TOUCH_WHOLE) memset(block, 1, event->size_bytes);
  if (slow == 0) return;
  /* A thread that was made to wait meanwhile was not slow. */
  const int64_t preemptions = thread_preemptions();
  if (preemptions == self->preemptions) self->slow_touches += slow;
  self->preemptions = preemptions;
}

static inline void touch(worker *self, char *block, const hak_event *event) {
  if (event->touch_pages == 0) return;
  if (event->touch_pages >= HAK_WINDOW_PAGES)
    touch_large(self, block, event);
  else if (event->touch_flags & TOUCH_WHOLE)
    memset(block, 1, event->size_bytes);
  else
    touch_pages(block, 0, event->touch_pages);
  if (event->touch_flags & TOUCH_LAST_BYTE) ((volatile char *)block)[event->size_bytes - 1] = 1;
}

static void *ask(const hak_event *event, void *before) {
  const size_t size = event->size_bytes;
  void *block = NULL;
  switch (event->op) {
    case HAK_OP_MALLOC:
      return malloc(size);
    case HAK_OP_CALLOC:
      return calloc(1, size);
    case HAK_OP_REALLOC:
      return realloc(before, size > 0 ? size : 1);
    default: {
      const size_t align = (size_t)1 << event->align_log2;
      return posix_memalign(&block, align < sizeof(void *) ? sizeof(void *) : align, size) == 0 ? block : NULL;
    }
  }
}

static void check_block(worker *self, int64_t index, const hak_event *event, void *block) {
  /* Of malloc nobody asked an alignment but the ABI, and of a small block less than of one that holds a long double. */
  const size_t asked = event->op == HAK_OP_ALIGNED ? (size_t)1 << event->align_log2 : event->size_bytes < 16 ? 8 : 16;
  const char *reason = NULL;
  if (((uintptr_t)block & (asked - 1)) != 0) reason = "not aligned as asked";
  if (malloc_usable_size(block) < event->size_bytes) reason = "smaller than asked";
  if (reason == NULL) {
    self->served_events += 1;
  } else if (self->unserved_reason == NULL) {
    self->unserved_event = index;
    self->unserved_reason = reason;
  }
}

static void check_before_free(worker *self, int64_t index, uint32_t object, void *block) {
  if (malloc_usable_size(block) >= size_of[object]) {
    self->served_events += 1;
  } else if (self->unserved_reason == NULL) {
    self->unserved_event = index;
    self->unserved_reason = "became smaller while it was live";
  }
}

static void log_event(int64_t index, const hak_event *event, void *block, int64_t *faults) {
  uint64_t *entry = run->log + LOG_HEADER_WORDS + index * LOG_WORDS;
  const int64_t now = thread_faults();
  faults_logged += now - *faults;
  *faults = now;
  entry[4] = (uint64_t)faults_logged;
  entry[3] = (uint64_t)(uintptr_t)sbrk(0);
  if (event->op == HAK_OP_FREE) return;
  entry[0] = (uint64_t)(uintptr_t)block;
  entry[1] = malloc_usable_size(block);
  if (!run->service.is_glibc) return;
  /* struct malloc_chunk: the size field lies before the block, its bit 1 is IS_MMAPPED, its bit 2 NON_MAIN_ARENA. */
  const uint64_t size_field = ((const uint64_t *)block)[-1];
  entry[2] = (size_field & 2 ? LOG_MMAPPED : 0) | (size_field & 4 ? LOG_OTHER_ARENA : 0);
}

static bool has_turn(uint32_t object, uint32_t turn) {
  return (atomic_load_explicit(&turn_of[object], memory_order_acquire) & ~SOMEONE_WAITS) == turn;
}

static void spin_until(uint32_t object, uint32_t turn, int *spins) {
  while (*spins < SPINS && !has_turn(object, turn)) {
    __builtin_ia32_pause();
    *spins += 1;
  }
}

/* What lay between two readings, and what the two themselves took. */
static void leave_out(worker *self, int64_t from_ns) {
  self->waiting_ns += thread_cpu_ns() - from_ns + run->clock_cost.cpu_ns;
}

static void sleep_until(worker *self, uint32_t object, uint32_t turn) {
  const int64_t from_ns = thread_cpu_ns();
  for (;;) {
    const uint32_t found = atomic_fetch_or(&turn_of[object], SOMEONE_WAITS);
    if ((found & ~SOMEONE_WAITS) == turn) break;
    futex_wait(&turn_of[object], found | SOMEONE_WAITS);
  }
  leave_out(self, from_ns);
}

/* The event that made what this one needs may be another thread's. Spinning is shorter than reading a clock: it is counted. */
static inline void wait_for_turn(worker *self, uint32_t object, uint32_t turn) {
  if (has_turn(object, turn)) return;
  int spins = 0;
  spin_until(object, turn, &spins);
  self->waiting_ns += spins * spins_ns / SPINS;
  if (spins == SPINS) sleep_until(self, object, turn);
}

static inline void give_turn(worker *self, uint32_t object, uint32_t turn) {
  if ((atomic_exchange(&turn_of[object], turn) & SOMEONE_WAITS) == 0) return;
  const int64_t from_ns = thread_cpu_ns();
  futex_wake(&turn_of[object], INT32_MAX);
  leave_out(self, from_ns);
}

/* The least of some: every one of them may have been interrupted. */
static int64_t cost_of_spins(void) {
  enum { TIMES = 101 };
  int64_t least_ns = INT64_MAX;
  for (int time = 0; time < TIMES; time += 1) {
    int spins = 0;
    const int64_t from_ns = thread_cpu_ns();
    spin_until(0, 1, &spins);
    const int64_t ns = thread_cpu_ns() - from_ns - run->clock_cost.cpu_ns;
    if (ns < least_ns) least_ns = ns;
  }
  return least_ns > 0 ? least_ns : 0;
}

static inline __attribute__((always_inline)) void run_events(worker *self, int64_t from, int64_t to, bool checks, bool logs,
                                                            bool waits) {
  int64_t faults = logs ? thread_faults() : 0;
  for (int64_t index = from; index < to; index += 1) {
    const hak_event *event = &trace->event[index];
    const uint32_t object = event->object;
    if (waits) wait_for_turn(self, object, event->turn);
    void *block = block_of[object];
    if (event->op == HAK_OP_FREE) {
      if (checks) check_before_free(self, index, object, block);
      free(block);
      block_of[object] = NULL;
    } else {
      block = ask(event, block);
      if (block == NULL)
        fail(EXIT_FAILED, "%s: event %lld: found no memory for %llu bytes; wanted a block", trace->path, (long long)index,
             (unsigned long long)event->size_bytes);
      block_of[object] = block;
      if (checks) {
        check_block(self, index, event, block);
        size_of[object] = event->size_bytes;
      }
      touch(self, block, event);
    }
    if (logs) log_event(index, event, block, &faults);
    if (waits) give_turn(self, object, event->turn + 1);
  }
}

static __attribute__((noinline)) void run_bare(worker *self, int64_t from, int64_t to) {
  run_events(self, from, to, false, false, false);
}

static __attribute__((noinline)) void run_waiting(worker *self, int64_t from, int64_t to) {
  run_events(self, from, to, false, false, true);
}

static __attribute__((noinline)) void run_watched(worker *self, int64_t from, int64_t to, bool checks, bool logs, bool waits) {
  run_events(self, from, to, checks, logs, waits);
}

static void sample(worker *self) {
  const int64_t bytes = resident_bytes() - run->baseline_resident_bytes;
  self->samples += 1;
  self->resident_sum_bytes += bytes;
  if (bytes > self->resident_most_bytes) self->resident_most_bytes = bytes;
}

static void run_stretch(worker *self, const event_stretch *stretch) {
  const bool waits = run->threads == THREADS_RECORDED;
  const bool logs = first_round && run->log != NULL;
  const bool checks = round_now->checked;
  for (int64_t from = stretch->from; from < stretch->to;) {
    int64_t to = stretch->to;
    bool samples = false;
    if (run->sample_events > 0) {
      const int64_t next = (from / run->sample_events + 1) * run->sample_events;
      samples = next <= to;
      if (samples) to = next;
    }
    if (trace->touches_huge) self->preemptions = thread_preemptions();
    const hak_clocks begin = clocks_begin();
    if (checks || logs)
      run_watched(self, from, to, checks, logs, waits);
    else if (waits)
      run_waiting(self, from, to);
    else
      run_bare(self, from, to);
    const hak_clocks end = clocks_end();
    self->cpu_ns += end.cpu_ns - begin.cpu_ns - run->clock_cost.cpu_ns - self->waiting_ns;
    self->waiting_ns = 0;
    self->wall_ns += end.wall_ns - begin.wall_ns - run->clock_cost.wall_ns;
    if (samples) sample(self);
    from = to;
  }
}

static void run_worker(worker *self) {
  self->faults_at_start = thread_faults();
  if (self->index > 0) {
    add_and_wake(&ready);
    if (run->threads == THREADS_RECORDED) wait_until(&opened, atomic_load(&begun));
  }
  for (int64_t at = trace->first_stretch[self->index]; at >= 0; at = trace->stretch[at].next) {
    if (run->threads == THREADS_SERIAL && at > 0) wait_until(&self->baton, (uint32_t)at + 1);
    run_stretch(self, &trace->stretch[at]);
    if (run->threads == THREADS_SERIAL && at + 1 < trace->stretches)
      set_and_wake(&workers[trace->stretch[at + 1].worker].baton, (uint32_t)at + 2);
  }
  self->faults = thread_faults() - self->faults_at_start;
  if (first_round && self->index > 0 && service_books_per_thread()) self->books_bytes = service_live_bytes();
}

/* A thread that ends gives its allocator's cache back: none does before the process, or that would be counted too. */
static void *worker_main(void *argument) {
  worker *self = argument;
  for (uint32_t round = 1;; round += 1) {
    wait_until(&begun, round);
    run_worker(self);
    add_and_wake(&done);
  }
  return NULL;
}

/* On stacks of our own: they hold the thread's own storage too, and all of it is present before it begins. */
static void start_threads(void) {
  const size_t stack_bytes = trace->threads > MANY_THREADS ? STACK_BYTES_OF_MANY : STACK_BYTES;
  for (int64_t at = 1; at < trace->threads; at += 1) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, own_memory(stack_bytes), stack_bytes);
    const int refused = pthread_create(&workers[at].thread, &attributes, worker_main, &workers[at]);
    if (refused != 0) fail(EXIT_FAILED, "thread %lld of %lld: %s", (long long)at, (long long)trace->threads, strerror(refused));
    pthread_attr_destroy(&attributes);
  }
}

static void reset(worker *each) {
  atomic_store(&each->baton, 0);
  each->cpu_ns = each->wall_ns = each->faults = 0;
  each->samples = each->resident_sum_bytes = each->resident_most_bytes = 0;
  each->slow_touches = each->served_events = each->books_bytes = 0;
  each->unserved_reason = NULL;
}

static void add_up(hak_round *round) {
  int64_t most_bytes = resident_peak_bytes() - run->baseline_resident_bytes;
  for (int64_t at = 0; at < trace->threads; at += 1) {
    const worker *each = &workers[at];
    round->cpu_ns += each->cpu_ns;
    round->faults += each->faults;
    round->samples += each->samples;
    round->resident_sum_bytes += each->resident_sum_bytes;
    if (each->resident_most_bytes > most_bytes) most_bytes = each->resident_most_bytes;
    round->slow_touches += each->slow_touches;
    round->served_events += each->served_events;
    round->books_bytes += each->books_bytes;
    if (round->unserved_reason == NULL) {
      round->unserved_reason = each->unserved_reason;
      round->unserved_event = each->unserved_event;
    }
    /* Side by side, the longest is what a user waits for; in turn, their sum. */
    if (run->threads != THREADS_RECORDED)
      round->wall_ns += each->wall_ns;
    else if (each->wall_ns > round->wall_ns)
      round->wall_ns = each->wall_ns;
  }
  round->resident_end_bytes = resident_bytes() - run->baseline_resident_bytes;
  round->resident_peak_bytes = most_bytes > round->resident_end_bytes ? most_bytes : round->resident_end_bytes;
}

static void free_leftovers(void) {
  for (int64_t object = 0; object < trace->objects; object += 1) {
    if (block_of[object] != NULL) free(block_of[object]);
    block_of[object] = NULL;
    atomic_store(&turn_of[object], 0);
  }
}

static void await(_Atomic uint32_t *count, uint32_t wanted) {
  for (uint32_t found; (found = atomic_load(count)) < wanted;) futex_wait(count, found);
}

static void run_round(uint32_t number, int64_t books_at_start) {
  const uint32_t others = (uint32_t)trace->threads - 1;
  first_round = number == 1;
  round_now = &run->round[number - 1];
  round_now->checked = first_round && run->check;
  for (int64_t at = 0; at < trace->threads; at += 1) reset(&workers[at]);
  atomic_store(&ready, 0);
  atomic_store(&done, 0);
  resident_peak_reset();
  round_now->resident_start_bytes = resident_bytes() - run->baseline_resident_bytes;
  if (others > 0) set_and_wake(&begun, number);
  await(&ready, others);
  const syscall_counts before = syscalls_so_far();
  if (others > 0) set_and_wake(&opened, number);
  run_worker(&workers[0]);
  await(&done, others);
  round_now->syscalls = syscalls_so_far();
  for (int kind = 0; kind < SYSCALL_KINDS; kind += 1) round_now->syscalls.count[kind] -= before.count[kind];
  add_up(round_now);
  if (first_round) round_now->books_bytes += service_live_bytes() - books_at_start;
}

void run_all(hak_run *the_run) {
  run = the_run;
  trace = &run->events;
  workers = own_memory(sizeof *workers * (size_t)trace->threads);
  block_of = own_memory(sizeof *block_of * ((size_t)trace->objects + 1));
  size_of = own_memory(sizeof *size_of * ((size_t)trace->objects + 1));
  turn_of = own_memory(sizeof *turn_of * ((size_t)trace->objects + 1));
  for (int64_t at = 0; at < trace->threads; at += 1) workers[at].index = at;
  start_threads();
  run->clock_cost = clocks_cost();
  spins_ns = cost_of_spins();
  prefault_libraries();
  prefault_stack();
  close_holes();
  /* Where every replay begins, and every model of it. */
  void *first = malloc(1);
  free(first);
  if (run->log != NULL) {
    run->log[1] = (uint64_t)trace->events;
    run->log[2] = (uint64_t)(uintptr_t)sbrk(0);
    run->log[3] = (uint64_t)(uintptr_t)first;
    run->log[4] = (uint64_t)trace->threads;
  }
  const int64_t books_at_start = service_live_bytes();
  run->baseline_resident_bytes = resident_bytes();
  for (uint32_t number = 1; number <= run->rounds; number += 1) {
    if (number > 1) free_leftovers();
    run_round(number, books_at_start);
  }
}
