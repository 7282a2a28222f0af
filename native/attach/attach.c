/**
 * Records a process that runs already, from outside: hak-attach DIRECTORY PID FOR_NS MIN_SIZE MAX_BYTES writes
 * DIRECTORY/PID.0 until the process ends, becomes another program, FOR_NS are over (0: no limit), the recording has
 * MAX_BYTES (0: no limit), or SIGINT or SIGTERM comes. Exit codes: 0 recorded, 1 not allowed or not possible, 2 no such process.
 */
#define _GNU_SOURCE
#include "allocator.h"
#include "probes.h"
#include "raw_files.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
  NESTED_MAX = 8,
  THREAD_SLOTS = 1 << 16, /* of the hash table; the kernel's own limit of threads is lower in practice */
  ROUND_MS = 5,
  /* A processor may write its report this much after its time. */
  SETTLED_NS = 50 * 1000 * 1000,
  FLUSH_NS = 1000 * 1000 * 1000,
  MAPS_NS = 250 * 1000 * 1000,
  /* Of operator new, which calls malloc. */
  NEW_FRAME_BYTES_MAX = 512,
  MALLOCX_ALIGN_BITS = 63, /* of jemalloc's flags: the power of two */
};

/** A call that has not returned. */
struct call {
  uint32_t function;
  uint64_t stack_pointer, arguments[3], site, time_ns;
};

struct thread {
  uint32_t tid; /* 0: the slot is free */
  struct stream *stream;
  struct call call; /* the outermost; those that it makes itself do not count */
  bool is_calling;
  /* Of the outermost operator new: who called it, and for how much. */
  uint64_t new_site, new_size, new_stack_pointer;
  /* The last call was to free it: one free may go through another. */
  uint64_t freed, freed_stack_pointer;
  uint32_t freed_by;
};

static pid_t target;

static struct {
  struct thread *threads;
  uint32_t thread_count;
  uint64_t maps_ns;
  bool became_another, has_new_maps;
} this;

static struct thread *thread_of(uint32_t tid) {
  uint32_t slot = tid * 2654435769u % THREAD_SLOTS;
  while (this.threads[slot].tid != 0 && this.threads[slot].tid != tid) slot = (slot + 1) % THREAD_SLOTS;
  struct thread *thread = &this.threads[slot];
  if (thread->tid == 0) {
    /* Slots of ended threads stay taken, for the numbers come again; a full table would search for ever. */
    if (++this.thread_count == THREAD_SLOTS) {
      complain("more than %d threads", THREAD_SLOTS);
      exit(EXIT_FAILURE);
    }
    thread->tid = tid;
  }
  return thread;
}

static struct stream *stream_of(struct thread *thread, uint64_t time_ns) {
  if (thread->stream == NULL) thread->stream = raw_take_stream(time_ns);
  return thread->stream;
}

static uint64_t word_at(const struct report *report, uint64_t offset) {
  uint64_t word = 0;
  if (offset + sizeof word <= report->stack_bytes) memcpy(&word, report->stack + offset, sizeof word);
  return word;
}

static void put_free(struct thread *thread, uint64_t block, uint64_t time_ns) {
  if (block != 0) raw_put(stream_of(thread, time_ns), KIND_FREE, block, time_ns, NULL, 0);
}

static void take_free(struct thread *thread, const struct report *report) {
  const uint64_t block = report->arguments[0];
  const bool is_inner = block == thread->freed && report->function != thread->freed_by &&
                        report->stack_pointer <= thread->freed_stack_pointer;
  if (!is_inner) put_free(thread, block, report->time_ns);
  thread->freed = block;
  thread->freed_by = report->function;
  thread->freed_stack_pointer = report->stack_pointer;
}

/** Whether the report's call was made by the operator new that was called last. */
static bool is_below_new(const struct thread *thread, const struct report *report) {
  const uint64_t below = thread->new_stack_pointer - report->stack_pointer;
  return thread->new_site != 0 && below > 0 && below <= NEW_FRAME_BYTES_MAX;
}

static void take_new(struct thread *thread, const struct report *report) {
  if (is_below_new(thread, report)) return;
  thread->new_site = word_at(report, 0);
  thread->new_size = report->arguments[0];
  thread->new_stack_pointer = report->stack_pointer;
}

/** Where the kernel lets a function return to whose return is probed; 0 where that is not known. */
static uint64_t find_trampoline(void) {
  char path[64], line[4096];
  uint64_t start = 0;
  snprintf(path, sizeof path, "/proc/%d/maps", target);
  FILE *maps = fopen(path, "re");
  if (maps == NULL) return 0;
  while (start == 0 && fgets(line, sizeof line, maps) != NULL)
    if (strstr(line, " [uprobes]") != NULL) start = strtoull(line, NULL, 16);
  fclose(maps);
  return start;
}

