/**
 * What a recorder must stand: each mode counts its own allocations and frees, and every process prints them as
 * "allocations frees bytes" before it ends. Only sizes of MARKED and more count, which nobody else asks for.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MARKED = 20001, MARKED_SIZES = 4000, OWN_STATUS = 7 };

static struct counts {
  atomic_long allocations, frees, bytes;
} own_counts, *counts = &own_counts;

void *marked_malloc(unsigned seed) {
  const size_t size = MARKED + seed % MARKED_SIZES;
  void *block = malloc(size);
  if (block == NULL) return NULL;
  atomic_fetch_add(&counts->allocations, 1);
  atomic_fetch_add(&counts->bytes, size);
  return block;
}

void marked_free(void *block) {
  if (block == NULL) return;
  atomic_fetch_add(&counts->frees, 1);
  free(block);
}

static void set_counts(long allocations, long bytes) {
  counts->allocations = allocations;
  counts->frees = 0;
  counts->bytes = bytes;
}

/** One write, so that lines of several processes do not mix. */
static void print_counts(int descriptor) {
  char line[100];
  const int length =
      snprintf(line, sizeof line, "%ld %ld %ld\n", counts->allocations, counts->frees, counts->bytes);
  if (write(descriptor, line, length) != length) _exit(99);
}

static unsigned next(unsigned *seed) { return *seed = *seed * 1664525 + 1013904223; }

static void rounds(unsigned seed, int count) {
  void *kept[16] = {0};
  for (int round = 0; round < count; round += 1) {
    void **slot = &kept[next(&seed) >> 28];
    marked_free(*slot);
    *slot = marked_malloc(seed >> 8);
  }
  for (int at = 0; at < 16; at += 1) marked_free(kept[at]);
}

enum { THREADS_MAX = 64 };
static pthread_t ids[THREADS_MAX];

static void run_threads(int count, void *(*body)(void *), size_t stack_bytes) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  if (stack_bytes > 0 && pthread_attr_setstacksize(&attributes, stack_bytes) != 0) abort();
  for (int at = 0; at < count; at += 1)
    if (pthread_create(&ids[at], &attributes, body, (void *)(uintptr_t)(at + 1)) != 0) abort();
  for (int at = 0; at < count; at += 1) pthread_join(ids[at], NULL);
}

/** Sixteen threads, each of which frees what the one before it allocated. */
enum { QUEUES = 16, QUEUE_SLOTS = 64, HANDED_OVER = 2500 };
static void *_Atomic queues[QUEUES][QUEUE_SLOTS];

static void *hand_over(void *argument) {
  const unsigned self = (unsigned)(uintptr_t)argument - 1, other = (self + 1) % QUEUES;
  for (int sent = 0, taken = 0; sent < HANDED_OVER || taken < HANDED_OVER;) {
    const bool can_send = sent < HANDED_OVER && queues[other][sent % QUEUE_SLOTS] == NULL;
    if (can_send) {
      void *block = marked_malloc(self * 31 + sent);
      queues[other][sent++ % QUEUE_SLOTS] = block;
    }
    void *block = taken < HANDED_OVER ? queues[self][taken % QUEUE_SLOTS] : NULL;
    if (block != NULL) {
      queues[self][taken++ % QUEUE_SLOTS] = NULL;
      marked_free(block);
    } else if (!can_send) {
      sched_yield();
    }
  }
  return NULL;
}

static atomic_bool over;

static void *until_over(void *argument) {
  for (unsigned seed = (unsigned)(uintptr_t)argument; !over; seed += 1) rounds(seed, 50);
  return NULL;
}

static const char *program;

static void wait_for(pid_t child) {
  int status = -1;
  if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != OWN_STATUS) abort();
}

