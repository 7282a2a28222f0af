/** What the parts of hak-calibrate share: the clock, samples and their medians, points that are printed, memory to touch. */
#ifndef HAK_CALIBRATE_H
#define HAK_CALIBRATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HAK_PAGE_BYTES = 4096, HAK_WINDOW_PAGES = 512, HAK_SAMPLES_MAX = 512 };

/* Fewer sizes and rounds. */
extern bool hak_quick;

/* clock.c: the CPU time of this thread, without what reading it takes. */
typedef struct {
  int64_t from_ns;
} hak_watch;
void hak_clock_init(void);
hak_watch hak_watch_start(void);
double hak_watch_ns(hak_watch watch);
int64_t hak_wall_ns(void);
void hak_measure_clocks(void);
/* Longer under way than a pass should take in all: what takes longest is left to others. */
bool hak_is_late(void);

/*
 * Rounds of one measurement. Machines differ tenfold in what a fault takes: so many as `seconds` allow, between 1 and
 * `most`. The first makes page tables and the kernel's own caches: it counts only where there is no other.
 */
typedef struct {
  int most, done;
  int64_t until_ns;
} hak_rounds;
hak_rounds hak_rounds_of(int most, double seconds);
bool hak_next_round(hak_rounds *rounds);

/* samples.c */
typedef struct {
  double ns[HAK_SAMPLES_MAX];
  int count;
} hak_samples;
void hak_samples_add(hak_samples *samples, double ns);
/* Of all but the first, where there are others. Sorts them. NaN of none. */
double hak_samples_median(hak_samples *samples);
/*
 * The same samples' mean, without those far out: a program pays for interrupts and for caches that others emptied, too, which
 * the median of short measurements never sees. `count` at least 1.
 */
double hak_samples_mean(hak_samples *samples);
/* A figure to print; `ns` NaN is left out. The names must outlive the process's work. */
void hak_report(const char *group, const char *name, const char *variant, long at, double ns);
void hak_report_median(const char *group, const char *name, const char *variant, long at, hak_samples *samples);
void hak_report_mean(const char *group, const char *name, const char *variant, long at, hak_samples *samples);
void hak_print_report(void);

/* memory.c: `pages` of anonymous memory. Ends the process where there is none. */
char *hak_map(long pages);
void hak_unmap(char *memory, long pages);
void hak_write(char *memory, long pages);
void hak_read(const char *memory, long pages);
void hak_advise(char *memory, long pages, int advice);
int64_t hak_faults(void);
/* Of small and of huge pages: memory that a guest's kernel was never given is made by the host, at many times the price. */
void hak_warm_guest(long pages, double seconds, bool huge);
/* Pages that may be touched at once without pressing on anything else. */
long hak_pages_to_spare(void);

/* calls.c, faults.c, huge.c, contention.c, library.c: a part of the prices each. */
void hak_measure_calls(void);
void hak_measure_faults(void);
/* In a process made for it: prints what first touches took, for the first so many sizes. */
void hak_touch_fresh(int sizes);
/* False where the kernel makes no huge pages; the counts are of faults in cold guest memory, and of those that got none. */
bool hak_measure_huge(long *cold, long *fallen_back);
/* False where there is one CPU. */
bool hak_measure_contention(void);
void hak_measure_library(void);

#endif
