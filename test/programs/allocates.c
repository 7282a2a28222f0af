// What the recorder is tested on: each mode asks the allocator for things that the test counts.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile sink;

static void *kept(void *block) {
  sink = block;
  return block;
}

static int every_call(void) {
  void *block = kept(malloc(1001));
  block = kept(realloc(block, 1002));
  block = kept(realloc(block, 3000000));
  block = kept(realloc(block, 1003));
  block = kept(realloc(block, 0));
  block = kept(realloc(NULL, 1004));
  free(block);
  free(kept(calloc(7, 143)));
  free(kept(aligned_alloc(64, 1024)));
  free(kept(memalign(4096, 1007)));
  free(kept(valloc(1008)));
  if (posix_memalign(&block, 256, 1009) == 0) free(kept(block));
  if (posix_memalign(&block, 24, 1009) != EINVAL) return 1;
  block = kept(reallocarray(NULL, 10, 101));
  block = kept(reallocarray(block, 20, 101));
  free(block);
  free(NULL);
  if (kept(malloc((size_t)-100)) != NULL || kept(calloc((size_t)-1, 8)) != NULL) return 1;
  block = kept(malloc(1011));
  if (kept(realloc(block, (size_t)-100)) != NULL) return 1;
  if (malloc_usable_size(block) < 1011) return 1;
  return 0;
}

static int keeps_errno(void) {
  for (int at = 0; at < 100000; at += 1) {
    errno = 77;
    free(kept(malloc(100 + at % 50)));
    if (errno != 77) return 1;
  }
  return 0;
}

enum { STORM_SLOTS = 512, STORM_ROUNDS = 30000 };
static void *storm_slots[STORM_SLOTS];

/** Each thread swaps blocks of its own for those that others left, and frees or moves what it got. */
static void *storm(void *argument) {
  unsigned seed = (unsigned)(uintptr_t)argument;
  for (int round = 0; round < STORM_ROUNDS; round += 1) {
    seed = seed * 1664525 + 1013904223;
    void *mine = malloc(16 + (seed >> 8) % 200);
    void *other = __atomic_exchange_n(&storm_slots[(seed >> 20) % STORM_SLOTS], mine, __ATOMIC_ACQ_REL);
    if (other != NULL && seed % 5 == 0) other = realloc(other, 300 + (seed >> 12) % 500);
    free(other);
  }
  return NULL;
}

static int threads(int count) {
  pthread_t ids[16];
  for (int at = 0; at < count; at += 1) pthread_create(&ids[at], NULL, storm, (void *)(uintptr_t)(at + 1));
  for (int at = 0; at < count; at += 1) pthread_join(ids[at], NULL);
  for (int at = 0; at < STORM_SLOTS; at += 1) free(storm_slots[at]);
  return 0;
}

static void *one_block(void *argument) {
  free(kept(malloc((size_t)argument)));
  return NULL;
}

static int short_threads(int count) {
  for (int at = 0; at < count; at += 1) {
    pthread_t id;
    pthread_create(&id, NULL, one_block, (void *)(uintptr_t)(5000 + at));
    pthread_join(id, NULL);
  }
  return 0;
}

/** A fork that runs no handlers. */
static int raw_fork(void) {
  sink = malloc(2001);
  const pid_t child = (pid_t)syscall(SYS_fork);
  if (child == 0) {
    for (int at = 0; at < 5; at += 1) sink = malloc(2200);
    _exit(0);
  }
  waitpid(child, NULL, 0);
  sink = malloc(2002);
  return 0;
}

static int forks(void) {
  void *inherited[3] = {malloc(2001), malloc(2002), malloc(2003)};
  sink = inherited;
  const pid_t child = fork();
  if (child == 0) {
    for (int at = 0; at < 3; at += 1) free(inherited[at]);
    for (int at = 0; at < 7; at += 1) sink = malloc(2100 + at);
    _exit(9);
  }
  int status;
  waitpid(child, &status, 0);
  for (int at = 0; at < 3; at += 1) free(inherited[at]);
  return WEXITSTATUS(status) == 9 ? 0 : 1;
}

static void many_then(int signal_number) {
  for (int at = 0; at < 50000; at += 1) free(kept(malloc(3000 + at % 3)));
  for (int at = 0; at < 1000; at += 1) kept(malloc(4000));
  kill(getpid(), signal_number);
  for (;;) pause();
}