/** One function that jumped to another, at the same place on the stack: what it returns to is the kernel's. */
static bool is_tail_call(const struct thread *thread, const struct report *report) {
  static uint64_t trampoline;
  if (report->stack_pointer != thread->call.stack_pointer || report->function == thread->call.function) return false;
  if (trampoline == 0) trampoline = find_trampoline();
  return trampoline != 0 && word_at(report, 0) - trampoline < PAGE_BYTES;
}

static void take_call(struct thread *thread, const struct report *report) {
  /* A call at or above another's place on the stack: that one was left by longjmp, or its return was lost. */
  if (thread->is_calling && report->stack_pointer >= thread->call.stack_pointer && !is_tail_call(thread, report))
    thread->is_calling = false;
  if (thread->is_calling) return;
  if (report->role == ROLE_NEW_ABOVE) {
    take_new(thread, report);
    return;
  }
  const bool from_new = is_below_new(thread, report);
  const uint64_t site = from_new ? thread->new_site : word_at(report, 0);
  thread->new_site = 0;
  if (report->role == ROLE_FREE || report->role == ROLE_DELETE) {
    take_free(thread, report);
    return;
  }
  thread->freed = 0;
  thread->is_calling = true;
  struct call *call = &thread->call;
  *call = (struct call){.function = report->function,
                        .stack_pointer = report->stack_pointer,
                        .site = site,
                        .time_ns = report->time_ns};
  memcpy(call->arguments, report->arguments, sizeof call->arguments);
  /* operator new asks malloc for one byte where none was asked of it. */
  if (from_new && thread->new_size == 0 && report->role == ROLE_MALLOC) call->arguments[0] = 0;
}

static void put_allocation(struct thread *thread, enum kind kind, uint64_t block, uint64_t bytes, uint64_t align,
                           uint64_t time_ns) {
  uint64_t power = 0;
  while (power < 31 && 1ull << power < align) power += 1;
  const uint64_t words[] = {bytes | (align == 0 ? 0 : power << 56), thread->call.site};
  raw_put(stream_of(thread, time_ns), kind, block, time_ns, words, 2);
}

static void put_reallocation(struct thread *thread, uint64_t old_block, uint64_t block, uint64_t bytes, uint64_t time_ns) {
  if (old_block == 0) {
    if (block != 0) put_allocation(thread, KIND_MALLOC, block, bytes, 0, time_ns);
  } else if (bytes == 0) {
    put_free(thread, old_block, thread->call.time_ns);
    if (block != 0) put_allocation(thread, KIND_MALLOC, block, 0, 0, time_ns);
  } else if (block != 0) {
    raw_put(stream_of(thread, time_ns), KIND_MOVE, old_block, thread->call.time_ns, NULL, 0);
    put_allocation(thread, KIND_REALLOC, block, bytes, 0, time_ns);
  }
}

/** What posix_memalign stored, as the stack had it when it returned: a pointer elsewhere is read now, and may be newer. */
static uint64_t stored_pointer(const struct report *report, uint64_t address, pid_t pid) {
  if (address >= report->stack_pointer && address - report->stack_pointer < report->stack_bytes)
    return word_at(report, address - report->stack_pointer);
  uint64_t pointer = 0;
  const struct {
    void *base;
    size_t length;
  } here = {&pointer, sizeof pointer}, there = {(void *)(uintptr_t)address, sizeof pointer};
  return syscall(SYS_process_vm_readv, pid, &here, 1, &there, 1, 0) == sizeof pointer ? pointer : 0;
}

static uint64_t whole_pages(uint64_t bytes) { return (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1); }

static void take_return(struct thread *thread, const struct report *report) {
  const struct call *call = &thread->call;
  /* The return address is off the stack by now. */
  if (!thread->is_calling || call->function != report->function ||
      report->stack_pointer != call->stack_pointer + sizeof(uint64_t))
    return;
  thread->is_calling = false;
  const uint64_t *arguments = call->arguments;
  uint64_t block = report->result;
  const uint64_t time_ns = report->time_ns;
  const uint64_t first = arguments[0], second = arguments[1], third = arguments[2];
  if (report->role == ROLE_REALLOC) {
    put_reallocation(thread, first, block, second, time_ns);
    return;
  }
  if (report->role == ROLE_REALLOCARRAY) {
    put_reallocation(thread, first, block, second * third, time_ns);
    return;
  }
  if (report->role == ROLE_POSIX_MEMALIGN) block = (uint32_t)block == 0 ? stored_pointer(report, first, target) : 0;
  if (block == 0) return;
  switch (report->role) {
    case ROLE_MALLOC:
    case ROLE_NEW: put_allocation(thread, KIND_MALLOC, block, first, 0, time_ns); break;
    case ROLE_MALLOCX: {
      const unsigned power = second & MALLOCX_ALIGN_BITS;
      put_allocation(thread, power == 0 ? KIND_MALLOC : KIND_ALIGNED, block, first, power == 0 ? 0 : 1ull << power, time_ns);
      break;
    }
    case ROLE_CALLOC: put_allocation(thread, KIND_CALLOC, block, first * second, 0, time_ns); break;
    case ROLE_POSIX_MEMALIGN: put_allocation(thread, KIND_ALIGNED, block, third, second, time_ns); break;
    case ROLE_MEMALIGN: put_allocation(thread, KIND_ALIGNED, block, second, first, time_ns); break;
    case ROLE_NEW_ALIGNED: put_allocation(thread, KIND_ALIGNED, block, first, second, time_ns); break;
    case ROLE_VALLOC: put_allocation(thread, KIND_ALIGNED, block, first, PAGE_BYTES, time_ns); break;
    case ROLE_PVALLOC: put_allocation(thread, KIND_ALIGNED, block, whole_pages(first), PAGE_BYTES, time_ns); break;
    default: break;
  }
}

