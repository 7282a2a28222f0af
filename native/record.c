/**
 * The recorder: preloaded into a program, it writes down every call of the allocator and hands it on to glibc.
 *
 * Each thread appends 64-bit words to a buffer of its own that is mapped from a file, so that what was written outlives
 * the process however it ends. traces/recording.ts reads the files; docs/RECORDING.md has their layout and the reasons.
 * Nothing in here allocates, and nothing in here is a cancellation point.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#include "recorder/block_set.h"
#include "recorder/control.h"
#include "recorder/lock.h"
#include "recorder/raw.h"
#include "recorder/sample.h"

#define EXPORT __attribute__((visibility("default")))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define always_inline inline __attribute__((always_inline))

/* glibc's allocator under the names that no interposer takes away: safe before the first constructor, without dlsym. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

enum {
  RECORD_WORDS_MAX = 80,
  STACK_FRAMES_MAX = 64,
  STACKS_KNOWN = 4096,
  SMALL_SIZE_BITS = 17,
  LARGE_BYTES = 512 * 1024, /* `large_bytes` of traces/trace.ts */
  TOUCH_MMAP_THRESHOLD_BYTES = 128 * 1024,
  MAPS_INTERVAL_NS = 250 * 1000 * 1000,
  PATH_BYTES = 512,
};

_Static_assert((int)RECORDER_SEGMENT_BYTES == (int)BUFFER_BYTES, "a segment of the ring is a whole buffer");
_Static_assert((int)RECORDER_STACK_FRAMES_MAX == (int)STACK_FRAMES_MAX, "the frames that may be asked for have room");

/** A stream file in this process; passed on to another thread when its own ends. */
struct stream {
  struct stream *next, *next_idle;
  struct stream_file *file;
  uint64_t *cursor;
  uint64_t last_ticks;
  uint32_t number;
  uint64_t known_stacks[];
};

struct thread_state {
  uint64_t *cursor, *limit; /* both NULL until the thread has a stream */
  uint64_t last_ticks;
  uintptr_t busy_frame; /* frame of the call that is writing; 0 when none is */
  struct stream *stream;
  uint32_t number; /* of the thread, from 1 */
  /* Set by operator new for the malloc beneath it: who really called, and for how much. */
  uintptr_t new_site;
  size_t new_size;
  /* With --sample; without a stream there are no counts, and no bytes are left. */
  struct sample_counts *counts;
  size_t bytes_to_sample;
  uint64_t chance;
};
static __thread struct thread_state self __attribute__((tls_model("initial-exec")));

/**
 * PLAIN takes the quick path: every block counts, none is looked at closer, and the processor's counter is the clock. SAMPLED
 * has one for the blocks that it leaves out.
 */
enum recording { RECORDING_OFF, RECORDING_PAUSED, RECORDING_PLAIN, RECORDING_FILTERED, RECORDING_SAMPLED };

/** What a fork must forget: this page reads as zeros in the child, whichever way it was forked. */
struct guard {
  uint32_t recording;
  uint32_t lock;
  uint32_t ring_lock;
};
static struct guard no_guard;
static struct guard *guard = &no_guard;

static struct {
  bool read, off;
  char directory[PATH_BYTES / 2];
  size_t directory_length;
  size_t min_size;
  size_t small_below; /* sizes below it go into KIND_SMALL records */
  unsigned stacks;
  bool touch, tsc;
  uint64_t sample_bytes, sample_seed;
  enum recording switched_on; /* PLAIN, FILTERED or SAMPLED */
} options;

static struct {
  struct process_file *file;
  struct control_file *control;
  struct stream *streams, *idle;
  uint32_t stream_count, thread_count;
  uint64_t maps_ns;
  pid_t pid;
  unsigned begun; /* times that this image began a recording: more than once after forks */
  bool finished;
  char folder[PATH_BYTES];
  size_t folder_length;
} process;

static pthread_key_t thread_end_key;
static bool has_thread_end_key;

/** Live blocks of LARGE_BYTES and more whose pages began untouched, with --touch. */
static struct block_set large;

static bool begin_recording(void);
static bool make_room(void);
static void finish(int status);

/* Through syscall(): the functions of the same name are cancellation points, and malloc must not be one. */
static int file_open(const char *path, int flags) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
}
static void file_close(int descriptor) { syscall(SYS_close, descriptor); }

/** Beyond the program's limit on files the kernel does more than refuse: it ends the program by SIGXFSZ. */
static bool file_may_end_at(uint64_t end) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || end <= limit.rlim_cur) return true;
  errno = EFBIG;
  return false;
}

static bool file_write_at(int descriptor, const void *bytes, size_t length, uint64_t offset) {
  if (!file_may_end_at(offset + length)) return false;
  for (size_t done = 0; done < length;) {
    const long count = syscall(SYS_pwrite64, descriptor, (const char *)bytes + done, length - done, offset + done);
    if (count > 0) done += (size_t)count;
    else if (count == 0 || errno != EINTR) return false;
  }
  return true;
}

static size_t append_text(char *path, size_t length, const char *text) {
  while (*text != '\0' && length + 1 < PATH_BYTES) path[length++] = *text++;
  path[length] = '\0';
  return length;
}

static size_t append_number(char *path, size_t length, uint64_t number) {
  char digits[24];
  size_t at = sizeof digits;
  digits[--at] = '\0';
  do digits[--at] = (char)('0' + number % 10);
  while ((number /= 10) != 0);
  return append_text(path, length, digits + at);
}

static void path_in_folder(char *path, const char *name) {
  memcpy(path, process.folder, process.folder_length);
  append_text(path, process.folder_length, name);
}

