/**
 * hak-calibrate: one pass over the prices of memory on this machine, as JSON: raw figures of one process, which
 * `hakmem calibrate` combines with those of others. Usage: hak-calibrate [--quick] [--die-with-parent].
 */
#include "calibrate.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

bool hak_quick;
/* Small pages are to be small where huge ones are made unasked, too. */
static void small_pages(bool wanted) { prctl(PR_SET_THP_DISABLE, wanted, 0, 0, 0); }

static double seconds_of(const struct rusage *usage) {
  return (double)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) +
         (double)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec) / 1e6;
}

int main(int count, char **arguments) {
  for (int at = 1; at < count; at += 1) {
    if (strcmp(arguments[at], "--quick") == 0) {
      hak_quick = true;
    } else if (strcmp(arguments[at], "--die-with-parent") == 0) {
      const pid_t parent = getppid();
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent || parent == 1) return 1;
    } else if (strcmp(arguments[at], "--touch-fresh") == 0 && at + 1 < count) {
      small_pages(true);
      hak_clock_init();
      hak_touch_fresh(atoi(arguments[at + 1]));
      return 0;
    } else {
      fprintf(stderr, "usage: hak-calibrate [--quick] [--die-with-parent]\n");
      return 2;
    }
  }
  small_pages(true);
  hak_clock_init();
  hak_warm_guest(65536, hak_quick ? 0.2 : 0.7, false);
  hak_measure_clocks();
  hak_measure_calls();
  hak_measure_faults();
  const bool contends = hak_measure_contention();
  small_pages(false);
  long cold = 0, fallen_back = 0;
  const bool huge = hak_measure_huge(&cold, &fallen_back);
  /* Last: it changes how the C library uses the heap. */
  hak_measure_library();
  struct rusage own, children;
  getrusage(RUSAGE_SELF, &own);
  getrusage(RUSAGE_CHILDREN, &children);
  printf("{\"huge\":%s,\"contention\":%s,\"cold_huge_faults\":%ld,\"fallen_back_huge_faults\":%ld,\"cpu_s\":%.3f,\"figures\":[",
         huge ? "true" : "false", contends ? "true" : "false", cold, fallen_back,
         seconds_of(&own) + seconds_of(&children));
  hak_print_report();
  printf("]}\n");
  return 0;
}
