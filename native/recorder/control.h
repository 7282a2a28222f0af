/**
 * When a recording runs and how large it may become: HAKMEM_RECORD_AFTER, _FOR, _SIGNAL, _START_OFF, _MAX_SIZE, _KEEP.
 * Nothing in here allocates, and nothing in here is a cancellation point: it runs inside malloc and in a signal handler.
 */
#ifndef HAKMEM_RECORDER_CONTROL_H
#define HAKMEM_RECORDER_CONTROL_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The file `control` of a recording, mapped shared. Mirror: `readControl` of traces/recording-control.ts. */
struct control_file {
  char magic[8];
  uint64_t begin_ns; /* CLOCK_MONOTONIC when recording was first switched on; 0: not yet */
  uint64_t end_ns;   /* what comes later does not count; 0: no end */
  uint64_t max_bytes, keep_bytes;
  uint64_t raw_bytes; /* of the streams and of the ring */
  uint64_t switches;  /* by the signal */
  uint64_t paused_ns, paused_since_ns;
  uint64_t segments; /* written to `ring`, those that are overwritten by now included */
  uint32_t is_full;
  uint32_t signal;
  uint32_t signal_is_lost; /* the program wants it for itself */
  uint32_t streams;        /* files of streams */
};

/** The start of a segment in the file `ring`: a buffer's content that was flushed while only the newest are kept. */
struct segment_header {
  uint64_t number; /* from 1, over all threads; stored last, 0 while the segment is being written */
  uint32_t stream, bytes;
};

/** What is recorded of a call, for record.c; the rest of the options is kept in here. */
struct recorder_options {
  uint64_t min_size, stacks;
  uint64_t sample_mean, sample_seed; /* 0: no sample */
  bool touch;
};

/** All options, read once. False where one makes no sense, which is said on stderr: then nothing must be recorded. */
bool control_read_options(const char *(*environment)(const char *name), struct recorder_options *options);
/** At `start_ns`, the start of a recording, and again in a forked child. True where it begins switched on. */
bool control_begin(struct control_file *file, uint64_t start_ns);
/** Takes the signal, where the program left it alone. */
void control_take_signal(void);
/** Whether the time to begin has come, for a recording that is switched off. */
bool control_begins_now(void);
/** Switches off when the end has come. */
void control_check_end(void);
/** Accounts for bytes on the disk; false, and switched off, where they are too many. */
bool control_add_bytes(uint64_t bytes);
/** Segments that are kept; 0 where all are, in the files of the streams. */
uint64_t control_ring_slots(void);
/** The signal may have been taken by the program meanwhile. */
void control_note_signal(void);
/** One line on stderr. */
void control_complain(const char *name, const char *text, const char *wanted);

/* Of record.c: */
/** Switches recording on or off in all threads. Async-signal-safe. */
void recorder_switch(bool on);
uint64_t recorder_now_ns(void);
enum { RECORDER_SEGMENT_BYTES = 128 * 1024, RECORDER_STACK_FRAMES_MAX = 64 };
#endif
