/** The clock of every price: CPU time of this thread, less what reading it takes; and what clocks and a system call cost. */
#include "calibrate.h"

#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LATE_S = 12, LATE_QUICK_S = 5 };

static double read_ns;
static int64_t begun_ns;

static int64_t now_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t hak_wall_ns(void) { return now_ns(CLOCK_MONOTONIC); }

hak_watch hak_watch_start(void) { return (hak_watch){now_ns(CLOCK_THREAD_CPUTIME_ID)}; }

double hak_watch_ns(hak_watch watch) {
  return (double)(now_ns(CLOCK_THREAD_CPUTIME_ID) - watch.from_ns) - read_ns;
}

bool hak_is_late(void) {
  return hak_wall_ns() - begun_ns > (int64_t)(hak_quick ? LATE_QUICK_S : LATE_S) * 1000000000;
}

void hak_clock_init(void) {
  begun_ns = hak_wall_ns();
  hak_samples samples = {.count = 0};
  for (int round = 0; round < HAK_SAMPLES_MAX; round += 1) hak_samples_add(&samples, hak_watch_ns(hak_watch_start()));
  read_ns = hak_samples_median(&samples);
}

hak_rounds hak_rounds_of(int most, double seconds) {
  return (hak_rounds){.most = most, .until_ns = hak_wall_ns() + (int64_t)(seconds * 1e9)};
}

bool hak_next_round(hak_rounds *rounds) {
  if (rounds->done > 0 && (rounds->done == rounds->most || hak_wall_ns() >= rounds->until_ns)) return false;
  rounds->done += 1;
  return true;
}

enum { BATCHES = 15, BATCH = 1000 };

void hak_measure_clocks(void) {
  static const struct {
    const char *name;
    clockid_t clock;
  } clocks[] = {{"thread_cpu_ns", CLOCK_THREAD_CPUTIME_ID}, {"monotonic_ns", CLOCK_MONOTONIC}};
  for (int which = 0; which < 2; which += 1) {
    hak_samples samples = {.count = 0};
    for (int batch = 0; batch < BATCHES; batch += 1) {
      const hak_watch watch = hak_watch_start();
      for (int call = 0; call < BATCH; call += 1) now_ns(clocks[which].clock);
      hak_samples_add(&samples, hak_watch_ns(watch) / BATCH);
    }
    hak_report_median("clock", clocks[which].name, "", 0, &samples);
  }
  hak_samples samples = {.count = 0};
  for (int batch = 0; batch < BATCHES; batch += 1) {
    const hak_watch watch = hak_watch_start();
    for (int call = 0; call < BATCH; call += 1) syscall(SYS_getppid);
    hak_samples_add(&samples, hak_watch_ns(watch) / BATCH);
  }
  hak_report_median("clock", "syscall_ns", "", 0, &samples);
}