static void take(const struct report *report) {
  if (this.became_another) return;
  if (report->kind == REPORT_EXEC) {
    this.became_another = true;
    return;
  }
  if (report->kind == REPORT_MAP) {
    this.has_new_maps = true;
    return;
  }
  struct thread *thread = thread_of(report->tid);
  if (report->kind == REPORT_CALL) {
    take_call(thread, report);
  } else if (report->kind == REPORT_RETURN) {
    take_return(thread, report);
  } else if (report->kind == REPORT_THREAD_END) {
    if (thread->stream != NULL) raw_give_back(thread->stream);
    thread->stream = NULL;
    thread->is_calling = false;
    thread->new_site = 0;
  }
}

static void note_maps(uint64_t now) {
  if (!this.has_new_maps || now - this.maps_ns < MAPS_NS) return;
  this.has_new_maps = false;
  this.maps_ns = now;
  raw_note_maps();
}

/** Until there is a reason to end, which it returns. */
static enum attached watch(int process, int signals, uint64_t end_ns, uint64_t max_bytes) {
  uint64_t flushed_ns = now_ns();
  for (;;) {
    struct pollfd waits[] = {{process, POLLIN, 0}, {signals, POLLIN, 0}};
    poll(waits, 2, ROUND_MS);
    const uint64_t now = now_ns();
    probes_read(now - SETTLED_NS, take);
    note_maps(now);
    if (this.became_another) return ATTACHED_EXEC;
    if (waits[0].revents != 0) return ATTACHED_EXIT;
    if (waits[1].revents != 0 || (end_ns != 0 && now >= end_ns)) return ATTACHED_LET_GO;
    if (now - flushed_ns < FLUSH_NS) continue;
    flushed_ns = now;
    const uint64_t bytes = raw_flush(now, probes_lost(), ATTACHED_LET_GO);
    if (max_bytes != 0 && bytes >= max_bytes) return ATTACHED_FULL;
  }
}

int main(int count, char **arguments) {
  if (count != 6) {
    fprintf(stderr, "usage: hak-attach DIRECTORY PID FOR_NS MIN_SIZE MAX_BYTES\n");
    return 2;
  }
  const uint64_t for_ns = strtoull(arguments[3], NULL, 10), min_size = strtoull(arguments[4], NULL, 10);
  const uint64_t max_bytes = strtoull(arguments[5], NULL, 10);
  target = (pid_t)strtol(arguments[2], NULL, 10);
  const int process = (int)syscall(SYS_pidfd_open, target, 0);
  if (process < 0) {
    complain("process %d: %s", target, errno == ESRCH ? "there is none" : strerror(errno));
    return 2;
  }
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGHUP);
  sigprocmask(SIG_BLOCK, &ending, NULL);
  const int signals = signalfd(-1, &ending, SFD_CLOEXEC);
  struct allocator allocator;
  if (!find_allocator(target, &allocator)) {
    complain("process %d: %s", target,
             errno != 0 ? strerror(errno) : "no malloc and free by name in its files: it has none, or is stripped and static");
    return EXIT_FAILURE;
  }
  this.threads = calloc(THREAD_SLOTS, sizeof *this.threads);
  if (this.threads == NULL) abort();
  const uint64_t start_ns = now_ns();
  char folder[512];
  snprintf(folder, sizeof folder, "%s/%d.0", arguments[1], target);
  atexit(probes_close);
  if (!probes_open(target, &allocator)) return EXIT_FAILURE;
  raw_begin(folder, (uint32_t)target, min_size, start_ns);
  fprintf(stderr, "hakmem: recording process %d, its malloc is in %s; Ctrl-C ends the recording, not the process\n", target,
          allocator.name);
  const enum attached reason = watch(process, signals, for_ns == 0 ? 0 : start_ns + for_ns, max_bytes);
  const uint64_t end_ns = now_ns();
  if (reason == ATTACHED_EXIT || reason == ATTACHED_LET_GO) usleep(SETTLED_NS / 1000);
  probes_read(end_ns, take);
  probes_close();
  if (this.has_new_maps) raw_note_maps();
  raw_flush(end_ns, probes_lost(), this.became_another ? ATTACHED_EXEC : reason);
  return EXIT_SUCCESS;
}