static void *forks(void *argument) {
  for (volatile int round = 0; round < 4; round += 1) {
    const pid_t child = fork();
    if (child == 0) {
      /* The block of the library's own handler, which ran before. */
      set_counts(1, MARKED);
      rounds(round, 1000 + round);
      print_counts(STDOUT_FILENO);
      _exit(OWN_STATUS);
    }
    wait_for(child);
    char *arguments[] = {(char *)program, "rounds", "100", NULL};
    pid_t spawned;
    if (posix_spawn(&spawned, program, NULL, NULL, arguments, environ) != 0) abort();
    wait_for(spawned);
    const pid_t borrowed = vfork();
    if (borrowed == 0) {
      execv(program, arguments);
      _exit(98);
    }
    wait_for(borrowed);
  }
  return NULL;
}

static void fork_storm(void) {
  pthread_t others[4];
  for (int at = 0; at < 4; at += 1) pthread_create(&others[at], NULL, until_over, (void *)(uintptr_t)at);
  run_threads(3, forks, 0);
  over = true;
  for (int at = 0; at < 4; at += 1) pthread_join(others[at], NULL);
}

static void exec_chain(int left, const char *how) {
  rounds(left, 5000 + left);
  if (left == 0) return;
  print_counts(STDOUT_FILENO);
  char number[12];
  snprintf(number, sizeof number, "%d", left - 1);
  execl(program, program, how, number, NULL);
  abort();
}

static __thread sigjmp_buf way_out;
static __thread volatile sig_atomic_t may_jump;
static atomic_long handled;

static void on_signal(int number) {
  const int saved_errno = errno;
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (write(-1, "", 1) >= 0) abort();
  atomic_fetch_add(&handled, 1);
  errno = saved_errno;
  if (may_jump && number == SIGUSR1) siglongjmp(way_out, 1);
}

static void *jumps(void *argument) {
  const uintptr_t seed = (uintptr_t)argument;
  for (volatile int round = 0; round < 4000; round += 1) {
    if (sigsetjmp(way_out, 1) == 0) {
      may_jump = 1;
      for (volatile int at = 0; at < 50; at += 1) continue;
    }
    may_jump = 0;
    void *block = marked_malloc(seed + round);
    marked_free(block);
  }
  return NULL;
}

static void *signals_them(void *argument) {
  while (!over)
    for (int at = 0; at < 4; at += 1) pthread_kill(ids[at], SIGUSR1);
  return NULL;
}

static void signals(void) {
  struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  sigaction(SIGPROF, &action, NULL);
  sigaction(SIGUSR1, &action, NULL);
  struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGPROF};
  timer_t timer;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) abort();
  const struct itimerspec often = {{0, 50 * 1000}, {0, 50 * 1000}};
  timer_settime(timer, 0, &often, NULL);
  for (int at = 0; at < 4; at += 1) pthread_create(&ids[at], NULL, jumps, (void *)(uintptr_t)at);
  pthread_t sender;
  pthread_create(&sender, NULL, signals_them, NULL);
  rounds(5, 30000);
  /* Joined by the sender's end first: a thread that has ended takes no signals. */
  over = true;
  pthread_join(sender, NULL);
  for (int at = 0; at < 4; at += 1) pthread_join(ids[at], NULL);
  if (handled == 0) abort();
}

static const char *plugins;

static void *loads(void *argument) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s.%d", plugins, (int)(uintptr_t)argument % 3);
  for (int round = 0; round < 60; round += 1) {
    void *library = dlopen(path, round % 2 ? RTLD_NOW : RTLD_LAZY);
    if (library == NULL) abort();
    rounds(round, 20);
    dlclose(library);
  }
  return NULL;
}

static pthread_key_t first_key, second_key;

/** Frees its block, and leaves another for the next time that destructors run. */
static void first_destructor(void *block) {
  marked_free(block);
  pthread_setspecific(second_key, marked_malloc(1));
}
static void second_destructor(void *block) { marked_free(block); }

static void *with_keys(void *argument) {
  const unsigned seed = (unsigned)(uintptr_t)argument;
  pthread_setspecific(first_key, marked_malloc(seed));
  rounds(seed, 40);
  return NULL;
}

