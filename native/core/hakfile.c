/* Reading .hak without Node: the layout of docs/FORMAT.md. Mirrors traces/hak.ts and traces/hak-chunk.ts. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hak.h"

enum { index_entry_bytes = 32, streams = 8 };
enum { s_snapshot, s_ops, s_sizes, s_frees, s_aligns, s_sites, s_times, s_touched };

typedef struct {
  const uint8_t *at, *end;
  bool overrun;
} reader;

static uint32_t u32(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | ((uint32_t)bytes[1] << 8) | ((uint32_t)bytes[2] << 16) | ((uint32_t)bytes[3] << 24);
}

/* At most 2^53, so that no sum of two overflows: no legal file has more of anything. */
static int64_t u64(const uint8_t *bytes) {
  const uint64_t value = (uint64_t)u32(bytes) | ((uint64_t)u32(bytes + 4) << 32);
  const uint64_t most = UINT64_C(1) << 53;
  return (int64_t)(value < most ? value : most);
}

__attribute__((format(printf, 2, 3))) static bool refuse(hak_file *file, const char *format, ...) {
  const int begun = snprintf(file->error, sizeof file->error, "%s: ", file->path);
  va_list words;
  va_start(words, format);
  vsnprintf(file->error + begun, sizeof file->error - (size_t)begun, format, words);
  va_end(words);
  return false;
}

static uint8_t byte_of(reader *from) {
  if (from->at >= from->end) {
    from->overrun = true;
    return 0;
  }
  from->at += 1;
  return from->at[-1];
}

static int64_t varint(reader *from) {
  int64_t value = 0;
  for (int shift = 0; shift < 56; shift += 7) {
    const uint8_t byte = byte_of(from);
    value |= (int64_t)(byte & 127) << shift;
    if (byte < 128) return value;
  }
  from->overrun = true;
  return 0;
}

