#define _GNU_SOURCE
#include "raw_files.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STREAM_WORDS = 8192, PUT_WORDS_MAX = 8, NS_PER_S = 1000000000 };

struct stream {
  struct stream *next, *next_idle;
  uint32_t number;
  uint64_t flushed_bytes, last_ticks;
  unsigned used;
  uint64_t words[STREAM_WORDS];
};

static struct {
  const char *folder;
  struct process_file process, before; /* `before`: what the process had spent when we came */
  struct stream *streams, *idle;
  uint32_t stream_count, thread_count;
  uint64_t bytes;
} raw;

static _Noreturn void fail(const char *name) {
  fprintf(stderr, "hakmem: %s/%s: %s; what came before is recorded\n", raw.folder, name, strerror(errno));
  exit(EXIT_FAILURE);
}

static int open_file(const char *name, int flags) {
  char path[512];
  snprintf(path, sizeof path, "%s/%s", raw.folder, name);
  const int descriptor = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) fail(name);
  return descriptor;
}

static void write_at(int descriptor, const char *name, const void *bytes, size_t count, uint64_t offset) {
  for (size_t done = 0; done < count;) {
    const ssize_t written = pwrite(descriptor, (const char *)bytes + done, count - done, (off_t)(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail(name);
    done += (size_t)written;
  }
}

static void copy_of_proc(const char *name, int flags) {
  char path[64], bytes[65536];
  snprintf(path, sizeof path, "/proc/%u/%s", raw.process.pid, name);
  const int from = open(path, O_RDONLY | O_CLOEXEC);
  if (from < 0) return;
  const int to = open_file(name, O_WRONLY | flags);
  for (ssize_t length; (length = read(from, bytes, sizeof bytes)) > 0;)
    if (write(to, bytes, (size_t)length) != length) fail(name);
  close(from);
  close(to);
}

void raw_note_maps(void) { copy_of_proc("maps", O_APPEND); }

/** The fields of /proc/PID/stat behind the name, which may have any character. */
static void read_spent(struct process_file *file) {
  char path[64], line[4096];
  uint64_t minor, major, user, sys;
  snprintf(path, sizeof path, "/proc/%u/stat", raw.process.pid);
  FILE *stat = fopen(path, "re");
  if (stat != NULL) {
    const bool got = fgets(line, sizeof line, stat) != NULL;
    const char *rest = got ? strrchr(line, ')') : NULL;
    if (rest != NULL && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64 " %*u %" SCNu64 " %" SCNu64, &minor,
                               &major, &user, &sys) == 4) {
      const uint64_t tick_ns = NS_PER_S / (uint64_t)sysconf(_SC_CLK_TCK);
      file->faults = minor + major - raw.before.faults;
      file->user_ns = user * tick_ns - raw.before.user_ns;
      file->sys_ns = sys * tick_ns - raw.before.sys_ns;
    }
    fclose(stat);
  }
  snprintf(path, sizeof path, "/proc/%u/status", raw.process.pid);
  FILE *status = fopen(path, "re");
  if (status == NULL) return;
  uint64_t peak_kib;
  while (fgets(line, sizeof line, status) != NULL)
    if (sscanf(line, "VmHWM: %" SCNu64, &peak_kib) == 1) file->resident_peak_bytes = peak_kib * 1024;
  fclose(status);
}

static void write_process(void) {
  const int descriptor = open_file("process", O_WRONLY);
  write_at(descriptor, "process", &raw.process, sizeof raw.process, 0);
  close(descriptor);
}

void raw_begin(const char *folder, uint32_t pid, uint64_t min_size, uint64_t start_ns) {
  raw.folder = folder;
  if (mkdir(folder, 0700) != 0) {
    fprintf(stderr, "hakmem: %s: %s\n", folder, strerror(errno));
    exit(EXIT_FAILURE);
  }
  raw.process = (struct process_file){
      .magic = "HAKPROC1",
      .version = 1,
      .pid = pid,
      .tick_shift = MONOTONIC_SHIFT,
      .page_bytes = PAGE_BYTES,
      .header_bytes = HEADER_BYTES,
      .buffer_bytes = BUFFER_BYTES,
      .min_size = min_size,
      .start_ticks = start_ns >> MONOTONIC_SHIFT,
      .start_ns = start_ns,
      .last_ticks = start_ns >> MONOTONIC_SHIFT,
      .last_ns = start_ns,
      .attached = ATTACHED_LET_GO,
  };
  read_spent(&raw.before);
  read_spent(&raw.process);
  write_process();
  copy_of_proc("cmdline", O_TRUNC);
  raw_note_maps();
}

static void stream_name(const struct stream *stream, char name[32]) { snprintf(name, 32, "stream.%u", stream->number); }

static struct stream *new_stream(void) {
  static const struct stream_file empty = {.magic = "HAKSTRM1"};
  struct stream *stream = calloc(1, sizeof *stream);
  if (stream == NULL) abort();
  char name[32];
  stream->number = raw.stream_count++;
  stream->next = raw.streams;
  raw.streams = stream;
  stream_name(stream, name);
  const int descriptor = open_file(name, O_WRONLY | O_EXCL);
  /* The buffer stays a hole: what is not in the file yet is in our memory. */
  write_at(descriptor, name, &empty, HEADER_BYTES, 0);
  if (ftruncate(descriptor, sizeof empty) != 0) fail(name);
  close(descriptor);
  return stream;
}

static void flush_stream(struct stream *stream) {
  if (stream->used == 0) return;
  char name[32];
  stream_name(stream, name);
  const size_t bytes = stream->used * sizeof stream->words[0];
  const int descriptor = open_file(name, O_WRONLY);
  write_at(descriptor, name, stream->words, bytes, sizeof(struct stream_file) + stream->flushed_bytes);
  stream->flushed_bytes += bytes;
  write_at(descriptor, name, &stream->flushed_bytes, sizeof stream->flushed_bytes, offsetof(struct stream_file, flushed_bytes));
  close(descriptor);
  stream->used = 0;
  raw.bytes += bytes;
}

static void make_room(struct stream *stream) {
  if (stream->used + PUT_WORDS_MAX > STREAM_WORDS) flush_stream(stream);
}

static void put_time(struct stream *stream, uint64_t ticks) {
  stream->words[stream->used++] = ticks << 4 | KIND_TIME;
  stream->last_ticks = ticks;
}

struct stream *raw_take_stream(uint64_t time_ns) {
  struct stream *stream = raw.idle;
  if (stream != NULL) raw.idle = stream->next_idle;
  else stream = new_stream();
  const uint64_t ticks = time_ns >> MONOTONIC_SHIFT;
  make_room(stream);
  put_time(stream, ticks > stream->last_ticks ? ticks : stream->last_ticks);
  stream->words[stream->used++] = (uint64_t)++raw.thread_count << 4 | KIND_THREAD;
  return stream;
}

void raw_give_back(struct stream *stream) {
  stream->next_idle = raw.idle;
  raw.idle = stream;
}

/** A record has room for an address with four zeros at its end; other allocators than glibc's promise only three. */
static uint64_t name_of(uint64_t block) { return block << 1; }

void raw_put(struct stream *stream, enum kind kind, uint64_t block, uint64_t time_ns, const uint64_t *words, unsigned count) {
  uint64_t ticks = time_ns >> MONOTONIC_SHIFT;
  make_room(stream);
  if (ticks < stream->last_ticks) ticks = stream->last_ticks;
  if (ticks - stream->last_ticks > DELTA_MAX) put_time(stream, ticks);
  stream->words[stream->used++] = name_of(block) << 16 | (ticks - stream->last_ticks) << 4 | kind;
  stream->last_ticks = ticks;
  for (unsigned at = 0; at < count; at += 1) stream->words[stream->used++] = words[at];
}

uint64_t raw_flush(uint64_t time_ns, uint64_t lost_events, enum attached attached) {
  for (struct stream *stream = raw.streams; stream != NULL; stream = stream->next) flush_stream(stream);
  raw.process.last_ns = time_ns;
  raw.process.last_ticks = time_ns >> MONOTONIC_SHIFT;
  raw.process.lost_events = lost_events;
  raw.process.attached = attached;
  read_spent(&raw.process);
  write_process();
  return raw.bytes;
}
