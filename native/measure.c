/**
 * Runs one program and writes what it spent, its children included: node has no wait4 and keeps no descendant from living on.
 * Usage: hak-measure REPORT_FD null|inherit discard|inherit|hash PROGRAM ARG...; the report is one line of JSON.
 *
 * The peak of resident memory is ru_maxrss. A process starts with the peak of who called exec for it, so this program is
 * small (static where it can be, some 0.7 MiB) and reports its own peak as the floor below which nothing was measured.
 * PTRACE_O_TRACEEXIT would give the exact VmHWM of the first process instead, but a traced program cannot be traced by
 * itself (sanitizers, strace), loses setuid, and stops at every signal; and it would not see children.
 *
 * Whoever reads the report owns the run: when the reader is gone, everything that was started is killed.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 1024, READ_BYTES = 32 * 1024, EXIT_NOT_STARTED = 127 };

static volatile pid_t program;

/** How the program ended; `ended` alone says whether it did. */
static struct {
  bool ended;
  int status;
  uint64_t at_ns;
} outcome;

/** What came out of the program, as FNV-1a: equal outputs have equal digests, and nobody here forges any. */
static struct {
  uint64_t digest, bytes;
} output = {0xcbf29ce484222325u, 0};

static const int passed_on[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2};
enum { PASSED_ON = sizeof passed_on / sizeof passed_on[0] };

static uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t ns_of(struct timeval time) {
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_usec * 1000u;
}

/** What the keyboard sends reaches a program of this process group by itself. */
static void pass_on(int number, siginfo_t *info, void *unused) {
  (void)unused;
  if (info->si_code == SI_KERNEL && program > 0 && getpgid(program) == getpgrp()) return;
  if (program > 0) kill(program, number);
}

static void wake(int number) { (void)number; }

/** Of this process itself, which its children start with. */
static uint64_t own_peak_bytes(void) {
  char text[4096];
  const int status = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  const ssize_t length = status < 0 ? -1 : read(status, text, sizeof text - 1);
  if (status >= 0) close(status);
  if (length <= 0) return 0;
  text[length] = '\0';
  const char *line = strstr(text, "VmHWM:");
  return line == NULL ? 0 : strtoull(line + 6, NULL, 10) * 1024u;
}

/** Returns an errno, 0 where the program runs. Memory is the parent's until exec: nothing may be allocated. */
static int start(char **arguments, bool own_group, int out, int err, int in, const sigset_t *mask) {
  volatile int failure = 0;
  const pid_t parent = getpid();
  const pid_t child = vfork();
  if (child == 0) {
    if (own_group) setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(EXIT_NOT_STARTED);
    signal(SIGCHLD, SIG_DFL);
    for (int at = 0; at < PASSED_ON; at += 1) signal(passed_on[at], SIG_DFL);
    if (in >= 0) dup2(in, STDIN_FILENO);
    if (out >= 0) dup2(out, STDOUT_FILENO);
    if (err >= 0) dup2(err, STDERR_FILENO);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execvp(arguments[0], arguments);
    failure = errno;
    _exit(EXIT_NOT_STARTED);
  }
  if (child < 0) return errno;
  program = child;
  return failure;
}

/** Takes note of every child that has ended. False where there is none left, running or not. */
static bool reap(void) {
  for (;;) {
    int status;
    const pid_t child = waitpid(-1, &status, WNOHANG);
    if (child == 0) return true;
    if (child < 0) return errno != ECHILD;
    if (child != program) continue;
    outcome.ended = true;
    outcome.status = status;
    outcome.at_ns = monotonic_ns();
  }
}

/** Kills what still runs, until nothing does: orphans of what is killed become children of this process in turn. */
static int end_the_rest(void) {
  char path[64], text[4096];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  int killed = 0;
  for (int round = 0; reap() && round < 10000; round += 1) {
    const int list = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t length = list < 0 ? -1 : read(list, text, sizeof text - 1);
    if (list >= 0) close(list);
    if (length < 0) {
      if (kill(-program, SIGKILL) == 0) killed += 1;
    } else {
      text[length] = '\0';
      char *at = text;
      for (;;) {
        char *end;
        const long child = strtol(at, &end, 10);
        /* A number that fills the buffer to its end may be cut off. */
        if (end == at || (*end != ' ' && *end != '\n')) break;
        if (kill((pid_t)child, SIGKILL) == 0 && round == 0) killed += 1;
        at = end;
      }
    }
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  }
  return killed;
}

/** False at the end of the output. */
static bool digest_output(int from) {
  static unsigned char bytes[READ_BYTES];
  for (;;) {
    const ssize_t length = read(from, bytes, sizeof bytes);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    if (length == 0) return false;
    for (ssize_t at = 0; at < length; at += 1) output.digest = (output.digest ^ bytes[at]) * 0x100000001b3u;
    output.bytes += (uint64_t)length;
  }
}

