/*
 * Preloaded beside an allocator: time passes with the events of a replay and with nothing else, so that what an allocator
 * does by the clock is the same in every run. hak-replayer asks for the break once before a logged replay and once with
 * every event; each such call is one step of the clock.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t steps;
static int64_t step_ns;

extern void *__sbrk(intptr_t increment);

__attribute__((constructor)) static void read_step(void) {
  const char *text = getenv("HAKMEM_EVENT_NS");
  step_ns = text == NULL ? 0 : strtoll(text, NULL, 10);
}

void *sbrk(intptr_t increment) {
  if (increment == 0) atomic_fetch_add(&steps, 1);
  return __sbrk(increment);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_PROCESS_CPUTIME_ID)
    return (int)syscall(SYS_clock_gettime, clock, now);
  const int64_t since_ns = atomic_load(&steps) * step_ns;
  /* A beginning that is not 0: allocators take 0 for a time that was never set. */
  *now = (struct timespec){.tv_sec = 1000 + since_ns / 1000000000, .tv_nsec = since_ns % 1000000000};
  return 0;
}