static void short_threads(void) {
  pthread_key_create(&second_key, second_destructor);
  pthread_key_create(&first_key, first_destructor);
  for (int round = 0; round < 50; round += 1) run_threads(40, with_keys, PTHREAD_STACK_MIN);
}

static void *fills_buffers(void *argument) {
  rounds((unsigned)(uintptr_t)argument, 20000);
  return NULL;
}

static void *until_cancelled(void *argument) {
  void *block = marked_malloc((unsigned)(uintptr_t)argument);
  pthread_cleanup_push(marked_free, block);
  for (unsigned seed = 0;; seed += 1) {
    rounds(seed, 5);
    pthread_testcancel();
  }
  pthread_cleanup_pop(1);
  return NULL;
}

static void cancels(void) {
  for (int round = 0; round < 5; round += 1) {
    for (int at = 0; at < 16; at += 1) pthread_create(&ids[at], NULL, until_cancelled, (void *)(uintptr_t)at);
    usleep(500 * (round % 4));
    for (int at = 0; at < 16; at += 1) pthread_cancel(ids[at]);
    for (int at = 0; at < 16; at += 1) pthread_join(ids[at], NULL);
  }
}

static void limit(int resource, rlim_t value) {
  const struct rlimit limits = {value, value};
  if (setrlimit(resource, &limits) != 0) abort();
}

static void *with_little_space(void *argument) {
  rounds((unsigned)(uintptr_t)argument, 3000);
  return NULL;
}

static rlim_t address_space_bytes(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  if (file == NULL || fscanf(file, "%ld", &pages) != 1) abort();
  fclose(file);
  return (rlim_t)pages * 4096;
}

/** Counts where a file has them, so that they outlive the process; another process ends this one. */
static void killed(const char *path) {
  const int file = open(path, O_RDWR | O_CREAT, 0600);
  if (ftruncate(file, 4096) != 0) abort();
  counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  const pid_t self = getpid();
  if (fork() == 0) {
    usleep(60000);
    syscall(SYS_kill, self, SIGKILL);
    syscall(SYS_exit_group, 0);
  }
  run_threads(16, until_over, 0);
}

int main(int count, char **arguments) {
  program = arguments[0];
  const char *mode = count > 1 ? arguments[1] : "", *argument = count > 2 ? arguments[2] : "";
  int output = STDOUT_FILENO;
  if (strcmp(mode, "rounds") == 0) rounds(1, atoi(argument));
  else if (strcmp(mode, "hand-over") == 0) run_threads(QUEUES, hand_over, 0);
  else if (strcmp(mode, "fork-storm") == 0) fork_storm();
  else if (strcmp(mode, "exec-chain") == 0) exec_chain(atoi(argument), mode);
  else if (strcmp(mode, "signals") == 0) signals();
  else if (strcmp(mode, "plugins") == 0) plugins = argument, run_threads(6, loads, 0);
  else if (strcmp(mode, "short-threads") == 0) short_threads();
  else if (strcmp(mode, "small-stacks") == 0) run_threads(8, fills_buffers, PTHREAD_STACK_MIN);
  else if (strcmp(mode, "cancels") == 0) cancels();
  else if (strcmp(mode, "few-files") == 0) limit(RLIMIT_NOFILE, 3), run_threads(4, fills_buffers, 0);
  else if (strcmp(mode, "small-files") == 0) limit(RLIMIT_FSIZE, 64 * 1024), run_threads(4, fills_buffers, 0);
  else if (strcmp(mode, "small-space") == 0) {
    limit(RLIMIT_AS, address_space_bytes() + 2 * 1024 * 1024);
    run_threads(4, with_little_space, 128 * 1024);
  } else if (strcmp(mode, "closed") == 0) {
    closefrom(0);
    run_threads(8, fills_buffers, 0);
    output = open(argument, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  } else if (strcmp(mode, "killed") == 0) killed(argument);
  else return 2;
  print_counts(output);
  return OWN_STATUS;
}