/** Until the program has ended; false where the reader of the report has gone before. */
static bool wait_for_program(int report, int from, const sigset_t *mask) {
  struct pollfd watched[] = {{.fd = report}, {.fd = from, .events = POLLIN}};
  while (reap() && !outcome.ended) {
    if (ppoll(watched, 2, NULL, mask) <= 0) continue;
    if (watched[0].revents & (POLLERR | POLLHUP | POLLNVAL)) return false;
    if (watched[1].revents != 0 && !digest_output(from)) watched[1].fd = -1;
  }
  return true;
}

static int usage(void) {
  fprintf(stderr, "usage: hak-measure REPORT_FD null|inherit discard|inherit|hash PROGRAM [ARG...]\n"
                  "       hak-measure --capabilities FILE\n");
  return 2;
}

int main(int count, char **arguments) {
  /* Whether the file grants privileges to who runs it, which node cannot read. */
  if (count == 3 && strcmp(arguments[1], "--capabilities") == 0)
    return getxattr(arguments[2], "security.capability", NULL, 0) > 0 ? 0 : 1;
  if (count < 5 || !isdigit((unsigned char)arguments[1][0])) return usage();
  const int report = atoi(arguments[1]);
  const char *input_choice = arguments[2], *output_choice = arguments[3];
  const bool inherits_input = strcmp(input_choice, "inherit") == 0;
  const bool hashes = strcmp(output_choice, "hash") == 0, discards = strcmp(output_choice, "discard") == 0;
  if (!inherits_input && strcmp(input_choice, "null") != 0) return usage();
  if (!hashes && !discards && strcmp(output_choice, "inherit") != 0) return usage();
  if (fcntl(report, F_SETFD, FD_CLOEXEC) != 0) return usage();

  /* Meant for the program alone: this one was started without it, in case it is not static. */
  const char *preload = getenv("HAKMEM_MEASURE_PRELOAD");
  if (preload != NULL) setenv("LD_PRELOAD", preload, 1);
  unsetenv("HAKMEM_MEASURE_PRELOAD");

  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigset_t blocked, mask;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGCHLD);
  for (int at = 0; at < PASSED_ON; at += 1) sigaddset(&blocked, passed_on[at]);
  sigprocmask(SIG_BLOCK, &blocked, &mask);
  sigaction(SIGCHLD, &(struct sigaction){.sa_handler = wake}, NULL);
  for (int at = 0; at < PASSED_ON; at += 1)
    sigaction(passed_on[at], &(struct sigaction){.sa_sigaction = pass_on, .sa_flags = SA_SIGINFO}, NULL);
  signal(SIGPIPE, SIG_IGN);

  const int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  int ends[2] = {-1, -1};
  if (nothing < 0 || (hashes && pipe2(ends, O_CLOEXEC) != 0)) {
    fprintf(stderr, "hak-measure: %s\n", strerror(errno));
    return EXIT_NOT_STARTED;
  }
  if (hashes) fcntl(ends[0], F_SETFL, O_NONBLOCK);
  const int out = hashes ? ends[1] : discards ? nothing : -1;
  const int err = hashes || discards ? nothing : -1;
  const uint64_t started_ns = monotonic_ns();
  const int failure = start(arguments + 4, !inherits_input, out, err, inherits_input ? -1 : nothing, &mask);
  if (hashes) close(ends[1]);
  if (!wait_for_program(report, ends[0], &mask)) {
    end_the_rest();
    return EXIT_NOT_STARTED;
  }
  const int left_running = end_the_rest();
  if (hashes) digest_output(ends[0]);

  struct rusage usage_of_all = {0};
  getrusage(RUSAGE_CHILDREN, &usage_of_all);
  const int status = outcome.status;
  char text[TEXT_BYTES];
  const int length = snprintf(
      text, sizeof text,
      "{\"pid\": %d, \"failure\": \"%s\", \"status\": %d, \"signal\": %d, \"wall_ns\": %" PRIu64 ", \"user_ns\": %" PRIu64
      ", \"sys_ns\": %" PRIu64 ", \"faults\": %ld, \"major_faults\": %ld, \"resident_peak_bytes\": %" PRIu64
      ", \"resident_floor_bytes\": %" PRIu64 ", \"left_running\": %d, \"output_bytes\": %" PRIu64
      ", \"output_digest\": \"%016" PRIx64 "\"}\n",
      (int)program, failure == 0 ? "" : strerror(failure), WIFEXITED(status) ? WEXITSTATUS(status) : 0,
      WIFSIGNALED(status) ? WTERMSIG(status) : 0, outcome.at_ns - started_ns, ns_of(usage_of_all.ru_utime),
      ns_of(usage_of_all.ru_stime), usage_of_all.ru_minflt + usage_of_all.ru_majflt,
      usage_of_all.ru_majflt,
      (uint64_t)usage_of_all.ru_maxrss * 1024u, own_peak_bytes(), left_running, output.bytes, output.digest);
  return write(report, text, (size_t)length) == length ? 0 : EXIT_NOT_STARTED;
}
