/* What of this kernel decides counts: probed by doing, not by version. And what must hold for counts to be exact. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "real.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

static const size_t window_bytes = HAK_WINDOW_PAGES * HAK_PAGE_BYTES;
static const char thp_folder[] = "/sys/kernel/mm/transparent_hugepage";

/* The file's text, or an empty one. */
static void read_text(const char *path, char *text, size_t room) {
  text[0] = '\0';
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  size_t length = 0;
  for (;;) {
    const ssize_t count = read(descriptor, text + length, room - 1 - length);
    if (count <= 0) break;
    length += (size_t)count;
  }
  text[length] = '\0';
  close(descriptor);
}

static int64_t faults_now(void) {
  struct rusage usage;
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_minflt;
}

/* Two windows, the first aligned: fresh, so that nothing is mapped behind it yet. */
static char *fresh_window(void) {
  char *raw = mmap(NULL, 2 * window_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return NULL;
  return (char *)(((uintptr_t)raw + window_bytes - 1) / window_bytes * window_bytes);
}

static int64_t write_window(char *window) {
  const int64_t before = faults_now();
  for (size_t at = 0; at < window_bytes; at += HAK_PAGE_BYTES) ((volatile char *)window)[at] = 1;
  return faults_now() - before;
}

static int thp_of_kernel(void) {
  char path[128];
  char text[128];
  snprintf(path, sizeof path, "%s/enabled", thp_folder);
  read_text(path, text, sizeof text);
  if (strstr(text, "[always]") != NULL) return HAK_THP_KERNEL_ALWAYS;
  return strstr(text, "[madvise]") != NULL ? HAK_THP_KERNEL_MADVISE : HAK_THP_KERNEL_NEVER;
}

hak_profile hak_probe(void) {
  hak_profile profile = {.thp_kernel = thp_of_kernel(), .pt_reclaim = true, .huge_zero_write = HAK_HUGE_ZERO_WRITE_HUGE};
  faults_now();
  char *window = fresh_window();
  if (window != NULL && profile.thp_kernel != HAK_THP_KERNEL_NEVER) {
    /* A page table is made by a small fault; after MADV_DONTNEED of the window a huge fault shows that it went. */
    madvise(window, window_bytes, MADV_NOHUGEPAGE);
    *(volatile char *)window = 1;
    madvise(window, window_bytes, MADV_DONTNEED);
    madvise(window, window_bytes, MADV_HUGEPAGE);
    profile.pt_reclaim = write_window(window) == 1;
  }
  window = fresh_window();
  if (window != NULL && profile.thp_kernel != HAK_THP_KERNEL_NEVER) {
    madvise(window, window_bytes, MADV_HUGEPAGE);
    (void)*(volatile char *)window;
    /* 1: a huge page in its place. 512: small ones. 0: the read had made a huge page already, and nothing is to be seen. */
    profile.huge_zero_write = write_window(window) > 1 ? HAK_HUGE_ZERO_WRITE_SPLIT : HAK_HUGE_ZERO_WRITE_HUGE;
  }
  profile.read_maps_zero = true;
  window = fresh_window();
  if (window != NULL) {
    /* A write to the zero page is a second fault; a page of its own is there already. */
    madvise(window, window_bytes, MADV_NOHUGEPAGE);
    (void)*(volatile char *)window;
    const int64_t before = faults_now();
    *(volatile char *)window = 1;
    profile.read_maps_zero = faults_now() - before == 1;
  }
  profile.split_maps_zero = true;
  window = fresh_window();
  if (window != NULL && profile.thp_kernel != HAK_THP_KERNEL_NEVER) {
    /* One page of a huge page is written and another freed: writing all shows how many went to the zero page. */
    madvise(window, window_bytes, MADV_HUGEPAGE);
    *(volatile char *)window = 1;
    madvise(window + HAK_PAGE_BYTES, HAK_PAGE_BYTES, MADV_FREE);
    profile.split_maps_zero = write_window(window) > 0;
  }
  window = fresh_window();
  const int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
  struct iovec one = {window, window_bytes};
  profile.process_madvise = syscall(SYS_process_madvise, pidfd, &one, 1, MADV_DONTNEED, 0) == (ssize_t)window_bytes;
  return profile;
}

static int64_t number_after(const char *text, const char *name) {
  const size_t length = strlen(name);
  for (const char *at = strstr(text, name); at != NULL; at = strstr(at + 1, name))
    if ((at == text || at[-1] == '\n') && at[length] == ' ') return strtoll(at + length, NULL, 10);
  return 0;
}

hak_vmstat hak_vmstat_read(void) {
  static char text[1 << 14];
  read_text("/proc/vmstat", text, sizeof text);
  return (hak_vmstat){
      .thp_fault_fallback = number_after(text, "thp_fault_fallback"),
      .thp_collapse_alloc = number_after(text, "thp_collapse_alloc"),
      .pswpout = number_after(text, "pswpout"),
      .pglazyfreed = number_after(text, "pglazyfreed"),
  };
}

static void put_precondition(FILE *out, const char *name, bool holds, const char *found, const char *wanted, bool last) {
  fprintf(out, "\"%s\":{\"holds\":%s,\"found\":\"%s\",\"wanted\":\"%s\"}%s", name, holds ? "true" : "false", found, wanted,
          last ? "" : ",");
}

static void put_delta(FILE *out, const char *name, int64_t delta, const char *what) {
  char found[64];
  snprintf(found, sizeof found, "%lld %s", (long long)delta, what);
  put_precondition(out, name, delta == 0, found, "0", false);
}

/* True where no size but 2 MiB is ever used for huge pages. */
static bool only_whole_windows(char *found, size_t room) {
  snprintf(found, room, "2 MiB only");
  for (int kib = 8; kib <= 1024; kib *= 2) {
    char path[128];
    char text[128];
    snprintf(path, sizeof path, "%s/hugepages-%dkB/enabled", thp_folder, kib);
    read_text(path, text, sizeof text);
    if (text[0] == '\0' || strstr(text, "[never]") != NULL) continue;
    snprintf(found, room, "%d KiB enabled", kib);
    return false;
  }
  return true;
}

static void memory_limit(char *found, size_t room) {
  char text[64];
  read_text("/sys/fs/cgroup/memory.max", text, sizeof text);
  if (text[0] == '\0') read_text("/sys/fs/cgroup/memory/memory.limit_in_bytes", text, sizeof text);
  text[strcspn(text, "\n")] = '\0';
  snprintf(found, room, "%s", text[0] == '\0' ? "none" : text);
}

void hak_json_profile(FILE *out, const hak_profile *profile) {
  static const char *const thp_names[] = HAK_THP_KERNEL_NAMES;
  static const char *const write_names[] = HAK_HUGE_ZERO_WRITE_NAMES;
  static const char *const truth[] = {"false", "true"};
  fprintf(out,
          "{\"page_bytes\":%ld,\"thp_kernel\":\"%s\",\"pt_reclaim\":%s,\"huge_zero_write\":\"%s\","
          "\"read_maps_zero\":%s,\"split_maps_zero\":%s,\"process_madvise\":%s}",
          sysconf(_SC_PAGESIZE), thp_names[profile->thp_kernel], truth[profile->pt_reclaim],
          write_names[profile->huge_zero_write], truth[profile->read_maps_zero], truth[profile->split_maps_zero],
          truth[profile->process_madvise]);
}

void hak_json_preconditions(FILE *out, const hak_vmstat *before, const hak_real *real, const hak_profile *wanted,
                            const hak_profile *found) {
  const hak_vmstat now = hak_vmstat_read();
  char text[128];
  fputs("{", out);
  const bool same = wanted->thp_kernel == found->thp_kernel && wanted->pt_reclaim == found->pt_reclaim &&
                    wanted->huge_zero_write == found->huge_zero_write && wanted->read_maps_zero == found->read_maps_zero &&
                    wanted->split_maps_zero == found->split_maps_zero;
  put_precondition(out, "profile", same, same ? "that of this kernel" : "another", "the profile of this kernel", false);
  put_delta(out, "huge_page_fallback", now.thp_fault_fallback - before->thp_fault_fallback, "huge faults fell back");
  put_delta(out, "khugepaged", now.thp_collapse_alloc - before->thp_collapse_alloc, "windows collapsed in the background");
  put_delta(out, "swap", now.pswpout - before->pswpout, "pages swapped out");
  put_delta(out, "lazy_free", now.pglazyfreed - before->pglazyfreed, "lazily freed pages reclaimed");
  const bool whole = only_whole_windows(text, sizeof text);
  put_precondition(out, "huge_page_sizes", whole, text, "2 MiB only", false);
  char path[128];
  char zero[16];
  snprintf(path, sizeof path, "%s/use_zero_page", thp_folder);
  read_text(path, zero, sizeof zero);
  put_precondition(out, "huge_zero_page", zero[0] != '0', zero[0] == '0' ? "off" : "on", "on", false);
  char limit[64];
  read_text("/proc/sys/vm/max_map_count", limit, sizeof limit);
  const int64_t areas_max = strtoll(limit, NULL, 10);
  snprintf(text, sizeof text, "%lld of %lld", (long long)real->areas_peak, (long long)areas_max);
  put_precondition(out, "areas", areas_max == 0 || real->areas_peak + 64 < areas_max, text, "below vm.max_map_count", false);
  memory_limit(text, sizeof text);
  put_precondition(out, "memory_limit", true, text, "no reclaim during the run", false);
  put_precondition(out, "huge_faults_measured", real->pagemap >= 0, real->pagemap >= 0 ? "PAGEMAP_SCAN" : "not measured",
                   "PAGEMAP_SCAN (Linux 6.7)", true);
  fputs("}", out);
}
