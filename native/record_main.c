/**
 * Starts a program under the recorder, waits for it and writes what it spent: node can do none of preload, wait4 and
 * signals that keep their sender. Usage: hak-record REPORT PROGRAM ARG...; its exit code is the program's. hak-record --clocks
 * prints the processor's counter and CLOCK_MONOTONIC, for recordings that were not started by it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { REPORT_BYTES = 1024, EXIT_NOT_STARTED = 127, KEYBOARD_ECHO_SECONDS = 1 };

static volatile pid_t program;
static volatile int64_t keyboard_at_s = -1000;

/** Two clocks read together, so that a reader can turn the recorder's ticks into nanoseconds. */
struct clocks {
  uint64_t tsc, ns;
};

static uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static struct clocks read_clocks(void) {
  struct clocks best = {0, 0};
#if defined(__x86_64__)
  uint64_t shortest = UINT64_MAX;
  for (int attempt = 0; attempt < 8; attempt += 1) {
    const uint64_t before = __builtin_ia32_rdtsc(), ns = monotonic_ns(), after = __builtin_ia32_rdtsc();
    if (after - before < shortest) {
      shortest = after - before;
      best = (struct clocks){before + (after - before) / 2, ns};
    }
  }
#else
  best.ns = monotonic_ns();
#endif
  return best;
}

/**
 * Signals meant for the program alone are passed on. A Ctrl-C reaches it by itself, being in the same foreground group;
 * who started us passes on its own copy of that one, which must not count twice.
 */
static void pass_on(int number, siginfo_t *info, void *unused) {
  (void)unused;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const bool from_keyboard = info->si_code == SI_KERNEL;
  if (from_keyboard) keyboard_at_s = now.tv_sec;
  if (from_keyboard || (number == SIGINT && now.tv_sec - keyboard_at_s <= KEYBOARD_ECHO_SECONDS)) return;
  if (program > 0) kill(program, number);
}

static const int passed_on[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
enum { PASSED_ON = sizeof passed_on / sizeof passed_on[0] };

static int start(char **arguments, const sigset_t *mask) {
  int failure[2];
  if (pipe2(failure, O_CLOEXEC) != 0) return errno;
  program = fork();
  if (program < 0) return errno;
  if (program == 0) {
    for (int at = 0; at < PASSED_ON; at += 1) signal(passed_on[at], SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    const char *preload = getenv("HAKMEM_RECORD_PRELOAD");
    if (preload != NULL) setenv("LD_PRELOAD", preload, 1);
    unsetenv("HAKMEM_RECORD_PRELOAD");
    execvp(arguments[0], arguments);
    const int reason = errno;
    if (write(failure[1], &reason, sizeof reason) < 0) _exit(EXIT_NOT_STARTED);
    _exit(EXIT_NOT_STARTED);
  }
  close(failure[1]);
  int reason = 0;
  if (read(failure[0], &reason, sizeof reason) != (ssize_t)sizeof reason) reason = 0;
  close(failure[0]);
  return reason;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "--clocks") == 0) {
    const struct clocks now = read_clocks();
    printf("{\"tsc\": %" PRIu64 ", \"ns\": %" PRIu64 "}\n", now.tsc, now.ns);
    return 0;
  }
  if (count < 3) {
    fprintf(stderr, "usage: hak-record REPORT PROGRAM [ARG...]\n");
    return 2;
  }
  /* A recording that nobody is left to read has no purpose: the program is asked to end. */
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigset_t blocked, mask;
  sigemptyset(&blocked);
  for (int at = 0; at < PASSED_ON; at += 1) sigaddset(&blocked, passed_on[at]);
  sigprocmask(SIG_BLOCK, &blocked, &mask);
  for (int at = 0; at < PASSED_ON; at += 1) {
    struct sigaction action = {.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(passed_on[at], &action, NULL);
  }
  /* Its space is taken now: a recording may well fill the disk. */
  const int report = open(arguments[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  char text[REPORT_BYTES];
  memset(text, ' ', sizeof text);
  if (report < 0 || write(report, text, sizeof text) != (ssize_t)sizeof text) {
    fprintf(stderr, "hak-record: %s: %s\n", arguments[1], strerror(errno));
    return EXIT_NOT_STARTED;
  }
  const struct clocks before = read_clocks();
  const int failure = start(arguments + 2, &mask);
  sigprocmask(SIG_UNBLOCK, &blocked, NULL);
  int status = 0;
  struct rusage usage = {0};
  while (program > 0 && wait4(program, &status, 0, &usage) < 0 && errno == EINTR) continue;
  const struct clocks after = read_clocks();
  const int length = snprintf(
      text, sizeof text,
      "{\"pid\": %d, \"failure\": \"%s\", \"status\": %d, \"signal\": %d, \"wall_ns\": %" PRIu64
      ", \"user_ns\": %" PRIu64 ", \"sys_ns\": %" PRIu64 ", \"faults\": %ld, \"resident_peak_bytes\": %" PRIu64
      ", \"tsc\": %" PRIu64 ", \"tsc_ns\": %" PRIu64 "}\n",
      (int)program, failure == 0 ? "" : strerror(failure), WIFEXITED(status) ? WEXITSTATUS(status) : 0,
      WIFSIGNALED(status) ? WTERMSIG(status) : 0, after.ns - before.ns,
      (uint64_t)usage.ru_utime.tv_sec * 1000000000u + (uint64_t)usage.ru_utime.tv_usec * 1000u,
      (uint64_t)usage.ru_stime.tv_sec * 1000000000u + (uint64_t)usage.ru_stime.tv_usec * 1000u,
      usage.ru_minflt + usage.ru_majflt, (uint64_t)usage.ru_maxrss * 1024u, after.tsc - before.tsc,
      after.ns - before.ns);
  if (pwrite(report, text, (size_t)length, 0) != length) return EXIT_NOT_STARTED;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
