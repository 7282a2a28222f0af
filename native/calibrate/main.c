/**
 * hak-calibrate: one pass over the prices of memory on this machine, as JSON: raw figures of one process, which
 * `hakmem calibrate` combines with those of others. Usage: hak-calibrate [--quick] [--die-with-parent].
 */
#include "calibrate.h"

#include <gnu/libc-version.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

bool hak_quick;

int main(int count, char **arguments) {
  for (int at = 1; at < count; at += 1) {
    if (strcmp(arguments[at], "--quick") == 0) {
      hak_quick = true;
    } else if (strcmp(arguments[at], "--die-with-parent") == 0) {
      const pid_t parent = getppid();
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() != parent || parent == 1) return 1;
    } else {
      fprintf(stderr, "usage: hak-calibrate [--quick] [--die-with-parent]\n");
      return 2;
    }
  }
  /* Small pages are to be small where huge ones are made unasked, too. */
  prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  hak_clock_init();
  hak_warm_guest(65536, hak_quick ? 0.3 : 0.7, false);
  hak_measure_clocks();
  hak_measure_calls();
  hak_measure_faults();
  const bool contends = hak_measure_contention();
  prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
  long cold = 0, fallen_back = 0;
  const bool huge = hak_measure_huge(&cold, &fallen_back);
  /* Last: it changes how the C library uses the heap. */
  hak_measure_library();
  printf("{\"glibc\":\"%s\",\"huge\":%s,\"contention\":%s,\"cold_huge_faults\":%ld,\"fallen_back_huge_faults\":%ld,\"figures\":[",
         gnu_get_libc_version(), huge ? "true" : "false", contends ? "true" : "false", cold, fallen_back);
  hak_print_report();
  printf("]}\n");
  return 0;
}
