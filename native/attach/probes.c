/**
 * Each function is a uprobe of the kernel's tracefs, which perf events of every thread of the process turn on: so its
 * breakpoint is set in that process alone, and the kernel takes it away when our descriptors are closed, however we end.
 */
#define _GNU_SOURCE
#include "probes.h"
#include <asm/perf_regs.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { RING_BYTES = 16 << 20, PAGE = 4096, LISTINGS_MAX = 5, RECORD_BYTES_MAX = 64 * 1024 };

#define TRACING "/sys/kernel/tracing"
#define SAMPLE_TYPE (PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_TID | PERF_SAMPLE_TIME | PERF_SAMPLE_REGS_USER | PERF_SAMPLE_STACK_USER)
#if defined(__x86_64__)
/* In the order in which a sample has them. */
enum register_at { AT_AX, AT_DX, AT_SI, AT_DI, AT_SP, REGISTERS };
static const uint64_t registers_mask = 1u << PERF_REG_X86_AX | 1u << PERF_REG_X86_DX | 1u << PERF_REG_X86_SI |
                                       1u << PERF_REG_X86_DI | 1u << PERF_REG_X86_SP;
#endif

struct probe {
  uint32_t function;
  enum role role;
  char name[NAME_BYTES + 8];
  bool at_return;
  uint64_t kernel_id; /* of tracefs; 0 where there is none */
};

struct source {
  uint64_t id;
  uint32_t probe, root; /* the thread that it was opened for; threads that this one starts report under its id */
};

struct ring {
  int descriptor;
  struct perf_event_mmap_page *page;
  struct report *queue; /* taken from the ring, not handed over yet */
  size_t first, used, room;
};

static struct {
  pid_t pid;
  int cpus;
  char group[64];
  struct probe probes[2 * FUNCTIONS];
  size_t probe_count;
  struct source *sources;
  int *descriptors;
  size_t source_count, source_room;
  uint32_t *threads; /* those that events were opened for */
  size_t thread_count, thread_room;
  struct ring *rings;
  uint64_t lost;
  char record[RECORD_BYTES_MAX];
} this;

