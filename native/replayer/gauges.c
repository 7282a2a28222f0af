/*
 * What is read between events: clocks, faults, residency, system calls. Nothing here allocates, and none of its own calls
 * is of a kind that it counts.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "replayer.h"

enum { STATUS_BYTES = 4096, CALIBRATIONS = 501 };

const char *const syscall_names[SYSCALL_KINDS] = {"mmap", "munmap", "mremap", "brk", "madvise", "mprotect"};

static int counter[SYSCALL_KINDS] = {-1, -1, -1, -1, -1, -1};
static bool counts;
static int statm = -1, status = -1, clear_refs = -1;

static ssize_t read_text(int descriptor, char *text, size_t room) {
  const ssize_t length = pread(descriptor, text, room - 1, 0);
  text[length > 0 ? length : 0] = '\0';
  return length;
}

/* Where tracefs is not mounted, a private mount of it that no one else sees; -1 where neither is permitted. */
static int open_tracefs(void) {
  const char *const places[] = {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"};
  for (size_t at = 0; at < sizeof places / sizeof places[0]; at += 1) {
    const int folder = open(places[at], O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0 && faccessat(folder, "events/syscalls", R_OK, 0) == 0) return folder;
    if (folder >= 0) close(folder);
  }
#ifdef SYS_fsopen
  const int context = (int)syscall(SYS_fsopen, "tracefs", 1 /* FSOPEN_CLOEXEC */);
  if (context < 0) return -1;
  int folder = -1;
  if (syscall(SYS_fsconfig, context, 6 /* FSCONFIG_CMD_CREATE */, NULL, NULL, 0) == 0)
    folder = (int)syscall(SYS_fsmount, context, 1 /* FSMOUNT_CLOEXEC */, 0);
  close(context);
  return folder;
#else
  return -1;
#endif
}

static int open_counter(int tracefs, const char *name) {
  char path[64];
  char text[32];
  snprintf(path, sizeof path, "events/syscalls/sys_enter_%s/id", name);
  const int descriptor = openat(tracefs, path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return -1;
  const ssize_t length = read_text(descriptor, text, sizeof text);
  close(descriptor);
  if (length <= 0) return -1;
  struct perf_event_attr event = {
      .type = PERF_TYPE_TRACEPOINT, .size = sizeof event, .config = strtoull(text, NULL, 10), .inherit = 1};
  return (int)syscall(SYS_perf_event_open, &event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

void gauges_open(bool count_syscalls) {
  statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
  status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
  if (statm < 0 || status < 0) fail(EXIT_FAILED, "/proc/self/statm: cannot be read; residency is read there");
  const int tracefs = count_syscalls ? open_tracefs() : -1;
  if (tracefs < 0) return;
  counts = true;
  for (int kind = 0; kind < SYSCALL_KINDS; kind += 1) {
    counter[kind] = open_counter(tracefs, syscall_names[kind]);
    counts = counts && counter[kind] >= 0;
  }
  close(tracefs);
}

syscall_counts syscalls_so_far(void) {
  syscall_counts so_far = {.known = counts};
  for (int kind = 0; counts && kind < SYSCALL_KINDS; kind += 1) {
    uint64_t value = 0;
    if (read(counter[kind], &value, sizeof value) != (ssize_t)sizeof value) so_far.known = false;
    so_far.count[kind] = (int64_t)value;
  }
  return so_far;
}

int64_t thread_faults(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

int64_t thread_preemptions(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nivcsw + usage.ru_nvcsw;
}

int64_t resident_bytes(void) {
  char text[128];
  read_text(statm, text, sizeof text);
  const char *second = strchr(text, ' ');
  return second == NULL ? 0 : strtoll(second, NULL, 10) * HAK_PAGE_BYTES;
}

void resident_peak_reset(void) {
  /* Where it is refused the peak since the process began stands. */
  if (clear_refs >= 0 && write(clear_refs, "5", 1) != 1) return;
}

int64_t resident_peak_bytes(void) {
  char text[STATUS_BYTES];
  read_text(status, text, sizeof text);
  const char *line = strstr(text, "VmHWM:");
  return line == NULL ? 0 : strtoll(line + strlen("VmHWM:"), NULL, 10) * 1024;
}

static int64_t read_clock(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t monotonic_ns(void) { return read_clock(CLOCK_MONOTONIC); }

int64_t thread_cpu_ns(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

/* The thread's own clock is read nearest to the events: of the two it is the one that is reported. */
hak_clocks clocks_begin(void) {
  hak_clocks now;
  now.wall_ns = monotonic_ns();
  now.cpu_ns = thread_cpu_ns();
  return now;
}

hak_clocks clocks_end(void) {
  hak_clocks now;
  now.cpu_ns = thread_cpu_ns();
  now.wall_ns = monotonic_ns();
  return now;
}

/* Insertion: qsort may allocate. */
static int64_t middle(int64_t *values) {
  for (int at = 1; at < CALIBRATIONS; at += 1)
    for (int back = at; back > 0 && values[back - 1] > values[back]; back -= 1) {
      const int64_t moved = values[back];
      values[back] = values[back - 1];
      values[back - 1] = moved;
    }
  return values[CALIBRATIONS / 2];
}

hak_clocks clocks_cost(void) {
  int64_t wall_ns[CALIBRATIONS], cpu_ns[CALIBRATIONS];
  for (int at = 0; at < CALIBRATIONS; at += 1) {
    const hak_clocks begin = clocks_begin();
    const hak_clocks end = clocks_end();
    wall_ns[at] = end.wall_ns - begin.wall_ns;
    cpu_ns[at] = end.cpu_ns - begin.cpu_ns;
  }
  return (hak_clocks){middle(wall_ns), middle(cpu_ns)};
}
