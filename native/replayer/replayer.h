/* The replayer's one internal header, grouped by file. What each number means stands in docs/BENCH.md. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../core/hak.h"

/* Ends the program with one line on stderr; allocates nothing, so any thread may call it at any time. */
enum { EXIT_FAILED = 1, EXIT_BAD_INPUT = 2 };
__attribute__((noreturn, format(printf, 2, 3))) void fail(int exit_code, const char *format, ...);

/* Zeroed memory of the replayer's own, present before the replay begins. */
void *own_memory(size_t bytes);

/*
 * Takes the room that lies between earlier mappings, so that the trace's lie below all of them: whether a block can grow
 * where it is would else depend on how long the trace is and on where addresses happened to begin.
 */
void close_holes(void);

/* events.c: the trace in memory, as the replay goes over it. */
enum { TOUCH_LAST_BYTE = 1, TOUCH_WHOLE = 2 };
typedef struct {
  uint64_t size_bytes;
  uint32_t object;
  uint32_t touch_pages;
  /* Events of the same object before this one. */
  uint32_t turn;
  uint8_t op, align_log2, touch_flags;
} hak_event;

/* Consecutive events of one thread. */
typedef struct {
  int64_t from, to;
  /* Index of the next stretch of the same thread, or -1. */
  int64_t next;
  uint32_t worker;
} event_stretch;

typedef struct {
  const char *path;
  hak_event *event;
  int64_t events, objects, threads;
  event_stretch *stretch;
  int64_t stretches;
  int64_t *first_stretch;
  /* What is live after the last event. */
  int64_t leftover_blocks, leftover_bytes, peak_live_bytes;
  bool touches_huge;
} hak_events;
void events_load(hak_events *events, const char *path, int touch, bool one_thread);

/* prefault.c: faults that the replay would otherwise be blamed for. */
void prefault_libraries(void);
void prefault_stack(void);

/* gauges.c */
enum { SYSCALL_KINDS = 6 };
extern const char *const syscall_names[SYSCALL_KINDS];
typedef struct {
  bool known;
  int64_t count[SYSCALL_KINDS];
} syscall_counts;
/* Counts this thread and those it makes later. */
void gauges_open(bool count_syscalls);
syscall_counts syscalls_so_far(void);
int64_t thread_faults(void);
int64_t thread_preemptions(void);
int64_t resident_bytes(void);
void resident_peak_reset(void);
int64_t resident_peak_bytes(void);

typedef struct {
  int64_t wall_ns, cpu_ns;
} hak_clocks;
hak_clocks clocks_begin(void);
hak_clocks clocks_end(void);
/* What a begin and an end with nothing between them come to. */
hak_clocks clocks_cost(void);
int64_t thread_cpu_ns(void);
int64_t monotonic_ns(void);

/* service.c: who serves the calls, and what it says of itself. */
typedef struct {
  const char *path;
  char version[64];
  const char *books;
  bool is_glibc;
} hak_service;
/* Fails where malloc, free and their kin do not lie in one library. */
void service_resolve(hak_service *service);
bool service_books_per_thread(void);
int64_t service_live_bytes(void);

/* run.c */
enum { THREADS_SERIAL, THREADS_RECORDED, THREADS_ONE };
enum { LOG_WORDS = 5, LOG_HEADER_WORDS = 8 };
enum { LOG_MMAPPED = 1, LOG_OTHER_ARENA = 2 };

typedef struct {
  bool checked;
  int64_t cpu_ns, wall_ns, faults;
  syscall_counts syscalls;
  int64_t resident_start_bytes, resident_peak_bytes, resident_sum_bytes, resident_end_bytes, samples;
  int64_t slow_touches;
  int64_t served_events, unserved_event;
  const char *unserved_reason;
  int64_t books_bytes;
} hak_round;

typedef struct {
  hak_events events;
  hak_service service;
  int threads;
  bool check;
  int64_t sample_events, rounds;
  uint64_t *log;
  hak_clocks clock_cost;
  int64_t baseline_resident_bytes;
  hak_round *round;
} hak_run;
void run_all(hak_run *run);