static uint64_t monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static always_inline uint64_t tsc_ticks(void) {
#if defined(__x86_64__)
  return __builtin_ia32_rdtsc() >> TSC_SHIFT;
#else
  return 0;
#endif
}

/** Time and order in one: comparable between the processors where the launcher found the counter to be so. */
static uint64_t ticks(void) {
  return options.tsc ? tsc_ticks() : monotonic_ns() >> MONOTONIC_SHIFT;
}

uint64_t recorder_now_ns(void) { return monotonic_ns(); }

void recorder_switch(bool on) {
  uint32_t before = on ? RECORDING_PAUSED : options.switched_on;
  const uint32_t after = on ? options.switched_on : RECORDING_PAUSED;
  /* Nothing is switched in a forked child that has not begun. */
  __atomic_compare_exchange_n(&guard->recording, &before, after, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/** A thread that longjmps out of a signal handler leaves its mark behind: then the frame is deeper than we are now. */
static __attribute__((noinline)) bool is_really_busy(uintptr_t frame) {
  if (frame > self.busy_frame) return false;
  if (process.file != NULL) __atomic_add_fetch(&process.file->lost_events, 1, __ATOMIC_RELAXED);
  return true;
}

/** Claims the thread's buffer; false where a signal handler allocates in the midst of a record, or nothing is recorded. */
static always_inline bool enter(void) {
  const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
  if (unlikely(self.busy_frame != 0) && is_really_busy(frame)) return false;
  self.busy_frame = frame;
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  if (unlikely(self.cursor >= self.limit) && !make_room()) {
    self.busy_frame = 0;
    return false;
  }
  return true;
}

static always_inline void leave(void) {
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  self.busy_frame = 0;
}

/** The first word goes in last: a record whose first word is there is whole, whenever the process was killed. */
static always_inline void put_first_word(uint64_t *words, uint64_t word) {
  __atomic_store_n(words, word, __ATOMIC_RELEASE);
}

static __attribute__((noinline)) void put_time(uint64_t now) {
  put_first_word(self.cursor, (now << 4) | KIND_TIME);
  self.cursor += 1;
}

/** The first word of a record of `block` at time `now`: 44 bits of address, 16 of time since the record before, 4 of kind. */
static always_inline uint64_t first_word(enum kind kind, const void *block, uint64_t now) {
  uint64_t delta = now - self.last_ticks;
  if (unlikely(delta > DELTA_MAX)) {
    if ((int64_t)delta < 0) {
      now = self.last_ticks;
    } else {
      put_time(now);
      control_check_end();
    }
    delta = 0;
  }
  self.last_ticks = now;
  return (uint64_t)(uintptr_t)block << 16 | delta << 4 | kind;
}

static always_inline void put_one_word(enum kind kind, const void *block, uint64_t now) {
  const uint64_t word = first_word(kind, block, now);
  put_first_word(self.cursor, word);
  self.cursor += 1;
}

static always_inline void put_two_words(enum kind kind, const void *block, uint64_t second, uint64_t now) {
  const uint64_t word = first_word(kind, block, now);
  uint64_t *words = self.cursor;
  words[1] = second;
  put_first_word(words, word);
  self.cursor = words + 2;
}

static void put_three_words(enum kind kind, const void *block, uint64_t second, uint64_t third, uint64_t now) {
  const uint64_t word = first_word(kind, block, now);
  uint64_t *words = self.cursor;
  words[1] = second;
  words[2] = third;
  put_first_word(words, word);
  self.cursor = words + 3;
}

struct walk {
  uintptr_t site;
  unsigned wanted, count;
  uint64_t hash;
  uint64_t frames[STACK_FRAMES_MAX];
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *context, void *argument) {
  struct walk *walk = argument;
  const uintptr_t address = _Unwind_GetIP(context);
  if (walk->count == 0 && address != walk->site) return _URC_NO_REASON;
  if (address == 0) return _URC_END_OF_STACK;
  walk->frames[walk->count++] = address;
  walk->hash = (walk->hash ^ address) * 0x100000001b3u;
  return walk->count == walk->wanted ? _URC_END_OF_STACK : _URC_NO_REASON;
}

/** A name for the frames from `site` outwards; their addresses are recorded when this thread meets them first. */
static __attribute__((noinline)) uint64_t put_stack(uintptr_t site) {
  struct walk walk = {.site = site, .wanted = options.stacks, .hash = 0xcbf29ce484222325u};
  _Unwind_Backtrace(walk_frame, &walk);
  if (walk.count == 0) walk.frames[walk.count++] = walk.hash = site;
  uint64_t *known = &self.stream->known_stacks[(walk.hash ^ walk.hash >> 32) % STACKS_KNOWN];
  if (*known == walk.hash) return walk.hash;
  *known = walk.hash;
  uint64_t *words = self.cursor;
  words[1] = walk.hash;
  memcpy(words + 2, walk.frames, walk.count * sizeof walk.frames[0]);
  put_first_word(words, (uint64_t)walk.count << 4 | KIND_STACK);
  self.cursor = words + 2 + walk.count;
  return walk.hash;
}

/* A block's size stands in the word before it, with three flags; malloc_usable_size() may belong to another allocator. */
enum { CHUNK_IS_MMAPPED = 2, CHUNK_FLAGS = 7 };

static always_inline size_t chunk_word(const void *block) { return ((const size_t *)block)[-1]; }

static always_inline size_t usable_bytes(const void *block) {
  const size_t word = chunk_word(block);
  return (word & ~(size_t)CHUNK_FLAGS) - (word & CHUNK_IS_MMAPPED ? 2 * sizeof(size_t) : sizeof(size_t));
}

static uint64_t resident_pages(const void *block) {
  enum { STEP_PAGES = 1024 };
  unsigned char resident[STEP_PAGES];
  uintptr_t page = (uintptr_t)block & ~(uintptr_t)(PAGE_BYTES - 1);
  const uintptr_t end = (uintptr_t)block + usable_bytes(block);
  uint64_t pages = 0;
  while (page < end) {
    const size_t left = (end - page + PAGE_BYTES - 1) / PAGE_BYTES;
    const size_t count = left < STEP_PAGES ? left : STEP_PAGES;
    if (syscall(SYS_mincore, page, count * PAGE_BYTES, resident) != 0) return 0;
    for (size_t at = 0; at < count; at += 1) pages += resident[at] & 1;
    page += count * PAGE_BYTES;
  }
  return pages;
}

/**
 * A block that glibc cut from its heap, not from a new mapping, holds pages that somebody touched before. Beyond the
 * first `kept_bytes`, which a realloc has copied, its content is undefined or zero, so those pages can be given back.
 */
static void empty_pages(const void *block, size_t kept_bytes) {
  const uintptr_t start = ((uintptr_t)block + kept_bytes + PAGE_BYTES - 1) & ~(uintptr_t)(PAGE_BYTES - 1);
  const uintptr_t end = ((uintptr_t)block + usable_bytes(block)) & ~(uintptr_t)(PAGE_BYTES - 1);
  if (start < end) syscall(SYS_madvise, start, end - start, MADV_DONTNEED);
}

static __attribute__((noinline)) void large_add(const void *block, size_t kept_bytes) {
  if (usable_bytes(block) < LARGE_BYTES) return;
  const int saved_errno = errno;
  if ((chunk_word(block) & CHUNK_IS_MMAPPED) == 0) empty_pages(block, kept_bytes);
  block_set_add(&large, block);
  errno = saved_errno;
}

static void put_touched(const void *block) {
  const uint64_t pages = resident_pages(block);
  if (pages == 0 || !enter()) return;
  put_two_words(KIND_TOUCHED, block, pages, ticks());
  leave();
}

/** Before a block is given back or moved. */
static __attribute__((noinline)) void large_leaves(const void *block) {
  if (usable_bytes(block) < LARGE_BYTES) return;
  const int saved_errno = errno;
  if (block_set_remove(&large, block)) put_touched(block);
  errno = saved_errno;
}

static always_inline bool is_recording(void) {
  const uint32_t recording = guard->recording;
  if (likely(recording >= RECORDING_PLAIN)) return true;
  return recording == RECORDING_PAUSED ? control_begins_now() : begin_recording() && guard->recording >= RECORDING_PLAIN;
}

/** A block that leaves while recording is switched off is looked at all the same: afterwards its memory may be gone. */
static always_inline bool watches_touched(void) { return options.touch && guard->recording != RECORDING_OFF; }

static always_inline bool is_wanted(const void *block) {
  return likely(options.min_size == 0) || usable_bytes(block) >= options.min_size;
}

/** Whether a block that leaves was recorded; with --sample it is forgotten. */
static bool was_recorded(const void *block) {
  return options.sample_bytes != 0 ? sample_remove(block) : is_wanted(block);
}

/** Whether a block that was just allocated is to be recorded, which --sample leaves to chance. The caller has entered. */
static bool is_drawn(const void *block, size_t size) {
  if (options.sample_bytes == 0) return true;
  sample_count_allocation(self.counts, size);
  const size_t bytes = size | (size == 0);
  if (size < SAMPLE_WHOLE_BYTES) {
    if (bytes < self.bytes_to_sample) {
      self.bytes_to_sample -= bytes;
      return false;
    }
    self.bytes_to_sample = sample_gap(&self.chance);
  }
  return sample_add(block);
}

/** The caller has entered. */
static void put_block(enum kind kind, const void *block, size_t size, unsigned align_power, uintptr_t site) {
  if (size < options.small_below && align_power == 0)
    put_two_words(kind + KIND_SMALL, block, (uint64_t)site << SMALL_SIZE_BITS | size, ticks());
  else {
    const uint64_t site_name = options.stacks <= 1 ? site : put_stack(site);
    put_three_words(kind, block, size | (uint64_t)align_power << 56, site_name, ticks());
  }
}

/** The first `kept_bytes` have content from before: those of a block that grew from a size not worth recording. */
static void put_allocation(enum kind kind, const void *block, size_t kept_bytes, size_t size, unsigned align_power,
                           uintptr_t site) {
  if (options.touch) large_add(block, kept_bytes);
  if (!enter()) return;
  if (is_drawn(block, size)) put_block(kind, block, size, align_power, site);
  leave();
}

/**
 * The whole of a usual event: one thread's own buffer with room in it, no fork since, a small time since the event
 * before. False, and nothing done, where anything is unusual.
 */
static always_inline bool put_quickly(enum kind kind, const void *block, bool is_free, size_t size, uintptr_t site) {
  if (unlikely(guard->recording != RECORDING_PLAIN)) return false;
  uint64_t *const words = self.cursor;
  if (unlikely(words >= self.limit || self.busy_frame != 0)) return false;
  if (!is_free && unlikely(block == NULL || size >= options.small_below || self.new_site != 0)) return false;
  self.busy_frame = (uintptr_t)__builtin_frame_address(0);
  __atomic_signal_fence(__ATOMIC_SEQ_CST);
  const uint64_t now = tsc_ticks(), delta = now - self.last_ticks;
  const bool is_usual = likely(delta <= DELTA_MAX);
  if (is_usual) {
    self.last_ticks = now;
    if (!is_free) words[1] = (uint64_t)site << SMALL_SIZE_BITS | size;
    put_first_word(words, (uint64_t)(uintptr_t)block << 16 | delta << 4 | (is_free ? kind : kind + KIND_SMALL));
    self.cursor = words + (is_free ? 1 : 2);
  }
  leave();
  return is_usual;
}

/** An allocation that a sample leaves out, in a thread that has a stream. False, and nothing done, for any other. */
static always_inline bool left_out_quickly(const void *block, size_t size) {
  if (unlikely(guard->recording != RECORDING_SAMPLED)) return false;
  /* operator new asks for one byte where none was asked of it. */
  if (unlikely(size >= self.bytes_to_sample || size >= SAMPLE_WHOLE_BYTES || size <= 1 || block == NULL)) return false;
  self.bytes_to_sample -= size;
  sample_count_allocation(self.counts, size);
  return true;
}

/** A block that the sample left out, as nearly all are. */
static always_inline bool freed_quickly(const void *block) {
  if (unlikely(guard->recording != RECORDING_SAMPLED || self.counts == NULL || sample_may_have(block))) return false;
  sample_count_end(self.counts, usable_bytes(block));
  return true;
}

#define CALLER() ((uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0)))

/** The caller that counts: that of operator new where it is what called malloc. */
static uintptr_t take_site(uintptr_t site) {
  const uintptr_t new_site = self.new_site;
  self.new_site = 0;
  return new_site == 0 ? site : new_site;
}

static __attribute__((noinline)) void *allocated_unusually(enum kind kind, void *block, size_t size, uintptr_t site) {
  if (!is_recording()) return block;
  const bool from_new = self.new_site != 0;
  site = take_site(site);
  if (block == NULL || !is_wanted(block)) return block;
  /* operator new asks malloc for one byte where none was asked of it. */
  if (from_new && size == 1) size = self.new_size;
  put_allocation(kind, block, 0, size, 0, site);
  return block;
}

static always_inline void *allocated(enum kind kind, void *block, size_t size, uintptr_t site) {
  if (likely(put_quickly(kind, block, false, size, site) || left_out_quickly(block, size))) return block;
  return allocated_unusually(kind, block, size, site);
}

static void *allocate_aligned(size_t align, size_t size, uintptr_t site) {
  void *block = __libc_memalign(align, size);
  if (!is_recording()) return block;
  const bool from_new = self.new_site != 0;
  site = take_site(site);
  if (block == NULL || !is_wanted(block)) return block;
  unsigned power = 0;
  while (power < 31 && (size_t)1 << power < align) power += 1;
  /* The aligned operator new rounds sizes up to the alignment before it asks. */
  if (from_new && self.new_size <= size && size - self.new_size < align) size = self.new_size;
  put_allocation(KIND_ALIGNED, block, 0, size, power, site);
  return block;
}

static __attribute__((noinline)) void free_unusually(void *block) {
  const bool recording = is_recording(), recorded = was_recorded(block), counted = options.sample_bytes != 0;
  if (recorded && watches_touched()) large_leaves(block);
  if (recording && (recorded || counted) && enter()) {
    if (counted) sample_count_end(self.counts, usable_bytes(block));
    if (recorded) put_one_word(KIND_FREE, block, ticks());
    leave();
  }
  __libc_free(block);
}

static void count_realloc(size_t old_bytes) {
  if (options.sample_bytes == 0 || !enter()) return;
  self.counts->reallocs += 1;
  sample_count_end(self.counts, old_bytes);
  leave();
}

/** A failed realloc leaves the block where it is, and no event; what was measured of it meanwhile does no harm. */
static void *reallocate(void *block, size_t size, uintptr_t site) {
  if (block == NULL) return allocated(KIND_MALLOC, __libc_realloc(NULL, size), size, site);
  if (!is_recording()) {
    if (watches_touched()) large_leaves(block);
    if (options.sample_bytes != 0) sample_remove(block);
    return __libc_realloc(block, size);
  }
  if (size == 0) {
    free_unusually(block);
    return NULL;
  }
  const bool was_wanted = was_recorded(block);
  const size_t old_bytes = usable_bytes(block);
  if (options.touch && was_wanted) large_leaves(block);
  const uint64_t left_at = ticks();
  void *moved = __libc_realloc(block, size);
  if (moved == NULL) {
    if (options.touch && was_wanted) large_add(block, old_bytes);
    if (options.sample_bytes != 0 && was_wanted) sample_add(block);
    return NULL;
  }
  count_realloc(old_bytes);
  const bool wanted = is_wanted(moved);
  if (!was_wanted) {
    if (wanted) put_allocation(KIND_MALLOC, moved, old_bytes, size, 0, site);
    return moved;
  }
  if (options.touch && wanted) large_add(moved, old_bytes);
  if (!enter()) return moved;
  if (wanted && is_drawn(moved, size)) {
    put_one_word(KIND_MOVE, block, left_at);
    put_block(KIND_REALLOC, moved, size, 0, site);
  } else {
    put_one_word(KIND_FREE, block, left_at);
  }
  leave();
  return moved;
}

EXPORT void *malloc(size_t size) { return allocated(KIND_MALLOC, __libc_malloc(size), size, CALLER()); }

EXPORT void *calloc(size_t count, size_t size) {
  return allocated(KIND_CALLOC, __libc_calloc(count, size), count * size, CALLER());
}

EXPORT void *realloc(void *block, size_t size) { return reallocate(block, size, CALLER()); }

EXPORT void *reallocarray(void *block, size_t count, size_t size) {
  size_t bytes;
  if (__builtin_mul_overflow(count, size, &bytes)) {
    errno = ENOMEM;
    return NULL;
  }
  return reallocate(block, bytes, CALLER());
}

EXPORT void free(void *block) {
  if (block == NULL) return;
  if (likely(put_quickly(KIND_FREE, block, true, 0, 0))) __libc_free(block);
  else if (freed_quickly(block)) __libc_free(block);
  else free_unusually(block);
}

EXPORT void *memalign(size_t align, size_t size) { return allocate_aligned(align, size, CALLER()); }
EXPORT void *aligned_alloc(size_t align, size_t size) { return allocate_aligned(align, size, CALLER()); }
EXPORT void *valloc(size_t size) { return allocate_aligned(PAGE_BYTES, size, CALLER()); }

EXPORT int posix_memalign(void **place, size_t align, size_t size) {
  if (align % sizeof(void *) != 0 || align == 0 || (align & (align - 1)) != 0) return EINVAL;
  const int saved_errno = errno;
  void *block = allocate_aligned(align, size, CALLER());
  errno = saved_errno;
  if (block == NULL) return ENOMEM;
  *place = block;
  return 0;
}

EXPORT void *pvalloc(size_t size) {
  const size_t rounded = (size + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
  if (rounded < size) {
    errno = ENOMEM;
    return NULL;
  }
  return allocate_aligned(PAGE_BYTES, rounded, CALLER());
}

/* A program linked with another allocator would otherwise ask that one about blocks of ours. */
EXPORT size_t malloc_usable_size(void *block) { return block == NULL ? 0 : usable_bytes(block); }

/*
 * The program's own operator new still runs (its new_handler, its exceptions), and the delete operators are left alone,
 * for a program may replace some of them. Ours only leaves word who called, for the malloc beneath it.
 */
static __attribute__((noinline)) void *find_new(void **found, const char *name) {
  void *next = dlsym(RTLD_NEXT, name);
  static const char *const homes[] = {"libstdc++.so.6", "libc++abi.so.1", "libc++.so.1"};
  for (size_t at = 0; next == NULL && at < sizeof homes / sizeof homes[0]; at += 1) {
    /* A library that was loaded for a plugin alone is not in the scope that RTLD_NEXT searches. */
    void *home = dlopen(homes[at], RTLD_LAZY | RTLD_NOLOAD);
    if (home != NULL) next = dlsym(home, name);
  }
  if (next == NULL) abort();
  __atomic_store_n(found, next, __ATOMIC_RELAXED);
  return next;
}

#define OPERATOR_NEW(symbol, parameters, arguments, type)                                  \
  EXPORT void *symbol parameters {                                                         \
    static void *found;                                                                    \
    void *next = __atomic_load_n(&found, __ATOMIC_RELAXED);                                \
    if (unlikely(next == NULL)) next = find_new(&found, #symbol);                          \
    if (self.new_site == 0) {                                                              \
      self.new_site = CALLER();                                                            \
      self.new_size = size;                                                                \
    }                                                                                      \
    void *block = ((type)next)arguments;                                                   \
    self.new_site = 0;                                                                     \
    return block;                                                                          \
  }
typedef void *(*new_plain)(size_t);
typedef void *(*new_two)(size_t, size_t);
typedef void *(*new_three)(size_t, size_t, const void *);
typedef void *(*new_nothrow)(size_t, const void *);

OPERATOR_NEW(_Znwm, (size_t size), (size), new_plain)
OPERATOR_NEW(_Znam, (size_t size), (size), new_plain)
OPERATOR_NEW(_ZnwmRKSt9nothrow_t, (size_t size, const void *tag), (size, tag), new_nothrow)
OPERATOR_NEW(_ZnamRKSt9nothrow_t, (size_t size, const void *tag), (size, tag), new_nothrow)
OPERATOR_NEW(_ZnwmSt11align_val_t, (size_t size, size_t align), (size, align), new_two)
OPERATOR_NEW(_ZnamSt11align_val_t, (size_t size, size_t align), (size, align), new_two)
OPERATOR_NEW(_ZnwmSt11align_val_tRKSt9nothrow_t, (size_t size, size_t align, const void *tag), (size, align, tag),
             new_three)
OPERATOR_NEW(_ZnamSt11align_val_tRKSt9nothrow_t, (size_t size, size_t align, const void *tag), (size, align, tag),
             new_three)

/** Recording ends for the whole process; what is written stays. */
static void stop_recording(int reason) {
  if (process.file != NULL && process.file->stop_errno == 0) process.file->stop_errno = (uint32_t)reason;
  options.off = true;
  __atomic_store_n(&guard->recording, RECORDING_OFF, __ATOMIC_RELEASE);
}

/** Maps `bytes` of the file `name` of the recording, new and with its blocks on the disk: a hole could kill by SIGBUS. */
static void *map_file(const char *name, size_t bytes) {
  char path[PATH_BYTES];
  path_in_folder(path, name);
  const int descriptor = file_open(path, O_RDWR | O_CREAT | O_EXCL);
  if (descriptor < 0) return NULL;
  void *map = MAP_FAILED;
  if (file_may_end_at(bytes) && (syscall(SYS_fallocate, descriptor, 0, 0, bytes) == 0 ||
                                 (errno == EOPNOTSUPP && ftruncate(descriptor, (off_t)bytes) == 0)))
    map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  const int reason = errno;
  file_close(descriptor);
  errno = reason;
  return map == MAP_FAILED ? NULL : map;
}

static void stream_name(char *name, uint32_t number) { append_number(name, append_text(name, 0, "/stream."), number); }

static struct stream *new_stream(uint32_t number) {
  const size_t bytes = sizeof(struct stream) + (options.stacks > 1 ? STACKS_KNOWN * sizeof(uint64_t) : 0);
  struct stream *stream = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stream == MAP_FAILED) return NULL;
  char name[PATH_BYTES];
  stream_name(name, number);
  stream->file = control_add_bytes(sizeof *stream->file) ? map_file(name, sizeof *stream->file) : NULL;
  if (stream->file == NULL) {
    const int reason = errno;
    munmap(stream, bytes);
    errno = reason;
    return NULL;
  }
  memcpy(stream->file->magic, "HAKSTRM1", sizeof stream->file->magic);
  stream->number = number;
  stream->cursor = stream->file->buffer;
  return stream;
}

static uint64_t *limit_of(const struct stream *stream) {
  return stream->file->buffer + BUFFER_WORDS - RECORD_WORDS_MAX;
}

/** Gives the thread a stream: one whose thread has ended, or a new one. */
static bool take_stream(void) {
  lock(&guard->lock);
  struct stream *stream = process.idle;
  if (stream != NULL) {
    process.idle = stream->next_idle;
  } else {
    stream = new_stream(process.stream_count);
    if (stream != NULL) {
      process.control->streams = process.stream_count += 1;
      stream->next = process.streams;
      process.streams = stream;
    }
  }
  if (self.number == 0) self.number = ++process.thread_count;
  unlock(&guard->lock);
  if (stream == NULL) return false;
  if (options.sample_bytes != 0) {
    if (self.chance == 0) self.chance = sample_seed(self.number);
    self.counts = &stream->file->counts;
    self.bytes_to_sample = sample_gap(&self.chance);
  }
  self.stream = stream;
  self.cursor = stream->cursor;
  self.limit = limit_of(stream);
  self.last_ticks = stream->last_ticks;
  if (has_thread_end_key) pthread_setspecific(thread_end_key, stream);
  return true;
}

static void leave_stream(void) {
  self.stream = NULL;
  self.cursor = self.limit = NULL;
  self.counts = NULL;
  self.bytes_to_sample = 0;
}

static void thread_ended(void *argument) {
  struct stream *stream = argument;
  if (self.stream != stream) return;
  stream->cursor = self.cursor;
  stream->last_ticks = self.last_ticks;
  leave_stream();
  lock(&guard->lock);
  stream->next_idle = process.idle;
  process.idle = stream;
  unlock(&guard->lock);
}

/** What the process has spent so far, for the case that it never gets to say so at its end. */
static void note_spent(void) {
  struct process_file *file = process.file;
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  file->last_ticks = ticks();
  file->last_ns = monotonic_ns();
  file->user_ns = (uint64_t)usage.ru_utime.tv_sec * 1000000000u + (uint64_t)usage.ru_utime.tv_usec * 1000u;
  file->sys_ns = (uint64_t)usage.ru_stime.tv_sec * 1000000000u + (uint64_t)usage.ru_stime.tv_usec * 1000u;
  file->faults = (uint64_t)(usage.ru_minflt + usage.ru_majflt);
}

/** Appends /proc/self/NAME to the file `to` of the recording. */
static void copy_of_proc(const char *from, const char *to) {
  char path[PATH_BYTES];
  path_in_folder(path, to);
  const int source = file_open(from, O_RDONLY);
  const int target = file_open(path, O_WRONLY | O_CREAT | O_APPEND);
  char bytes[2048];
  long count;
  while (source >= 0 && target >= 0 && (count = syscall(SYS_read, source, bytes, sizeof bytes)) > 0)
    if (!file_may_end_at((uint64_t)lseek(target, 0, SEEK_END) + (uint64_t)count) ||
        syscall(SYS_write, target, bytes, count) != count)
      break;
  if (source >= 0) file_close(source);
  if (target >= 0) file_close(target);
}

/**
 * Where the modules lie, for the names of call sites. Taken again now and then, for libraries come and go; walking the
 * loader's own list instead would take its lock inside malloc.
 */
static void note_maps(void) {
  const uint64_t now_ns = monotonic_ns();
  process.maps_ns = now_ns;
  copy_of_proc("/proc/self/maps", "/maps");
}

/** Appends the buffer to the file of its stream. */
static bool write_buffer(const struct stream *stream, size_t bytes) {
  struct stream_file *file = stream->file;
  char name[PATH_BYTES], path[PATH_BYTES];
  if (!control_add_bytes(bytes)) return false;
  stream_name(name, stream->number);
  path_in_folder(path, name);
  /* Opened for each flush: a descriptor kept would be closed, or given to another file, by programs that tidy up. */
  const int descriptor = file_open(path, O_WRONLY);
  if (descriptor < 0) return false;
  __atomic_store_n(&file->pending_bytes, bytes, __ATOMIC_RELEASE);
  const bool written = file_write_at(descriptor, file->buffer, bytes, sizeof *file + file->flushed_bytes);
  const int reason = errno;
  file_close(descriptor);
  errno = reason;
  return written;
}

/** Puts the buffer into the place of the oldest segment. Which of the two is whole, a reader sees by the number. */
static bool write_segment(struct stream *stream, size_t bytes, uint64_t slots) {
  char path[PATH_BYTES];
  path_in_folder(path, "/ring");
  const int descriptor = file_open(path, O_WRONLY | O_CREAT);
  if (descriptor < 0) return false;
  lock(&guard->ring_lock);
  struct segment_header header = {0, stream->number, (uint32_t)bytes};
  const uint64_t number = process.control->segments + 1;
  const uint64_t offset = (number - 1) % slots * (sizeof header + BUFFER_BYTES);
  bool written = number > slots || control_add_bytes(sizeof header + BUFFER_BYTES);
  if (written) {
    __atomic_store_n(&stream->file->pending_bytes, number, __ATOMIC_RELEASE);
    written = file_write_at(descriptor, &header, sizeof header, offset) &&
              file_write_at(descriptor, stream->file->buffer, bytes, offset + sizeof header);
    header.number = number;
    written = written && file_write_at(descriptor, &header, sizeof header, offset);
    if (written) process.control->segments = number;
  }
  const int reason = errno;
  unlock(&guard->ring_lock);
  file_close(descriptor);
  errno = reason;
  /* Each segment names its stacks itself. */
  if (options.stacks > 1) memset(stream->known_stacks, 0, STACKS_KNOWN * sizeof stream->known_stacks[0]);
  return written;
}

/** So that a buffer can be read without what came before it. */
static void begin_buffer(uint64_t now) {
  put_time(self.last_ticks = now);
  put_first_word(self.cursor, (uint64_t)self.number << 4 | KIND_THREAD);
  self.cursor += 1;
}

static bool flush(void) {
  struct stream *stream = self.stream;
  struct stream_file *file = stream->file;
  const size_t bytes = (size_t)((char *)self.cursor - (char *)file->buffer);
  const uint64_t slots = control_ring_slots();
  control_check_end();
  if (slots == 0 ? !write_buffer(stream, bytes) : !write_segment(stream, bytes, slots)) return false;
  memset(file->buffer, 0, bytes);
  __atomic_store_n(&file->flushed_bytes, file->flushed_bytes + bytes, __ATOMIC_RELEASE);
  __atomic_store_n(&file->pending_bytes, 0, __ATOMIC_RELEASE);
  self.cursor = file->buffer;
  begin_buffer(self.last_ticks);
  note_spent();
  control_note_signal();
  const uint64_t now_ns = process.file->last_ns, age_ns = now_ns - process.file->start_ns;
  const uint64_t interval_ns = age_ns / 4 > MAPS_INTERVAL_NS ? age_ns / 4 : MAPS_INTERVAL_NS;
  if (now_ns - process.maps_ns > interval_ns) note_maps();
  return true;
}

/** Makes room for the longest record. False where nothing can be recorded. */
static __attribute__((noinline)) bool make_room(void) {
  const int saved_errno = errno;
  bool room = guard->recording != RECORDING_OFF;
  if (room && self.stream == NULL) {
    room = take_stream();
    if (room) {
      if (self.cursor >= self.limit) room = flush();
      if (room) begin_buffer(ticks());
    }
  } else if (room) {
    room = flush();
  }
  if (!room && guard->recording >= RECORDING_PLAIN) stop_recording(errno);
  errno = saved_errno;
  return room;
}

static const char *environment(const char *name) {
  extern char **environ;
  const size_t length = strlen(name);
  for (char **entry = environ; entry != NULL && *entry != NULL; entry += 1)
    if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') return *entry + length + 1;
  return NULL;
}

static uint64_t number_of(const char *text) {
  uint64_t number = 0;
  while (text != NULL && *text >= '0' && *text <= '9') number = number * 10 + (uint64_t)(*text++ - '0');
  return number;
}

/** A steady counter is what the kernel itself takes for its clock where it can. */
static bool kernel_trusts_tsc(void) {
  char name[4] = "";
  const int source = file_open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY);
  if (source < 0) return false;
  const long length = syscall(SYS_read, source, name, sizeof name);
  file_close(source);
  return length == sizeof name && memcmp(name, "tsc\n", sizeof name) == 0;
}

static void read_options(void) {
  options.read = true;
  const char *directory = environment("HAKMEM_RECORD_DIR");
  const char *clock = environment("HAKMEM_RECORD_CLOCK");
  options.off = true;
  if (directory == NULL || *directory == '\0') return;
  if (*directory != '/' || strlen(directory) >= sizeof options.directory ||
      (syscall(SYS_mkdirat, AT_FDCWD, directory, 0700) != 0 && errno != EEXIST)) {
    control_complain("HAKMEM_RECORD_DIR", directory, "the whole path of a folder that can be written");
    return;
  }
  struct recorder_options asked = {.stacks = 1, .sample_seed = 1};
  if (!control_read_options(environment, &asked)) return;
  if (asked.sample_mean != 0 && !sample_begin(asked.sample_mean, asked.sample_seed)) return;
  options.sample_bytes = asked.sample_mean;
  options.sample_seed = asked.sample_seed;
  options.off = false;
  options.min_size = asked.min_size;
  strcpy(options.directory, directory);
  options.directory_length = strlen(directory);
  options.stacks = (unsigned)asked.stacks;
  options.small_below = options.stacks <= 1 ? (size_t)1 << SMALL_SIZE_BITS : 0;
  options.touch = asked.touch;
#if defined(__x86_64__)
  options.tsc = clock != NULL ? strcmp(clock, "tsc") == 0 : kernel_trusts_tsc();
#endif
  struct guard *page = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) {
    options.off = true;
    return;
  }
  madvise(page, PAGE_BYTES, MADV_WIPEONFORK);
  guard = page;
}

/** A folder of its own for this image of this process: PID.N, where N counts the programs that it became by exec. */
static bool make_folder(void) {
  for (uint32_t image = 0; image < 100000; image += 1) {
    memcpy(process.folder, options.directory, options.directory_length);
    size_t length = append_text(process.folder, options.directory_length, "/");
    length = append_number(process.folder, length, (uint64_t)process.pid);
    length = append_text(process.folder, length, ".");
    process.folder_length = append_number(process.folder, length, image);
    if (syscall(SYS_mkdirat, AT_FDCWD, process.folder, 0700) == 0) return true;
    if (errno != EEXIST) return false;
  }
  return false;
}

static bool make_process_file(void) {
  struct process_file *file = map_file("/process", PAGE_BYTES);
  if (file == NULL) return false;
  file->version = 1;
  file->pid = (uint32_t)process.pid;
  file->parent = (uint32_t)getppid();
  file->clock = options.tsc;
  file->tick_shift = options.tsc ? TSC_SHIFT : MONOTONIC_SHIFT;
  file->page_bytes = PAGE_BYTES;
  file->header_bytes = HEADER_BYTES;
  file->buffer_bytes = BUFFER_BYTES;
  file->stacks = options.stacks;
  file->touch = options.touch;
  file->forked = process.begun > 1;
  file->min_size = options.min_size;
  file->sample_mean_bytes = options.sample_bytes;
  file->sample_seed = options.sample_seed;
  file->sample_whole_bytes = options.sample_bytes != 0 ? SAMPLE_WHOLE_BYTES : 0;
  file->start_ticks = ticks();
  file->start_ns = monotonic_ns();
  process.file = file;
  process.control = map_file("/control", PAGE_BYTES);
  if (process.control == NULL) return false;
  note_spent();
  memcpy(file->magic, "HAKPROC1", sizeof file->magic);
  return true;
}

/** What was the parent's: its files stay mapped in a forked child, which must not write to them. */
static void forget_parent(void) {
  for (struct stream *stream = process.streams; stream != NULL; stream = stream->next)
    munmap(stream->file, sizeof *stream->file);
  if (process.file != NULL) munmap(process.file, PAGE_BYTES);
  process.file = NULL;
  process.streams = process.idle = NULL;
  process.stream_count = process.thread_count = 0;
  process.finished = false;
  large.lock = 0;
  sample_forget();
  memset(&self, 0, sizeof self);
}

/** At the first call in a process, and at the first after a fork. True where the process has a recording, be it switched off. */
static __attribute__((noinline)) bool begin_recording(void) {
  if (options.off) return false;
  const int saved_errno = errno;
  if (!options.read) read_options();
  bool recording = false;
  if (!options.off) {
    lock(&guard->lock);
    recording = guard->recording != RECORDING_OFF;
    if (!recording) {
      process.begun += 1;
      forget_parent();
      process.pid = getpid();
      recording = make_folder() && make_process_file();
      if (recording) {
        copy_of_proc("/proc/self/cmdline", "/cmdline");
        note_maps();
        const bool plain = options.min_size == 0 && !options.touch && options.tsc;
        options.switched_on = plain ? RECORDING_PLAIN : RECORDING_FILTERED;
        if (options.sample_bytes != 0) options.switched_on = options.touch ? RECORDING_FILTERED : RECORDING_SAMPLED;
        const bool on = control_begin(process.control, process.file->start_ns);
        __atomic_store_n(&guard->recording, on ? options.switched_on : RECORDING_PAUSED, __ATOMIC_RELEASE);
      } else {
        options.off = true;
      }
    }
    unlock(&guard->lock);
  }
  errno = saved_errno;
  return recording;
}

static uint64_t resident_peak_bytes(void) {
  const int status = file_open("/proc/self/status", O_RDONLY);
  if (status < 0) return 0;
  char text[4096];
  const long length = syscall(SYS_read, status, text, sizeof text - 1);
  file_close(status);
  text[length > 0 ? length : 0] = '\0';
  const char *line = strstr(text, "VmHWM:");
  if (line == NULL) return 0;
  line += strlen("VmHWM:");
  while (*line == ' ' || *line == '\t') line += 1;
  return number_of(line) * 1024;
}

/** The process says what it spent. Idempotent; not in a vfork child, which would speak for its parent. */
static void finish(int status) {
  if (process.file == NULL || process.pid != getpid()) return;
  /* A recording that stopped has an end all the same; a fork that has allocated nothing has none. */
  if (guard->recording == RECORDING_OFF && process.file->stop_errno == 0) return;
  if (__atomic_exchange_n(&process.finished, true, __ATOMIC_ACQ_REL)) return;
  const int saved_errno = errno;
  note_spent();
  control_note_signal();
  process.file->resident_peak_bytes = resident_peak_bytes();
  if (options.touch)
    for (size_t slot = 0; slot < large.slots; slot += 1)
      if (large.blocks[slot] != 0) put_touched((const void *)large.blocks[slot]);
  note_maps();
  process.file->exit_status = status & 0xff;
  __atomic_store_n(&process.file->finished, 1, __ATOMIC_RELEASE);
  errno = saved_errno;
}

static void exit_handler(int status, void *unused) {
  (void)unused;
  finish(status);
}

EXPORT __attribute__((noreturn)) void _exit(int status) {
  finish(status);
  for (;;) syscall(SYS_exit_group, status);
}
EXPORT __attribute__((noreturn)) void _Exit(int status) { _exit(status); }

static void forked_child(void) {
  /* A handler of somebody who registered before us has allocated: the recording has begun anew already. */
  if (guard->recording != RECORDING_OFF && process.pid == getpid()) return;
  leave_stream();
  __atomic_store_n(&guard->recording, RECORDING_OFF, __ATOMIC_RELEASE);
  __atomic_store_n(&guard->lock, 0, __ATOMIC_RELEASE);
  __atomic_store_n(&guard->ring_lock, 0, __ATOMIC_RELEASE);
}

static __attribute__((constructor)) void loaded(void) {
  if (!begin_recording()) return;
  /* Registered first, so it runs last: after every destructor, with the exit status. */
  on_exit(exit_handler, NULL);
  control_take_signal();
  pthread_atfork(NULL, NULL, forked_child);
  has_thread_end_key = pthread_key_create(&thread_end_key, thread_ended) == 0;
  if (options.stacks > 1) {
    /* The unwinder finds its footing now, not inside somebody's malloc. */
    struct walk walk = {.site = 1, .wanted = 1};
    _Unwind_Backtrace(walk_frame, &walk);
  }
  if (options.touch) {
    mallopt(M_MMAP_THRESHOLD, TOUCH_MMAP_THRESHOLD_BYTES);
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
  }
}