static int touches(void) {
  char *block = malloc(300 * 4096);
  for (int page = 0; page < 37; page += 1) block[page * 4096] = 1;
  block = realloc(block, 600 * 4096);
  for (int page = 300; page < 400; page += 1) block[page * 4096] = 1;
  free(kept(block));
  free(kept(calloc(200, 4096)));
  memset(kept(malloc(1000000)), 1, 1000000);
  free(kept(malloc(100000)));
  block = kept(malloc(250 * 4096));
  block[0] = block[5 * 4096] = block[9 * 4096] = 1;
  return 0;
}

/** A large block that glibc cuts from pages which others have used: they lie below a block that stays. */
static int touches_heap(void) {
  void *small[40];
  for (int at = 0; at < 40; at += 1) memset(small[at] = malloc(100000), 1, 100000);
  void *barrier = kept(malloc(1000));
  for (int at = 0; at < 40; at += 1) free(small[at]);
  char *block = kept(malloc(600 * 4096));
  for (int page = 100; page < 150; page += 1) block[page * 4096] = 1;
  free(block);
  block = kept(calloc(1, 500 * 4096));
  for (int at = 0; at < 500 * 4096; at += 1)
    if (block[at] != 0) return 1;
  free(block);
  block = malloc(100001);
  memset(block, 7, 100001);
  block = kept(realloc(block, 400 * 4096));
  for (int at = 0; at < 100001; at += 1)
    if (block[at] != 7) return 1;
  free(block);
  free(barrier);
  return 0;
}

static int plugin(const char *path, int steps) {
  void *library = dlopen(path, RTLD_NOW);
  if (library == NULL) return 1;
  void *(*allocate)(size_t) = (void *(*)(size_t))dlsym(library, "plugin_allocate");
  for (int at = 0; at < 10; at += 1) free(kept(allocate(6000)));
  for (int step = 0; step < steps; step += 1) {
    for (int at = 0; at < 1000; at += 1) free(kept(allocate(6001)));
    usleep(5000);
  }
  if (steps > 0) kill(getpid(), SIGKILL);
  return 0;
}

static __attribute__((noinline)) void *inner(size_t size) {
  void *block = malloc(size);
  __asm__ volatile("" : "+r"(block));
  return block;
}
static __attribute__((noinline)) void *left(size_t size) {
  void *block = inner(size);
  __asm__ volatile("" : "+r"(block));
  return block;
}
static __attribute__((noinline)) void *right(size_t size) {
  void *block = inner(size);
  __asm__ volatile("" : "+r"(block));
  return block;
}

static int stacks(void) {
  for (int at = 0; at < 5; at += 1) {
    free(kept(left(7001)));
    free(kept(right(7002)));
  }
  return 0;
}

/** As daemons do. */
static int closes_everything(void) {
  for (int descriptor = 3; descriptor < 1024; descriptor += 1) close(descriptor);
  for (int at = 0; at < 100000; at += 1) free(kept(malloc(8000)));
  return 0;
}

static void interrupted(int number) {
  (void)number;
  errno = EINTR;
}

static int signals(void) {
  struct sigaction action = {.sa_handler = interrupted};
  sigaction(SIGALRM, &action, NULL);
  ualarm(200, 200);
  for (int at = 0; at < 500000; at += 1) free(kept(malloc(9000)));
  return 0;
}

int main(int count, char **arguments) {
  const char *mode = count > 1 ? arguments[1] : "";
  const char *argument = count > 2 ? arguments[2] : "";
  if (strcmp(mode, "every-call") == 0) return every_call();
  if (strcmp(mode, "errno") == 0) return keeps_errno();
  if (strcmp(mode, "threads") == 0) return threads(atoi(argument));
  if (strcmp(mode, "short-threads") == 0) return short_threads(atoi(argument));
  if (strcmp(mode, "raw-fork") == 0) return raw_fork();
  if (strcmp(mode, "fork") == 0) return forks();
  if (strcmp(mode, "kill") == 0) many_then(atoi(argument));
  if (strcmp(mode, "touch") == 0) return touches();
  if (strcmp(mode, "touch-heap") == 0) return touches_heap();
  if (strcmp(mode, "plugin") == 0) return plugin(argument, 0);
  if (strcmp(mode, "plugin-kill") == 0) return plugin(argument, 150);
  if (strcmp(mode, "stacks") == 0) return stacks();
  if (strcmp(mode, "close") == 0) return closes_everything();
  if (strcmp(mode, "signals") == 0) return signals();
  if (strcmp(mode, "wait") == 0) {
    kept(malloc(2345));
    if (write(STDOUT_FILENO, "started\n", 8) == 8) pause();
  }
  if (strcmp(mode, "exit") == 0) return atoi(argument);
  if (strcmp(mode, "exec") == 0) {
    kept(malloc(2222));
    execl(arguments[0], arguments[0], "every-call", NULL);
  }
  return 2;
}
