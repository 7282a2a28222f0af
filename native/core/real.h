/* The kernel `real`: the same core, but every action is a system call and every count is measured. hak-replay alone uses it. */
#pragma once
#include "hak.h"

/* Watched: every count is taken. Bare: the mapped path alone, with nobody looking. Idle: not even that, only the core itself. */
enum { HAK_REAL_WATCHED, HAK_REAL_BARE, HAK_REAL_IDLE };

typedef struct {
  hak_kernel kernel;
  hak_memory *memory;
  char *base;
  int64_t region_bytes;
  bool fills;
  /* PAGEMAP_SCAN tells which faults were huge; without it huge faults are not measured. */
  int pagemap;
  int pidfd;
  int64_t faults_before, own_faults;
  int64_t cpu_before_ns;
  int64_t heap_resident_peak_bytes;
  void **heap_block;
  int64_t *heap_bytes;
  int64_t heap_objects;
  int64_t areas_peak;
  /* Of a bare kernel: touches of at least an eighth of a window that began with a wait for memory. */
  int64_t slow_touches, preemptions;
} hak_real;

/* Opens the region and warms everything the replay will use. False, with `trouble` set, where the kernel refuses. */
bool hak_real_open(hak_real *real, hak_memory *memory, int64_t region_bytes, bool fills, int watching);
/* Call right before the first event and right after the last. */
void hak_real_begin(hak_real *real);
void hak_real_end(hak_real *real, hak_measured *measured);

/* bare.c: exchange what an opened kernel does at an action. */
void hak_real_bare(hak_real *real);
void hak_real_idle(hak_real *real);

/* probe.c */
hak_profile hak_probe(void);
/* What must hold for counts to be exact, looked at before and after a run. */
typedef struct {
  int64_t thp_fault_fallback, thp_collapse_alloc, pswpout, pglazyfreed;
} hak_vmstat;
hak_vmstat hak_vmstat_read(void);
void hak_json_preconditions(FILE *out, const hak_vmstat *before, const hak_real *real, const hak_profile *wanted,
                            const hak_profile *found);
void hak_json_profile(FILE *out, const hak_profile *profile);