static bool read_at(hak_file *file, void *into, int64_t offset, size_t length) {
  size_t done = 0;
  while (done < length) {
    const ssize_t count = pread(file->descriptor, (char *)into + done, length - done, offset + (int64_t)done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return refuse(file, "byte %lld: the file ends or cannot be read here", (long long)(offset + (int64_t)done));
    done += (size_t)count;
  }
  return true;
}

static bool read_preamble(hak_file *file) {
  uint8_t bytes[HAK_LAYOUT_PREAMBLE_BYTES];
  if (file->length < HAK_LAYOUT_PREAMBLE_BYTES)
    return refuse(file, "%lld bytes; a .hak file has at least %lld", (long long)file->length,
                  (long long)HAK_LAYOUT_PREAMBLE_BYTES);
  if (!read_at(file, bytes, 0, sizeof bytes)) return false;
  if (memcmp(bytes, "HAKTRACE", 8) != 0) return refuse(file, "byte 0: not a .hak file: it does not begin with HAKTRACE");
  if (u32(bytes + 8) != HAK_LAYOUT_VERSION)
    return refuse(file, "byte 8: schema version %u; this hakmem reads version %lld", u32(bytes + 8),
                  (long long)HAK_LAYOUT_VERSION);
  if (hak_crc32(0, bytes, 60) != u32(bytes + 60))
    return refuse(file, "byte 0: the preamble does not match its checksum");
  file->flags = u32(bytes + 12);
  file->events = u64(bytes + 16);
  file->objects = u32(bytes + 24);
  file->chunks = u32(bytes + 32);
  file->header_bytes = u32(bytes + 36);
  file->header_offset = u64(bytes + 40);
  file->sites = u32(bytes + 52);
  if (file->header_offset < 0 || file->header_offset + file->header_bytes != file->length)
    return refuse(file, "byte %lld: the file ends here, not where its preamble says", (long long)file->length);
  if (file->events < 0 || file->events > file->length || file->objects > file->events)
    return refuse(file, "byte 16: %lld events on %u objects cannot fit %lld bytes", (long long)file->events, file->objects,
                  (long long)file->length);
  if (file->chunks * index_entry_bytes > file->header_bytes)
    return refuse(file, "byte 32: %lld chunks cannot fit a header of %u bytes", (long long)file->chunks, file->header_bytes);
  file->header = hak_memory_grow(file->memory, NULL, 0, file->header_bytes + 1);
  if (!read_at(file, file->header, file->header_offset, file->header_bytes)) return false;
  if (hak_crc32(0, file->header, file->header_bytes) != u32(bytes + 48))
    return refuse(file, "header at byte %lld: it does not match its checksum", (long long)file->header_offset);
  return true;
}

static int64_t offset_of(const hak_file *file, int64_t chunk) {
  return chunk < file->chunks ? u64(file->header + chunk * index_entry_bytes) : file->header_offset;
}

static int64_t first_event_of(const hak_file *file, int64_t chunk) {
  return chunk < file->chunks ? u64(file->header + chunk * index_entry_bytes + 8) : file->events;
}

bool hak_file_open(hak_file *file, hak_memory *memory, const char *path) {
  memset(file, 0, sizeof *file);
  file->path = path;
  file->memory = memory;
  file->descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (file->descriptor < 0) return refuse(file, "%s", strerror(errno));
  struct stat stat;
  if (fstat(file->descriptor, &stat) != 0) return refuse(file, "%s", strerror(errno));
  if (!S_ISREG(stat.st_mode)) return refuse(file, "not a regular file; wanted a .hak trace");
  file->length = stat.st_size;
  if (!read_preamble(file)) return false;
  int64_t rows = 1;
  int64_t offset = HAK_LAYOUT_PREAMBLE_BYTES;
  for (int64_t chunk = 0; chunk < file->chunks; chunk += 1) {
    const int64_t events = first_event_of(file, chunk + 1) - first_event_of(file, chunk);
    const int64_t end = offset_of(file, chunk + 1);
    if (offset_of(file, chunk) != offset || events < 1 || events > HAK_LIMIT_CHUNK_EVENTS ||
        end < offset + HAK_LAYOUT_FRAME_BYTES + events || end > file->header_offset)
      return refuse(file, "header at byte %lld: entry %lld of its seek index does not follow the one before",
                    (long long)file->header_offset, (long long)chunk);
    if (events > rows) rows = events;
    offset = end;
  }
  if (first_event_of(file, 0) != 0 || offset != file->header_offset)
    return refuse(file, "header at byte %lld: its seek index does not cover the file", (long long)file->header_offset);
  const size_t room = (size_t)rows;
  const size_t objects = (size_t)file->objects + 1;
  file->op = hak_memory_grow(memory, NULL, 0, room);
  file->thread = hak_memory_grow(memory, NULL, 0, room * 4);
  file->object = hak_memory_grow(memory, NULL, 0, room * 4);
  file->align = hak_memory_grow(memory, NULL, 0, room * 4);
  file->site = hak_memory_grow(memory, NULL, 0, room * 4);
  file->touched = hak_memory_grow(memory, NULL, 0, room * 4);
  file->size_bytes = hak_memory_grow(memory, NULL, 0, room * 8);
  file->slot_at = hak_memory_grow(memory, NULL, 0, room * 4);
  file->live = hak_memory_grow(memory, NULL, 0, objects);
  file->live_now = hak_memory_grow(memory, NULL, 0, objects);
  file->free_slot = hak_memory_grow(memory, NULL, 0, objects * 4);
  return true;
}

/* Sets the live slots from a snapshot; free ones go on the stack so that the lowest comes off first. */
static bool restore(hak_file *file, reader *runs, int64_t first_event) {
  const int64_t high = varint(runs);
  if (high > file->objects) return refuse(file, "event %lld: more live slots than objects", (long long)first_event);
  memset(file->live_now, 0, file->objects);
  uint8_t state = 1;
  for (int64_t slot = 0; slot < high; state ^= 1) {
    const int64_t run = varint(runs);
    if (runs->overrun || slot + run > high) return refuse(file, "event %lld: a broken set of live objects", (long long)first_event);
    memset(file->live_now + slot, state, (size_t)run);
    slot += run;
  }
  const bool follows = file->started ? high == file->high && memcmp(file->live, file->live_now, file->objects) == 0 : high == 0;
  if (!follows) return refuse(file, "event %lld: live objects that differ from those the chunk before left", (long long)first_event);
  file->started = true;
  file->high = high;
  memcpy(file->live, file->live_now, file->objects);
  file->free_slots = 0;
  for (int64_t slot = high - 1; slot >= 0; slot -= 1) {
    if (file->live[slot]) continue;
    file->free_slot[file->free_slots] = (uint32_t)slot;
    file->free_slots += 1;
  }
  return true;
}

static uint32_t successor_slot(int64_t size_bytes) {
  return ((uint32_t)size_bytes * (uint32_t)HAK_LAYOUT_SUCCESSOR_MULTIPLIER) >> HAK_LAYOUT_SUCCESSOR_SHIFT;
}

static bool decode(hak_file *file, const uint8_t *payload, size_t length, int64_t first_event, int64_t events) {
  reader all = {payload, payload + length, false};
  reader stream[streams];
  for (int at = 0; at < streams; at += 1) {
    const int64_t bytes = varint(&all);
    if (all.overrun || bytes > all.end - all.at)
      return refuse(file, "event %lld: a stream that ends beyond its chunk", (long long)first_event);
    stream[at] = (reader){all.at, all.at + bytes, false};
    all.at += bytes;
  }
  if (all.at != all.end) return refuse(file, "event %lld: bytes after the last stream of a chunk", (long long)first_event);
  if (!restore(file, &stream[s_snapshot], first_event)) return false;
  int64_t index = 0;
  int64_t thread = 0;
  int64_t same_distance = 0;
  int64_t last = 0;
  int64_t before_last = 0;
  int64_t successors[HAK_LAYOUT_SUCCESSORS] = {0};
  const int64_t objects = file->objects;
  memset(file->touched, 0xff, (size_t)events * 4);
  for (int64_t row = 0; row < events; row += 1) {
    uint8_t byte = byte_of(&stream[s_ops]);
    while ((byte & 7) == HAK_LAYOUT_OP_SWITCH_THREAD && !stream[s_ops].overrun) {
      thread = byte >> 3;
      if (thread > HAK_LAYOUT_HINT_THREAD_MAX) thread = varint(&stream[s_ops]);
      byte = byte_of(&stream[s_ops]);
    }
    if (stream[s_ops].overrun) return refuse(file, "event %lld: too few operations for its chunk", (long long)(first_event + row));
    const int kind = byte & 7;
    const int64_t hint = byte >> 3;
    int64_t slot = objects;
    file->size_bytes[row] = 0;
    file->align[row] = 0;
    file->site[row] = 0;
    if (kind > HAK_OP_FREE) return refuse(file, "event %lld: operation %d", (long long)(first_event + row), kind);
    if (kind == HAK_OP_FREE) {
      int64_t distance = hint;
      if (hint == HAK_LAYOUT_HINT_SAME_DISTANCE) {
        distance = same_distance;
      } else if (hint == HAK_LAYOUT_HINT_ESCAPE) {
        const int64_t reference = varint(&stream[s_frees]);
        if (reference % 2 == 0) same_distance = reference / 2;
        distance = reference % 2 == 0 ? same_distance : -(reference + 1) / 2;
      }
      if (distance < 0)
        slot = -distance - 1;
      else if (distance > 0 && distance <= index)
        slot = file->slot_at[index - distance];
      if (slot >= objects || !file->live[slot])
        return refuse(file, "event %lld: free of object %lld, which is not live", (long long)(first_event + row), (long long)slot);
      file->live[slot] = 0;
      file->free_slot[file->free_slots] = (uint32_t)slot;
      file->free_slots += 1;
    } else {
      int64_t size_bytes;
      if (hint == HAK_LAYOUT_HINT_ESCAPE)
        size_bytes = varint(&stream[s_sizes]);
      else if (hint <= HAK_LAYOUT_HINT_SIZE_MAX)
        size_bytes = hint * HAK_LAYOUT_SIZE_UNIT_BYTES;
      else if (hint == HAK_LAYOUT_HINT_RECENT_FIRST)
        size_bytes = last;
      else
        size_bytes = hint == HAK_LAYOUT_HINT_SUCCESSOR ? successors[successor_slot(last)] : before_last;
      if (size_bytes >= HAK_LIMIT_SIZE_BYTES)
        return refuse(file, "event %lld: a size of %lld bytes; sizes are below 2^47", (long long)(first_event + row), (long long)size_bytes);
      successors[successor_slot(last)] = size_bytes;
      before_last = last;
      last = size_bytes;
      if (kind == HAK_OP_REALLOC) {
        const int64_t reference = varint(&stream[s_frees]);
        if (reference % 2 == 1)
          slot = (reference - 1) / 2;
        else if (reference > 0 && reference / 2 <= index)
          slot = file->slot_at[index - reference / 2];
        if (slot >= objects || !file->live[slot])
          return refuse(file, "event %lld: realloc of object %lld, which is not live", (long long)(first_event + row), (long long)slot);
      } else {
        if (file->free_slots > 0) {
          file->free_slots -= 1;
          slot = file->free_slot[file->free_slots];
        } else {
          slot = file->high;
          file->high += 1;
        }
        if (slot >= objects) return refuse(file, "event %lld: object %lld of only %lld", (long long)(first_event + row), (long long)slot, (long long)objects);
        file->live[slot] = 1;
      }
      if (kind == HAK_OP_ALIGNED) file->align[row] = UINT32_C(1) << (byte_of(&stream[s_aligns]) & 31);
      if (file->flags & HAK_LAYOUT_FLAG_SITES) file->site[row] = (uint32_t)varint(&stream[s_sites]);
      if (file->site[row] >= file->sites)
        return refuse(file, "event %lld: site %u of only %u", (long long)(first_event + row), file->site[row], file->sites);
      file->size_bytes[row] = (double)size_bytes;
      file->slot_at[index] = (uint32_t)slot;
      index += 1;
    }
    file->op[row] = (uint8_t)kind;
    file->thread[row] = (uint32_t)thread;
    file->object[row] = (uint32_t)slot;
    if (file->flags & HAK_LAYOUT_FLAG_TIME) varint(&stream[s_times]);
  }
  int64_t row = -1;
  while (stream[s_touched].at < stream[s_touched].end && !stream[s_touched].overrun) {
    const int64_t gap = varint(&stream[s_touched]);
    const int64_t pages = varint(&stream[s_touched]);
    row += gap;
    if (gap == 0 || row >= events || pages >= HAK_LIMIT_UNKNOWN)
      return refuse(file, "event %lld: a touch count that belongs to no event", (long long)first_event);
    file->touched[row] = (uint32_t)pages;
  }
  for (int at = 0; at < streams; at += 1)
    if (stream[at].overrun || stream[at].at != stream[at].end)
      return refuse(file, "event %lld: a stream that is longer or shorter than its events", (long long)first_event);
  return true;
}

bool hak_file_next(hak_file *file, hak_chunk *chunk, bool *more) {
  *more = file->next_chunk < file->chunks;
  if (!*more) return true;
  const int64_t at = file->next_chunk;
  file->next_chunk += 1;
  const int64_t offset = offset_of(file, at);
  const int64_t events = first_event_of(file, at + 1) - first_event_of(file, at);
  uint8_t frame[HAK_LAYOUT_FRAME_BYTES];
  if (!read_at(file, frame, offset, sizeof frame)) return false;
  const size_t length = u32(frame);
  if (hak_crc32(0, frame, 28) != u32(frame + 28))
    return refuse(file, "chunk %lld at byte %lld: its frame does not match its checksum", (long long)at, (long long)offset);
  if ((int64_t)length != offset_of(file, at + 1) - offset - HAK_LAYOUT_FRAME_BYTES || u32(frame + 4) != events ||
      u64(frame + 8) != first_event_of(file, at))
    return refuse(file, "chunk %lld at byte %lld: it is not what the seek index names", (long long)at, (long long)offset);
  if (length > file->payload_room) {
    file->payload = hak_memory_grow(file->memory, NULL, 0, length);
    file->payload_room = length;
  }
  if (!read_at(file, file->payload, offset + HAK_LAYOUT_FRAME_BYTES, length)) return false;
  if (hak_crc32(0, file->payload, length) != u32(frame + 24))
    return refuse(file, "chunk %lld at byte %lld: its content does not match its checksum", (long long)at, (long long)offset);
  if (!decode(file, file->payload, length, first_event_of(file, at), events)) return false;
  *chunk = (hak_chunk){events, file->op, file->thread, file->object, file->size_bytes, file->align, file->site, file->touched};
  return true;
}
