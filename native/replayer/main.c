/*
 * hak-replayer: replays a .hak file against whatever malloc this process has, the C library's or a preloaded one, and
 * prints what it cost. Exit codes: 0 done, 1 not served, 2 bad usage or input.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "replayer.h"

enum { HOLE_PAGES_MAX = 1024 };
enum { ROUNDS_MAX = 100000, SAMPLES_A_TRACE = 256 };

static hak_run run;
static const char *const touch_names[] = HAK_TOUCH_NAMES;
static const char *const thread_modes[] = {"serial", "recorded", "one"};
enum { TOUCH_MODELS = sizeof touch_names / sizeof touch_names[0], THREAD_MODES = 3 };

static const char usage[] =
    "usage: hak-replayer FILE.hak [--touch MODEL] [--threads serial|recorded|one] [--rounds N] [--sample-events N]\n"
    "                    [--bare] [--log FILE] [--die-with-parent]\n"
    "--bare: for timing. No checks, no counting of system calls, no samples, addresses as random as any program's\n";

void fail(int exit_code, const char *format, ...) {
  char text[1024] = "hak-replayer: ";
  const size_t begun = strlen(text);
  va_list words;
  va_start(words, format);
  const int added = vsnprintf(text + begun, sizeof text - begun - 1, format, words);
  va_end(words);
  size_t length = begun + (size_t)(added < 0 ? 0 : added);
  if (length > sizeof text - 2) length = sizeof text - 2;
  text[length] = '\n';
  if (write(STDERR_FILENO, text, length + 1) < 0) _exit(exit_code);
  _exit(exit_code);
}

void *own_memory(size_t bytes) {
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) fail(EXIT_FAILED, "%zu bytes of the replayer's own memory: %s", bytes, strerror(errno));
  return memory;
}

static char *nowhere(size_t bytes) {
  char *at = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) fail(EXIT_FAILED, "%zu bytes of address space: %s", bytes, strerror(errno));
  return at;
}

void close_holes(void) {
  /* Odd in pages: the kernel aligns what is a multiple of 2 MiB, and leaves a hole beside it. */
  const size_t most_bytes = ((size_t)HOLE_PAGES_MAX + 1) * HAK_PAGE_BYTES;
  char *below = nowhere(most_bytes);
  for (size_t bytes = most_bytes - HAK_PAGE_BYTES; bytes >= HAK_PAGE_BYTES; bytes /= 2)
    for (char *at = below; at >= below;) {
      at = nowhere(bytes);
      if (at < below) munmap(at, bytes);
    }
  munmap(below, most_bytes);
}

static int one_of(const char *option, const char *text, const char *const *names, int count) {
  for (int at = 0; at < count; at += 1)
    if (strcmp(text, names[at]) == 0) return at;
  char wanted[128] = "";
  for (int at = 0; at < count; at += 1) {
    strcat(wanted, at == 0 ? "" : " ");
    strcat(wanted, names[at]);
  }
  fail(EXIT_BAD_INPUT, "%s: found \"%s\", wanted one of %s", option, text, wanted);
}

static int64_t number(const char *option, const char *text, int64_t min, int64_t max) {
  char *end = NULL;
  errno = 0;
  const long long value = strtoll(text, &end, 10);
  if (errno != 0 || end == text || *end != '\0' || value < min || value > max)
    fail(EXIT_BAD_INPUT, "%s: found \"%s\", wanted a whole number from %lld to %lld", option, text, (long long)min,
         (long long)max);
  return value;
}

/*
 * Where memory lies decides how many of its pages are huge and how many faults it costs, so counts are taken where it
 * always lies alike. A container may refuse this; the report says which it was.
 */
static bool fix_addresses(char **arguments, bool wanted) {
  const int persona = personality(0xffffffff);
  if (persona < 0) return false;
  if (!wanted || (persona & ADDR_NO_RANDOMIZE)) return (persona & ADDR_NO_RANDOMIZE) != 0;
  if (personality((unsigned long)persona | ADDR_NO_RANDOMIZE) < 0) return false;
  if ((personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0) return false;
  execv("/proc/self/exe", arguments);
  return false;
}

static int open_log(const char *path) {
  const int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (descriptor < 0) fail(EXIT_BAD_INPUT, "%s: %s", path, strerror(errno));
  const size_t words = LOG_HEADER_WORDS + (size_t)run.events.events * LOG_WORDS;
  run.log = own_memory(words * sizeof *run.log);
  memcpy(run.log, "HAKPLOG1", sizeof *run.log);
  return descriptor;
}

static void write_log(int descriptor, const char *path) {
  const char *from = (const char *)run.log;
  size_t left = (LOG_HEADER_WORDS + (size_t)run.events.events * LOG_WORDS) * sizeof *run.log;
  while (left > 0) {
    const ssize_t count = write(descriptor, from, left);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) fail(EXIT_FAILED, "%s: %s", path, strerror(errno));
    from += count;
    left -= (size_t)count;
  }
  close(descriptor);
}

static void print_text(const char *text) {
  putchar('"');
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at += 1) {
    if (*at == '"' || *at == '\\')
      printf("\\%c", *at);
    else if (*at < 0x20)
      printf("\\u%04x", *at);
    else
      putchar(*at);
  }
  putchar('"');
}