void complain(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("hakmem: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *grown(void *items, size_t *room, size_t used, size_t bytes) {
  if (used < *room) return items;
  *room = *room == 0 ? 64 : *room * 2;
  items = realloc(items, *room * bytes);
  if (items == NULL) abort();
  return items;
}

/** Appends a line to a file of tracefs; probes are defined and undefined that way. */
static bool tell_kernel(const char *line) {
  const int descriptor = open(TRACING "/uprobe_events", O_WRONLY | O_APPEND | O_CLOEXEC);
  if (descriptor < 0) return false;
  const size_t length = strlen(line);
  const bool done = write(descriptor, line, length) == (ssize_t)length;
  const int reason = errno;
  close(descriptor);
  errno = reason;
  return done;
}

static uint64_t read_kernel_id(const struct probe *probe) {
  char path[256];
  uint64_t id = 0;
  snprintf(path, sizeof path, TRACING "/events/%s/%s/id", this.group, probe->name);
  FILE *file = fopen(path, "re");
  if (file == NULL) return 0;
  if (fscanf(file, "%" SCNu64, &id) != 1) id = 0;
  fclose(file);
  return id;
}

static bool define(uint32_t function, bool at_return, const struct probe_point *point) {
  struct probe *probe = &this.probes[this.probe_count];
  char line[512];
  *probe = (struct probe){.function = function, .role = point->role, .at_return = at_return};
  snprintf(probe->name, sizeof probe->name, "%s%s", point->name, at_return ? "_return" : "");
  snprintf(line, sizeof line, "%c:%s/%s %s:0x%" PRIx64 "\n", at_return ? 'r' : 'p', this.group, probe->name, point->file,
           point->offset);
  if (!tell_kernel(line)) {
    complain("the kernel does not probe %s: %s", point->name, strerror(errno));
    return false;
  }
  probe->kernel_id = read_kernel_id(probe);
  this.probe_count += 1;
  return probe->kernel_id != 0;
}

/** Those that a killed one of us left behind: they do nothing any more, but their names are taken. */
static void undefine_of_the_dead(void) {
  char line[512];
  FILE *events = fopen(TRACING "/uprobe_events", "re");
  if (events == NULL) return;
  static char dead[256][128];
  size_t count = 0;
  while (count < 256 && fgets(line, sizeof line, events) != NULL) {
    int owner;
    char name[64];
    if (sscanf(line, "%*c:hakmem_%d/%63s", &owner, name) == 2 && kill(owner, 0) != 0 && errno == ESRCH)
      snprintf(dead[count++], sizeof dead[0], "-:hakmem_%d/%s\n", owner, name);
  }
  fclose(events);
  for (size_t at = 0; at < count; at += 1) tell_kernel(dead[at]);
}

/** In a name space of our own, so that nobody else sees it. */
static bool reach_tracefs(void) {
  if (access(TRACING "/uprobe_events", F_OK) == 0) return true;
  return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
         mount("tracefs", TRACING, "tracefs", 0, NULL) == 0 && access(TRACING "/uprobe_events", F_OK) == 0;
}

static int open_event(const struct probe *probe, pid_t tid, int cpu, bool tells_more) {
  struct perf_event_attr attributes = {
      .size = sizeof attributes,
      .type = PERF_TYPE_TRACEPOINT,
      .config = probe->kernel_id,
      .sample_period = 1,
      .sample_type = SAMPLE_TYPE,
      .sample_regs_user = registers_mask,
      .sample_stack_user = probe->role == ROLE_POSIX_MEMALIGN && probe->at_return ? STACK_BYTES_MAX : 8,
      .sample_id_all = 1,
      .inherit = 1,
      .inherit_thread = 1,
      .use_clockid = 1,
      .clockid = CLOCK_MONOTONIC,
      .task = tells_more,
      .comm = tells_more,
      .comm_exec = tells_more,
      .mmap = tells_more,
  };
  return (int)syscall(SYS_perf_event_open, &attributes, tid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
}

/** All events of a processor report into one ring, that of its first. */
static bool join_ring(int descriptor, int cpu) {
  struct ring *ring = &this.rings[cpu];
  if (ring->page != NULL) return ioctl(descriptor, PERF_EVENT_IOC_SET_OUTPUT, ring->descriptor) == 0;
  void *page = mmap(NULL, PAGE + RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (page == MAP_FAILED) return false;
  ring->page = page;
  ring->descriptor = descriptor;
  return true;
}

static bool open_on(size_t probe, pid_t tid, int cpu) {
  const int descriptor = open_event(&this.probes[probe], tid, cpu, probe == 0);
  uint64_t id;
  if (descriptor < 0) return errno == ESRCH || errno == ENODEV; /* the thread has ended; the processor is off */
  if (!join_ring(descriptor, cpu) || ioctl(descriptor, PERF_EVENT_IOC_ID, &id) != 0) {
    close(descriptor);
    return false;
  }
  const size_t room = this.source_room;
  this.sources = grown(this.sources, &this.source_room, this.source_count, sizeof *this.sources);
  if (room != this.source_room) {
    this.descriptors = realloc(this.descriptors, this.source_room * sizeof *this.descriptors);
    if (this.descriptors == NULL) abort();
  }
  this.sources[this.source_count] = (struct source){id, (uint32_t)probe, (uint32_t)tid};
  this.descriptors[this.source_count] = descriptor;
  this.source_count += 1;
  return true;
}

static bool is_opened(uint32_t tid) {
  for (size_t at = 0; at < this.thread_count; at += 1)
    if (this.threads[at] == tid) return true;
  return false;
}

static bool open_thread(uint32_t tid) {
  for (size_t probe = 0; probe < this.probe_count; probe += 1)
    for (int cpu = 0; cpu < this.cpus; cpu += 1)
      if (!open_on(probe, (pid_t)tid, cpu)) return false;
  this.threads = grown(this.threads, &this.thread_room, this.thread_count, sizeof *this.threads);
  this.threads[this.thread_count++] = tid;
  return true;
}

/** Opens for the threads that are not; false on an error. `*opened` says for how many. */
static bool open_threads(size_t *opened) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/task", this.pid);
  DIR *tasks = opendir(path);
  if (tasks == NULL) return false;
  bool done = true;
  *opened = 0;
  for (struct dirent *entry; done && (entry = readdir(tasks)) != NULL;) {
    const uint32_t tid = (uint32_t)strtoul(entry->d_name, NULL, 10);
    if (tid == 0 || is_opened(tid)) continue;
    done = open_thread(tid);
    *opened += 1;
  }
  const int reason = errno;
  closedir(tasks);
  errno = reason;
  return done;
}

static int by_id(const void *a, const void *b) {
  const uint64_t left = ((const struct source *)a)->id, right = ((const struct source *)b)->id;
  return (left > right) - (left < right);
}

static void say_why_not(void) {
  if (errno == EMFILE || errno == ENFILE)
    complain("process %d: too many threads: %zu events of threads, processors and functions are open, and no more may be", this.pid,
             this.source_count);
  else
    complain("process %d: the kernel does not let it be watched: %s", this.pid, strerror(errno));
}

bool probes_open(pid_t pid, const struct allocator *allocator) {
  this.pid = pid;
  this.cpus = (int)sysconf(_SC_NPROCESSORS_CONF);
  this.rings = calloc((size_t)this.cpus, sizeof *this.rings);
  snprintf(this.group, sizeof this.group, "hakmem_%d", getpid());
  if (this.rings == NULL) abort();
  struct rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  if (!reach_tracefs()) {
    complain("recording a live process needs root and a kernel with uprobes: %s/uprobe_events: %s", TRACING, strerror(errno));
    return false;
  }
  undefine_of_the_dead();
  for (size_t at = 0; at < allocator->count; at += 1) {
    const struct probe_point *point = &allocator->points[at];
    const bool returns = point->role != ROLE_FREE && point->role != ROLE_DELETE && point->role != ROLE_NEW_ABOVE;
    if (!define((uint32_t)at, false, point) || (returns && !define((uint32_t)at, true, point))) return false;
  }
  /* Before the threads that fill the rings. */
  setpriority(PRIO_PROCESS, 0, -20);
  size_t opened = 1;
  /* Threads that start meanwhile may have inherited half of the events: they get their own. */
  for (int listing = 0; listing < LISTINGS_MAX && opened > 0; listing += 1)
    if (!open_threads(&opened)) {
      say_why_not();
      return false;
    }
  /* The descriptors need no order. */
  qsort(this.sources, this.source_count, sizeof *this.sources, by_id);
  return true;
}

static const struct source *source_of(uint64_t id) {
  const struct source wanted = {.id = id};
  return this.source_count == 0 ? NULL : bsearch(&wanted, this.sources, this.source_count, sizeof wanted, by_id);
}

/** The next place in the ring's queue. */
static struct report *new_report(struct ring *ring) {
  if (ring->first > 0 && ring->first == ring->used) ring->first = ring->used = 0;
  if (ring->used == ring->room && ring->first > ring->room / 2) {
    memmove(ring->queue, ring->queue + ring->first, (ring->used - ring->first) * sizeof *ring->queue);
    ring->used -= ring->first;
    ring->first = 0;
  }
  ring->queue = grown(ring->queue, &ring->room, ring->used, sizeof *ring->queue);
  return &ring->queue[ring->used++];
}

/** Reads along a record; reading past its end gives zeros. */
struct cursor {
  const char *at, *end;
};

static uint64_t next_long(struct cursor *cursor) {
  uint64_t value = 0;
  if (cursor->end - cursor->at < (ptrdiff_t)sizeof value) return 0;
  memcpy(&value, cursor->at, sizeof value);
  cursor->at += sizeof value;
  return value;
}

static void take_sample(struct ring *ring, struct cursor cursor) {
  uint64_t registers[REGISTERS] = {0};
  const struct source *source = source_of(next_long(&cursor));
  const uint64_t ids = next_long(&cursor), time_ns = next_long(&cursor);
  const uint32_t pid = (uint32_t)ids, tid = (uint32_t)(ids >> 32);
  if (source == NULL || pid != (uint32_t)this.pid) return;
  if (source->root != tid && is_opened(tid)) return;
  if (next_long(&cursor) != PERF_SAMPLE_REGS_ABI_64) return;
  for (int at = 0; at < REGISTERS; at += 1) registers[at] = next_long(&cursor);
  const uint64_t stack_bytes = next_long(&cursor);
  const struct probe *probe = &this.probes[source->probe];
  struct report *report = new_report(ring);
  report->time_ns = time_ns;
  report->kind = probe->at_return ? REPORT_RETURN : REPORT_CALL;
  report->function = probe->function;
  report->role = probe->role;
  report->tid = tid;
  report->arguments[0] = registers[AT_DI];
  report->arguments[1] = registers[AT_SI];
  report->arguments[2] = registers[AT_DX];
  report->result = registers[AT_AX];
  report->stack_pointer = registers[AT_SP];
  report->stack_bytes = 0;
  if (stack_bytes == 0 || stack_bytes > STACK_BYTES_MAX || cursor.end - cursor.at < (ptrdiff_t)stack_bytes) return;
  memcpy(report->stack, cursor.at, stack_bytes);
  cursor.at += stack_bytes;
  const uint64_t whole_bytes = next_long(&cursor);
  report->stack_bytes = (uint32_t)(whole_bytes < stack_bytes ? whole_bytes : stack_bytes);
}

/** Of a record that is no sample the last three words say when, and of which event. */
static void take_other(struct ring *ring, enum report_kind kind, uint32_t tid, struct cursor cursor) {
  cursor.at = cursor.end - 3 * sizeof(uint64_t);
  const uint64_t ids = next_long(&cursor), time_ns = next_long(&cursor);
  if ((uint32_t)ids != (uint32_t)this.pid && kind != REPORT_THREAD_END) return;
  struct report *report = new_report(ring);
  report->time_ns = time_ns;
  report->kind = kind;
  report->tid = tid;
}

static void take_record(struct ring *ring, const struct perf_event_header *header) {
  const struct cursor body = {(const char *)(header + 1), (const char *)header + header->size};
  struct cursor cursor = body;
  switch (header->type) {
    case PERF_RECORD_SAMPLE: take_sample(ring, body); break;
    case PERF_RECORD_LOST:
      next_long(&cursor);
      this.lost += next_long(&cursor);
      break;
    case PERF_RECORD_EXIT:
      next_long(&cursor);
      take_other(ring, REPORT_THREAD_END, (uint32_t)next_long(&cursor), body);
      break;
    case PERF_RECORD_COMM:
      if (header->misc & PERF_RECORD_MISC_COMM_EXEC) take_other(ring, REPORT_EXEC, 0, body);
      break;
    case PERF_RECORD_MMAP: take_other(ring, REPORT_MAP, 0, body); break;
    default: break;
  }
}

/** Copies what lies in the ring now, so that the kernel has its room again. */
static void empty_ring(struct ring *ring) {
  const char *data = (const char *)ring->page + PAGE;
  const uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
  uint64_t tail = ring->page->data_tail;
  while (tail < head) {
    struct perf_event_header header;
    /* Records are aligned to 8 bytes, so a header is never split; what follows it may be. */
    memcpy(&header, data + tail % RING_BYTES, sizeof header);
    if (header.size < sizeof header) break;
    const size_t to_end = RING_BYTES - tail % RING_BYTES, first = header.size < to_end ? header.size : to_end;
    memcpy(this.record, data + tail % RING_BYTES, first);
    memcpy(this.record + first, data, header.size - first);
    take_record(ring, (const struct perf_event_header *)this.record);
    tail += header.size;
    __atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
  }
}

static struct ring *with_oldest(uint64_t until_ns) {
  struct ring *oldest = NULL;
  for (int cpu = 0; cpu < this.cpus; cpu += 1) {
    struct ring *ring = &this.rings[cpu];
    if (ring->first == ring->used || ring->queue[ring->first].time_ns >= until_ns) continue;
    if (oldest == NULL || ring->queue[ring->first].time_ns < oldest->queue[oldest->first].time_ns) oldest = ring;
  }
  return oldest;
}

void probes_read(uint64_t until_ns, void (*take)(const struct report *report)) {
  for (int cpu = 0; cpu < this.cpus; cpu += 1)
    if (this.rings[cpu].page != NULL) empty_ring(&this.rings[cpu]);
  for (struct ring *ring; (ring = with_oldest(until_ns)) != NULL;) {
    const struct report report = ring->queue[ring->first];
    ring->first += 1;
    take(&report);
  }
}

uint64_t probes_lost(void) { return this.lost; }

void probes_close(void) {
  /* What is mapped holds its event open. */
  for (int cpu = 0; cpu < this.cpus; cpu += 1) {
    if (this.rings[cpu].page != NULL) munmap(this.rings[cpu].page, PAGE + RING_BYTES);
    this.rings[cpu].page = NULL;
  }
  for (size_t at = 0; at < this.source_count; at += 1) close(this.descriptors[at]);
  this.source_count = 0;
  for (size_t at = 0; at < this.probe_count; at += 1) {
    char line[256];
    snprintf(line, sizeof line, "-:%s/%s\n", this.group, this.probes[at].name);
    tell_kernel(line);
  }
  this.probe_count = 0;
}
