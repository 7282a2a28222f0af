/**
 * The same calls while something runs on another CPU: nothing; another process that computes, which takes caches and, under
 * a hypervisor, more; a thread of this process that computes, so that the kernel must tell its CPU that pages went (a
 * shootdown); and one that makes the same calls, so that both want the address space.
 */
#include "calibrate.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REGIONS_MAX = 16, ROUND_PAGES = 512 };
/* Beyond 33 pages the kernel flushes as a whole, which is what can be told from the answer of another CPU. */
enum { SPREAD_PAGES = 64 };

enum { MMAP, FAULT, DONTNEED, MUNMAP, STEPS };
static const char *const step_names[STEPS] = {"mmap", "fault", "dontneed", "munmap"};

enum { REST, COMPUTE, CALL, END };
/* In memory that the other process shares. */
typedef struct {
  atomic_int wanted, doing;
  sem_t wake;
  cpu_set_t cpu;
} helper;
enum { PROCESS, THREAD, HELPERS };
static helper *helpers;

enum { MODES = 4 };
static const struct {
  const char *name;
  int process, thread;
} modes[MODES] = {
    {"alone", REST, REST}, {"unrelated", COMPUTE, REST}, {"beside", REST, COMPUTE}, {"both", REST, CALL}};

static long region_pages;
static int regions_count;

/* One round of every step; nanoseconds a call, of a fault a page. */
static void run_round(int regions_wanted, double cpu_ns[STEPS], double wall_ns[STEPS]) {
  char *regions[REGIONS_MAX];
  for (int step = 0; step < STEPS; step += 1) {
    const int64_t wall_from = hak_wall_ns();
    const hak_watch watch = hak_watch_start();
    for (int at = 0; at < regions_wanted; at += 1) {
      if (step == MMAP) regions[at] = hak_map(region_pages);
      if (step == FAULT) hak_write(regions[at], region_pages);
      if (step == DONTNEED) hak_advise(regions[at], region_pages, MADV_DONTNEED);
      if (step == MUNMAP) hak_unmap(regions[at], region_pages);
    }
    const double times = (double)regions_wanted * (step == FAULT ? (double)region_pages : 1);
    cpu_ns[step] = hak_watch_ns(watch) / times;
    wall_ns[step] = (double)(hak_wall_ns() - wall_from) / times;
    if (step == DONTNEED)
      for (int at = 0; at < regions_wanted; at += 1) hak_write(regions[at], region_pages);
  }
}

static void *serve(void *argument) {
  helper *self = argument;
  sched_setaffinity(0, sizeof self->cpu, &self->cpu);
  for (;;) {
    const int mode = atomic_load(&self->wanted);
    atomic_store(&self->doing, mode);
    if (mode == END) return NULL;
    if (mode == REST) sem_wait(&self->wake);
    if (mode == COMPUTE)
      for (int spin = 0; spin < 1000; spin += 1) __asm__ volatile("" : : : "memory");
    if (mode == CALL) {
      double cpu_ns[STEPS], wall_ns[STEPS];
      run_round(regions_count, cpu_ns, wall_ns);
    }
  }
}

static void ask(int which, int mode) {
  helper *to = &helpers[which];
  if (atomic_load(&to->doing) == mode) return;
  atomic_store(&to->wanted, mode);
  sem_post(&to->wake);
  while (atomic_load(&to->doing) != mode) sched_yield();
}

static void measure_size(hak_rounds rounds) {
  static hak_samples cpu[MODES][STEPS], wall[STEPS];
  for (int step = 0; step < STEPS; step += 1) {
    wall[step].count = 0;
    for (int mode = 0; mode < MODES; mode += 1) cpu[mode][step].count = 0;
  }
  while (hak_next_round(&rounds))
    for (int mode = 0; mode < MODES; mode += 1) {
      double cpu_ns[STEPS], wall_ns[STEPS];
      ask(PROCESS, modes[mode].process);
      ask(THREAD, modes[mode].thread);
      /* A CPU that rests keeps the address space of its last thread until it is told of a change: it is told now. */
      run_round(1, cpu_ns, wall_ns);
      run_round(regions_count, cpu_ns, wall_ns);
      for (int step = 0; step < STEPS; step += 1) {
        hak_samples_add(&cpu[mode][step], cpu_ns[step]);
        if (modes[mode].thread == CALL) hak_samples_add(&wall[step], wall_ns[step]);
      }
    }
  ask(THREAD, REST);
  for (int step = 0; step < STEPS; step += 1) {
    for (int mode = 0; mode < MODES; mode += 1)
      hak_report_median("contention", step_names[step], modes[mode].name, region_pages, &cpu[mode][step]);
    hak_report_median("contention", step_names[step], "both_wall", region_pages, &wall[step]);
  }
}

