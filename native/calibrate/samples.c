/** Samples, their medians, and the list of figures that the process prints when all is measured. */
#include "calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { FIGURES_MAX = 1024 };

static struct {
  const char *group, *name, *variant;
  long at;
  double ns;
} figures[FIGURES_MAX];
static int figures_count;

void hak_samples_add(hak_samples *samples, double ns) {
  if (samples->count < HAK_SAMPLES_MAX) samples->ns[samples->count++] = ns;
}

static int by_value(const void *left, const void *right) {
  const double a = *(const double *)left, b = *(const double *)right;
  return (a > b) - (a < b);
}

double hak_samples_median(hak_samples *samples) {
  if (samples->count == 0) return NAN;
  if (samples->count > 1) samples->ns[0] = samples->ns[--samples->count];
  const int count = samples->count;
  qsort(samples->ns, (size_t)count, sizeof samples->ns[0], by_value);
  return (samples->ns[(count - 1) / 2] + samples->ns[count / 2]) / 2;
}

void hak_report(const char *group, const char *name, const char *variant, long at, double ns) {
  if (isnan(ns)) return;
  if (figures_count == FIGURES_MAX) abort();
  figures[figures_count].group = group;
  figures[figures_count].name = name;
  figures[figures_count].variant = variant;
  figures[figures_count].at = at;
  figures[figures_count].ns = ns;
  figures_count += 1;
}

void hak_report_median(const char *group, const char *name, const char *variant, long at, hak_samples *samples) {
  hak_report(group, name, variant, at, hak_samples_median(samples));
}

void hak_print_report(void) {
  for (int at = 0; at < figures_count; at += 1)
    printf("%s\n{\"group\":\"%s\",\"name\":\"%s\",\"variant\":\"%s\",\"at\":%ld,\"ns\":%.3f}", at == 0 ? "" : ",",
           figures[at].group, figures[at].name, figures[at].variant, figures[at].at, figures[at].ns);
}
