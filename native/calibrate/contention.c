/**
 * The same calls while another thread of this process runs on another CPU: alone, beside one that computes (the kernel must
 * tell its CPU that pages went: a shootdown), and beside one that makes the same calls (both want the address space).
 */
#include "calibrate.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/mman.h>

enum { REGIONS_MAX = 32, ROUND_PAGES = 512 };
enum { REST, COMPUTE, CALL, END, MODES = REST + 3 };
static const char *const mode_names[MODES] = {"alone", "beside", "both"};

enum { MMAP, FAULT, DONTNEED, MUNMAP, STEPS };
static const char *const step_names[STEPS] = {"mmap", "fault", "dontneed", "munmap"};

static atomic_int wanted, doing;
static sem_t wake;
static long region_pages;
static int regions_count;

/* One round of every step; nanoseconds a call, of a fault a page, where they are asked for. */
static void run_round(double cpu_ns[STEPS], double wall_ns[STEPS]) {
  char *regions[REGIONS_MAX];
  for (int step = 0; step < STEPS; step += 1) {
    const int64_t wall_from = hak_wall_ns();
    const hak_watch watch = hak_watch_start();
    for (int at = 0; at < regions_count; at += 1) {
      if (step == MMAP) regions[at] = hak_map(region_pages);
      if (step == FAULT) hak_write(regions[at], region_pages);
      if (step == DONTNEED) hak_advise(regions[at], region_pages, MADV_DONTNEED);
      if (step == MUNMAP) hak_unmap(regions[at], region_pages);
    }
    const double times = (double)regions_count * (step == FAULT ? (double)region_pages : 1);
    cpu_ns[step] = hak_watch_ns(watch) / times;
    wall_ns[step] = (double)(hak_wall_ns() - wall_from) / times;
    if (step == DONTNEED)
      for (int at = 0; at < regions_count; at += 1) hak_write(regions[at], region_pages);
  }
}

static void *other_thread(void *cpu) {
  sched_setaffinity(0, sizeof(cpu_set_t), cpu);
  for (;;) {
    const int mode = atomic_load(&wanted);
    atomic_store(&doing, mode);
    if (mode == END) return NULL;
    if (mode == REST) sem_wait(&wake);
    if (mode == COMPUTE)
      for (int spin = 0; spin < 1000; spin += 1) __asm__ volatile("" : : : "memory");
    if (mode == CALL) {
      double cpu_ns[STEPS], wall_ns[STEPS];
      run_round(cpu_ns, wall_ns);
    }
  }
}

static void ask(int mode) {
  atomic_store(&wanted, mode);
  sem_post(&wake);
  while (atomic_load(&doing) != mode) sched_yield();
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

static void measure_size(hak_rounds rounds) {
  static hak_samples cpu[MODES][STEPS], wall[STEPS];
  for (int step = 0; step < STEPS; step += 1) {
    wall[step].count = 0;
    for (int mode = 0; mode < MODES; mode += 1) cpu[mode][step].count = 0;
  }
  while (hak_next_round(&rounds))
    for (int mode = REST; mode < MODES; mode += 1) {
      double cpu_ns[STEPS], wall_ns[STEPS];
      ask(mode);
      run_round(cpu_ns, wall_ns);
      for (int step = 0; step < STEPS; step += 1) {
        hak_samples_add(&cpu[mode][step], cpu_ns[step]);
        if (mode == CALL) hak_samples_add(&wall[step], wall_ns[step]);
      }
    }
  for (int step = 0; step < STEPS; step += 1) {
    for (int mode = 0; mode < MODES; mode += 1)
      hak_report_median("contention", step_names[step], mode_names[mode], region_pages, &cpu[mode][step]);
    hak_report_median("contention", step_names[step], "both_wall", region_pages, &wall[step]);
  }
}

bool hak_measure_contention(void) {
  static cpu_set_t mine, others, before;
  if (!two_cpus(&mine, &others)) return false;
  sched_getaffinity(0, sizeof before, &before);
  sched_setaffinity(0, sizeof mine, &mine);
  sem_init(&wake, 0, 0);
  pthread_t thread;
  if (pthread_create(&thread, NULL, other_thread, &others) != 0) return false;
  static const long sizes[] = {1, 16, 512};
  for (int at = 0; at < 3; at += 1) {
    region_pages = sizes[at];
    const long regions = ROUND_PAGES / region_pages;
    regions_count = regions > REGIONS_MAX ? REGIONS_MAX : (int)regions;
    measure_size(hak_rounds_of(21, hak_quick ? 0.1 : 0.2));
    ask(REST);
  }
  ask(END);
  pthread_join(thread, NULL);
  sched_setaffinity(0, sizeof before, &before);
  return true;
}