/* A release of two pages that lie far apart. Nanoseconds a call. */
static double release_spread(char *const regions[REGIONS_MAX]) {
  const long last = SPREAD_PAGES - 1;
  for (int at = 0; at < REGIONS_MAX; at += 1) {
    hak_write(regions[at], 1);
    hak_write(regions[at] + last * HAK_PAGE_BYTES, 1);
  }
  const hak_watch watch = hak_watch_start();
  for (int at = 0; at < REGIONS_MAX; at += 1) hak_advise(regions[at], SPREAD_PAGES, MADV_DONTNEED);
  return hak_watch_ns(watch) / REGIONS_MAX;
}

static double released_beside(int process, int thread, char *const regions[REGIONS_MAX]) {
  ask(PROCESS, process);
  ask(THREAD, thread);
  release_spread(regions);
  return release_spread(regions);
}

/* Pairs, each of the same moment: what both halves of one share drops out of their difference. */
static void measure_shootdown(hak_rounds rounds) {
  static hak_samples adds;
  adds.count = 0;
  char *regions[REGIONS_MAX];
  for (int at = 0; at < REGIONS_MAX; at += 1) regions[at] = hak_map(SPREAD_PAGES);
  while (hak_next_round(&rounds)) {
    const double without_ns = released_beside(COMPUTE, REST, regions);
    hak_samples_add(&adds, released_beside(REST, COMPUTE, regions) - without_ns);
  }
  for (int at = 0; at < REGIONS_MAX; at += 1) hak_unmap(regions[at], SPREAD_PAGES);
  ask(THREAD, REST);
  hak_report_median("shootdown", "beside_adds_ns", "", SPREAD_PAGES, &adds);
}

/* Two CPUs that this process may run on; false where there is one. */
static bool two_cpus(cpu_set_t *mine, cpu_set_t *others) {
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || CPU_COUNT(&allowed) < 2) return false;
  CPU_ZERO(mine);
  CPU_ZERO(others);
  int found = 0;
  for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu += 1)
    if (CPU_ISSET(cpu, &allowed)) CPU_SET(cpu, found++ == 0 ? mine : others);
  return true;
}

static pid_t start_process(void) {
  const pid_t parent = getpid(), child = fork();
  if (child != 0) return child;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() == parent) serve(&helpers[PROCESS]);
  _exit(0);
}

bool hak_measure_contention(void) {
  static const long sizes[] = {1, 16, 512};
  cpu_set_t mine, others, before;
  if (!two_cpus(&mine, &others)) return false;
  helpers = mmap(NULL, sizeof(helper) * HELPERS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (helpers == MAP_FAILED) return false;
  for (int which = 0; which < HELPERS; which += 1) {
    sem_init(&helpers[which].wake, 1, 0);
    helpers[which].cpu = others;
  }
  const pid_t process = start_process();
  pthread_t thread;
  const bool started = process > 0 && pthread_create(&thread, NULL, serve, &helpers[THREAD]) == 0;
  sched_getaffinity(0, sizeof before, &before);
  sched_setaffinity(0, sizeof mine, &mine);
  for (int at = 0; started && at < 3; at += 1) {
    region_pages = sizes[at];
    const long regions = ROUND_PAGES / region_pages;
    regions_count = regions > REGIONS_MAX ? REGIONS_MAX : (int)regions;
    measure_size(hak_rounds_of(21, hak_quick ? 0.12 : 0.25));
  }
  if (started) measure_shootdown(hak_rounds_of(HAK_SAMPLES_MAX, hak_quick ? 0.2 : 0.5));
  sched_setaffinity(0, sizeof before, &before);
  if (started) {
    ask(THREAD, END);
    pthread_join(thread, NULL);
  }
  if (process > 0) {
    kill(process, SIGKILL);
    waitpid(process, NULL, 0);
  }
  return started;
}
