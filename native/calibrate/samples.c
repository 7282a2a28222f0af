/** Samples, their medians, and the list of figures that the process prints when all is measured. */
#include "calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* So many times the middle distance from the median: of memory that the host had to make, not of an interrupt. */
enum { FIGURES_MAX = 1024, FAR_OUT = 16 };

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

static double middle(double *values, int count) {
  qsort(values, (size_t)count, sizeof values[0], by_value);
  return (values[(count - 1) / 2] + values[count / 2]) / 2;
}

double hak_samples_median(hak_samples *samples) {
  if (samples->count == 0) return NAN;
  if (samples->count > 1) samples->ns[0] = samples->ns[--samples->count];
  return middle(samples->ns, samples->count);
}

double hak_samples_mean(hak_samples *samples) {
  const double median = hak_samples_median(samples);
  double distances[HAK_SAMPLES_MAX];
  for (int at = 0; at < samples->count; at += 1) distances[at] = fabs(samples->ns[at] - median);
  const double most = FAR_OUT * middle(distances, samples->count);
  double sum = 0;
  int kept = 0;
  for (int at = 0; at < samples->count; at += 1)
    if (fabs(samples->ns[at] - median) <= most) {
      sum += samples->ns[at];
      kept += 1;
    }
  return kept == 0 ? median : sum / kept;
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

void hak_report_mean(const char *group, const char *name, const char *variant, long at, hak_samples *samples) {
  if (samples->count > 0) hak_report(group, name, variant, at, hak_samples_mean(samples));
}

void hak_print_report(void) {
  for (int at = 0; at < figures_count; at += 1)
    printf("%s\n{\"group\":\"%s\",\"name\":\"%s\",\"variant\":\"%s\",\"at\":%ld,\"ns\":%.3f}", at == 0 ? "" : ",",
           figures[at].group, figures[at].name, figures[at].variant, figures[at].at, figures[at].ns);
}
