/** Writes a raw recording, with a stream for each thread that lives at one time. Errors end the program with a line. */
#ifndef HAKMEM_ATTACH_RAW_FILES_H
#define HAKMEM_ATTACH_RAW_FILES_H
#include "../recorder/raw.h"
#include <stdint.h>

struct stream;

/** `folder` is new. */
void raw_begin(const char *folder, uint32_t pid, uint64_t min_size, uint64_t start_ns);
/** For a thread that begins: a stream that no other thread uses. */
struct stream *raw_take_stream(uint64_t time_ns);
/** Its thread has ended. */
void raw_give_back(struct stream *stream);
/** `words` follow the first word, which has kind, block (a multiple of 8) and time. */
void raw_put(struct stream *stream, enum kind kind, uint64_t block, uint64_t time_ns, const uint64_t *words, unsigned count);
/** Appends what /proc says of the process's modules. */
void raw_note_maps(void);
/** Everything so far reaches the files. Bytes of the recording. */
uint64_t raw_flush(uint64_t time_ns, uint64_t lost_events, enum attached attached);
#endif