static void print_round(const hak_round *round) {
  printf("{\"checked\": %s, \"cpu_ns\": %" PRId64 ", \"wall_ns\": %" PRId64 ", \"faults\": %" PRId64 ", \"syscalls\": ",
         round->checked ? "true" : "false", round->cpu_ns, round->wall_ns, round->faults);
  if (round->syscalls.known)
    for (int kind = 0; kind < SYSCALL_KINDS; kind += 1)
      printf("%s\"%s\": %" PRId64, kind == 0 ? "{" : ", ", syscall_names[kind], round->syscalls.count[kind]);
  printf(round->syscalls.known ? "}" : "null");
  printf(", \"resident_start_bytes\": %" PRId64 ", \"resident_peak_bytes\": %" PRId64 ", \"resident_mean_bytes\": ",
         round->resident_start_bytes, round->resident_peak_bytes);
  if (round->samples > 0)
    printf("%" PRId64, round->resident_sum_bytes / round->samples);
  else
    printf("null");
  printf(", \"resident_end_bytes\": %" PRId64 ", \"samples\": %" PRId64 ", \"slow_touches\": %" PRId64 "}",
         round->resident_end_bytes, round->samples, round->slow_touches);
}

static void print_report(bool fixed_addresses, int touch) {
  const hak_round *first = &run.round[0];
  printf("{\"trace\": {\"path\": ");
  print_text(run.events.path);
  printf(", \"events\": %" PRId64 ", \"threads\": %" PRId64 ", \"peak_live_bytes\": %" PRId64 ", \"leftover_blocks\": %" PRId64
         ", \"leftover_bytes\": %" PRId64 "},\n \"allocator\": {\"path\": ",
         run.events.events, run.events.threads, run.events.peak_live_bytes, run.events.leftover_blocks,
         run.events.leftover_bytes);
  print_text(run.service.path);
  printf(", \"version\": ");
  if (run.service.version[0] == '\0')
    printf("null");
  else
    print_text(run.service.version);
  printf("},\n \"touch\": \"%s\", \"threads\": \"%s\", \"fixed_addresses\": %s, \"sample_events\": %" PRId64
         ", \"clock_cost_ns\": %" PRId64 ", \"baseline_resident_bytes\": %" PRId64 ",\n \"served_events\": ",
         touch_names[touch], thread_modes[run.threads], fixed_addresses ? "true" : "false", run.sample_events,
         run.clock_cost.cpu_ns, run.baseline_resident_bytes);
  if (run.check)
    printf("%" PRId64, first->served_events);
  else
    printf("null");
  printf(", \"unserved\": ");
  if (first->unserved_reason == NULL)
    printf("null");
  else
    printf("{\"event\": %" PRId64 ", \"reason\": \"%s\"}", first->unserved_event, first->unserved_reason);
  printf(",\n \"own_books\": ");
  if (run.service.books == NULL)
    printf("null");
  else
    printf("{\"name\": \"%s\", \"live_bytes\": %" PRId64 ", \"requested_bytes\": %" PRId64 "}", run.service.books,
           first->books_bytes, run.events.leftover_bytes);
  printf(",\n \"rounds\": [");
  for (int64_t at = 0; at < run.rounds; at += 1) {
    printf(at == 0 ? "\n  " : ",\n  ");
    print_round(&run.round[at]);
  }
  printf("]}\n");
}

int main(int count, char **arguments) {
  const char *path = NULL;
  const char *log_path = NULL;
  int touch = HAK_TOUCH_RECORDED;
  bool bare = false;
  int64_t sample_events = 0;
  run.rounds = 1;
  for (int at = 1; at < count; at += 1) {
    const char *option = arguments[at];
    if (option[0] != '-') {
      if (path != NULL) fail(EXIT_BAD_INPUT, "found \"%s\" after %s; wanted one trace", option, path);
      path = option;
      continue;
    }
    if (strcmp(option, "--help") == 0) {
      fputs(usage, stdout);
      return 0;
    }
    if (strcmp(option, "--bare") == 0) {
      bare = true;
      continue;
    }
    if (strcmp(option, "--die-with-parent") == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      continue;
    }
    at += 1;
    if (at == count) fail(EXIT_BAD_INPUT, "%s: found nothing after it, or no such option; --help lists them", option);
    if (strcmp(option, "--touch") == 0)
      touch = one_of(option, arguments[at], touch_names, TOUCH_MODELS);
    else if (strcmp(option, "--threads") == 0)
      run.threads = one_of(option, arguments[at], thread_modes, THREAD_MODES);
    else if (strcmp(option, "--rounds") == 0)
      run.rounds = number(option, arguments[at], 1, ROUNDS_MAX);
    else if (strcmp(option, "--sample-events") == 0)
      sample_events = number(option, arguments[at], 1, INT64_MAX);
    else if (strcmp(option, "--log") == 0)
      log_path = arguments[at];
    else
      fail(EXIT_BAD_INPUT, "%s: no such option; --help lists them", option);
  }
  if (path == NULL) fail(EXIT_BAD_INPUT, "found no trace; wanted FILE.hak (--help says more)");
  if (log_path != NULL && run.threads == THREADS_RECORDED)
    fail(EXIT_BAD_INPUT, "--log: found --threads recorded, wanted serial or one: a log is in the trace's order");
  if (log_path != NULL && bare) fail(EXIT_BAD_INPUT, "--log: found --bare, wanted one of the two");
  const bool fixed_addresses = fix_addresses(arguments, !bare);
  service_resolve(&run.service);
  events_load(&run.events, path, touch, run.threads == THREADS_ONE);
  run.check = !bare;
  /* Odd: a program that allocates and frees in turn would else be seen after every free, or after none. */
  const int64_t about = (run.events.events / SAMPLES_A_TRACE) | 1;
  if (!bare) run.sample_events = sample_events > 0 ? sample_events : about;
  run.round = own_memory(sizeof *run.round * (size_t)run.rounds);
  const int log = log_path == NULL ? -1 : open_log(log_path);
  gauges_open(!bare);
  run_all(&run);
  if (log >= 0) write_log(log, log_path);
  print_report(fixed_addresses, touch);
  return 0;
}
