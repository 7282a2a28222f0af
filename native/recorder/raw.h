/**
 * The raw recording, as docs/RECORDING.md lays it out: what the preloaded recorder and hak-attach write, and what
 * traces/recording-streams.ts reads.
 */
#ifndef HAKMEM_RECORDER_RAW_H
#define HAKMEM_RECORDER_RAW_H
#include <stdint.h>

#include "sample.h"

/** Kinds of records, the low four bits of their first word. An allocation's kind is its operation in a trace, plus one. */
enum kind {
  KIND_END,
  KIND_MALLOC,
  KIND_CALLOC,
  KIND_ALIGNED,
  KIND_REALLOC, /* the second half of a realloc: the block at its new place */
  KIND_FREE,
  KIND_MOVE,    /* the first half of a realloc: the block leaves its old place */
  KIND_TIME,    /* the whole clock, where a difference did not fit */
  KIND_THREAD,  /* the records that follow are another thread's */
  KIND_STACK,   /* frames behind a site, with --stacks */
  KIND_TOUCHED, /* pages of a large block that are resident just now */
  KIND_SMALL,   /* added to an allocation's kind: site and size share a word */
};

enum {
  PAGE_BYTES = 4096,
  HEADER_BYTES = PAGE_BYTES,
  BUFFER_BYTES = 128 * 1024,
  BUFFER_WORDS = BUFFER_BYTES / 8,
  DELTA_MAX = 0xffff,
  TSC_SHIFT = 4,
  MONOTONIC_SHIFT = 3,
};

/** How the watching of a process that ran already came to its end. Mirror: `attached` of traces/recording-streams.ts. */
enum attached { ATTACHED_NOT, ATTACHED_LET_GO, ATTACHED_EXIT, ATTACHED_EXEC, ATTACHED_FULL };

/** The file `process` of a recording, mapped shared. Mirror: `readProcess` of traces/recording.ts. */
struct process_file {
  char magic[8];
  uint32_t version, pid, parent, clock;
  uint32_t tick_shift, page_bytes, header_bytes, buffer_bytes;
  uint32_t stacks, touch, finished, stop_errno;
  int32_t exit_status;
  uint32_t forked;
  uint64_t min_size, lost_events;
  uint64_t start_ticks, start_ns, last_ticks, last_ns;
  uint64_t user_ns, sys_ns, faults, resident_peak_bytes;
  uint64_t sample_mean_bytes, sample_seed, sample_whole_bytes; /* no sample: all 0 */
  uint64_t attached; /* enum attached; 0 where the recorder was there from the start */
};

/** The start of a stream file: header, buffer, then what was flushed. */
struct stream_file {
  char magic[8];
  uint64_t flushed_bytes; /* bytes behind the buffer that are whole */
  uint64_t pending_bytes; /* bytes of the buffer that are being flushed; to the ring: the number of the segment */
  struct sample_counts counts;
  char rest[HEADER_BYTES - 24 - sizeof(struct sample_counts)];
  uint64_t buffer[BUFFER_WORDS];
};
_Static_assert(sizeof(struct stream_file) == HEADER_BYTES + BUFFER_BYTES, "the buffer follows the header page");
#endif
