#define _GNU_SOURCE
#include "control.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MIN_RAW_BYTES = 1 << 20 };

static struct {
  uint64_t after_ns, for_ns, began_ns, max_bytes, keep_bytes;
  int signal;
  bool start_off;
} asked;

static struct control_file none;
/* Not mapped from a file before a recording begins, or where it could not be. */
static struct control_file *file = &none;
static uint32_t is_on, waits, has_ended;

void control_complain(const char *name, const char *text, const char *wanted) {
  char line[256];
  size_t length = 0;
  const char *const parts[] = {"hakmem: ", name, "=", text, ": wanted ", wanted, "; nothing is recorded\n"};
  for (size_t part = 0; part < sizeof parts / sizeof parts[0]; part += 1)
    for (const char *at = parts[part]; *at != '\0' && length < sizeof line; at += 1) line[length++] = *at;
  line[sizeof line - 1] = '\n';
  syscall(SYS_write, STDERR_FILENO, line, length);
}

static const char *read_number(const char *text, uint64_t *number) {
  const char *at = text;
  for (*number = 0; *at >= '0' && *at <= '9'; at += 1)
    if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number))
      return NULL;
  return at == text ? NULL : at;
}

static bool is_one_of(const char *text, const char *const *words, size_t count) {
  for (size_t at = 0; at < count; at += 1)
    if (strcasecmp(text, words[at]) == 0) return true;
  return false;
}

/** Mirror: `readBytes` of experiments/sizes.ts. */
static bool read_size(const char *text, uint64_t *bytes) {
  static const char units[] = "KMGT";
  static const char *const ends[] = {"", "B", "iB"};
  const char *rest = read_number(text, bytes);
  if (rest == NULL) return false;
  const char *unit = *rest == '\0' ? NULL : strchr(units, *rest & ~0x20);
  if (unit != NULL) {
    if (__builtin_mul_overflow(*bytes, (uint64_t)1 << 10 * (unit - units + 1), bytes)) return false;
    rest += 1;
  }
  return is_one_of(rest, ends, unit == NULL ? 2 : 3);
}

static bool read_time(const char *text, uint64_t *ns) {
  static const struct {
    const char *unit;
    uint64_t ns;
  } units[] = {{"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000}};
  const char *rest = read_number(text, ns);
  for (size_t at = 0; rest != NULL && at < sizeof units / sizeof units[0]; at += 1)
    if (strcmp(rest, units[at].unit) == 0) return !__builtin_mul_overflow(*ns, units[at].ns, ns);
  return false;
}

/** Those that mean nothing unless a program gives them a meaning. */
static int signal_of(const char *text) {
  uint64_t above = 0;
  if (strncmp(text, "SIG", 3) == 0) text += 3;
  if (strcmp(text, "USR1") == 0) return SIGUSR1;
  if (strcmp(text, "USR2") == 0) return SIGUSR2;
  if (strncmp(text, "RTMIN", 5) != 0) return 0;
  if (text[5] == '\0') return SIGRTMIN;
  const char *rest = text[5] == '+' ? read_number(text + 6, &above) : NULL;
  return rest != NULL && *rest == '\0' && above <= (uint64_t)(SIGRTMAX - SIGRTMIN) ? SIGRTMIN + (int)above : 0;
}

static bool read_frames(const char *text, uint64_t *frames) {
  const char *rest = read_number(text, frames);
  return rest != NULL && *rest == '\0' && *frames >= 1 && *frames <= RECORDER_STACK_FRAMES_MAX;
}

static bool read_seed(const char *text, uint64_t *seed) {
  const char *rest = read_number(text, seed);
  return rest != NULL && *rest == '\0';
}

static bool read_flag(const char *text, bool *flag) {
  *flag = strcmp(text, "1") == 0;
  return *flag || strcmp(text, "0") == 0;
}

static bool read_signal(const char *text, int *number) { return (*number = signal_of(text)) != 0; }

static bool read_raw_size(const char *text, uint64_t *bytes) { return read_size(text, bytes) && *bytes >= MIN_RAW_BYTES; }

#define READ(name, read, place, wanted)               \
  do {                                                \
    const char *text = environment(name);             \
    if (text == NULL || *text == '\0') break;         \
    if (read(text, place)) break;                     \
    control_complain(name, text, wanted);             \
    return false;                                     \
  } while (false)

bool control_read_options(const char *(*environment)(const char *name), struct recorder_options *options) {
  static const char time[] = "a time such as 2s or 500ms", size[] = "a size of at least 1MiB";
  READ("HAKMEM_RECORD_MIN_SIZE", read_size, &options->min_size, "a size such as 2MiB, 512K or 4096");
  READ("HAKMEM_RECORD_SAMPLE", read_size, &options->sample_mean, "a size such as 512KiB");
  READ("HAKMEM_RECORD_SEED", read_seed, &options->sample_seed, "a whole number");
  if (options->sample_mean != 0 && options->min_size != 0) {
    control_complain("HAKMEM_RECORD_SAMPLE", environment("HAKMEM_RECORD_SAMPLE"), "no HAKMEM_RECORD_MIN_SIZE beside it");
    return false;
  }
  READ("HAKMEM_RECORD_STACKS", read_frames, &options->stacks, "1 to 64 frames");
  READ("HAKMEM_RECORD_TOUCH", read_flag, &options->touch, "0 or 1");
  READ("HAKMEM_RECORD_AFTER", read_time, &asked.after_ns, time);
  READ("HAKMEM_RECORD_FOR", read_time, &asked.for_ns, time);
  READ("HAKMEM_RECORD_SIGNAL", read_signal, &asked.signal, "SIGUSR1, SIGUSR2 or SIGRTMIN+N");
  READ("HAKMEM_RECORD_START_OFF", read_flag, &asked.start_off, "0 or 1");
  READ("HAKMEM_RECORD_MAX_SIZE", read_raw_size, &asked.max_bytes, size);
  READ("HAKMEM_RECORD_KEEP", read_raw_size, &asked.keep_bytes, size);
  if (asked.start_off && asked.signal == 0) {
    control_complain("HAKMEM_RECORD_START_OFF", "1", "HAKMEM_RECORD_SIGNAL too");
    return false;
  }
  const char *began = environment("HAKMEM_RECORD_BEGAN_NS");
  if (began == NULL || read_number(began, &asked.began_ns) == NULL) asked.began_ns = recorder_now_ns();
  waits = asked.after_ns > 0 && !asked.start_off;
  is_on = !asked.start_off && !waits;
  return true;
}

static void note_begin(uint64_t now_ns) {
  if (file->begin_ns != 0) {
    if (file->paused_since_ns != 0) file->paused_ns += now_ns - file->paused_since_ns;
  } else {
    /* One end for a program and those that it starts, unless each has its own beginning. */
    const uint64_t due_ns = asked.began_ns + asked.after_ns, from_ns = asked.start_off || now_ns < due_ns ? now_ns : due_ns;
    if (asked.for_ns > 0 && file->end_ns == 0) file->end_ns = from_ns + asked.for_ns;
    file->begin_ns = now_ns;
  }
  file->paused_since_ns = 0;
}

bool control_begin(struct control_file *mapped, uint64_t start_ns) {
  /* A forked child goes on where its parent is, same state, same end; but what it writes is its own. */
  const uint64_t end_ns = file->end_ns;
  if (file->is_full) {
    is_on = 1;
    has_ended = 0;
  }
  if (file != &none) munmap(file, sizeof *file);
  file = mapped;
  file->max_bytes = asked.max_bytes;
  file->keep_bytes = asked.keep_bytes;
  file->signal = (uint32_t)asked.signal;
  file->end_ns = end_ns;
  if (is_on) note_begin(start_ns);
  memcpy(file->magic, "HAKCTRL1", sizeof file->magic);
  return is_on;
}

static void switched(int number) {
  (void)number;
  const int saved_errno = errno;
  if (!has_ended) {
    const bool on = !__atomic_fetch_xor(&is_on, 1, __ATOMIC_ACQ_REL);
    __atomic_store_n(&waits, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&file->switches, 1, __ATOMIC_RELAXED);
    if (on) note_begin(recorder_now_ns());
    else file->paused_since_ns = recorder_now_ns();
    recorder_switch(on);
  }
  errno = saved_errno;
}

void control_take_signal(void) {
  struct sigaction before;
  if (asked.signal == 0) return;
  if (sigaction(asked.signal, NULL, &before) != 0 || before.sa_handler != SIG_DFL) {
    file->signal_is_lost = 1;
    return;
  }
  const struct sigaction action = {.sa_handler = switched, .sa_flags = SA_RESTART};
  sigaction(asked.signal, &action, NULL);
}

void control_note_signal(void) {
  struct sigaction now;
  if (asked.signal != 0 && sigaction(asked.signal, NULL, &now) == 0 && now.sa_handler != switched)
    file->signal_is_lost = 1;
}

bool control_begins_now(void) {
  if (!__atomic_load_n(&waits, __ATOMIC_RELAXED) || recorder_now_ns() - asked.began_ns < asked.after_ns) return false;
  if (!__atomic_exchange_n(&waits, 0, __ATOMIC_ACQ_REL)) return false;
  __atomic_store_n(&is_on, 1, __ATOMIC_RELAXED);
  note_begin(recorder_now_ns());
  recorder_switch(true);
  return true;
}

static void end_recording(void) {
  has_ended = 1;
  __atomic_store_n(&is_on, 0, __ATOMIC_RELAXED);
  recorder_switch(false);
}

void control_check_end(void) {
  const uint64_t end_ns = __atomic_load_n(&file->end_ns, __ATOMIC_RELAXED);
  if (end_ns != 0 && recorder_now_ns() >= end_ns) end_recording();
}

bool control_add_bytes(uint64_t bytes) {
  const uint64_t sum = __atomic_add_fetch(&file->raw_bytes, bytes, __ATOMIC_RELAXED);
  if (file->max_bytes == 0 || sum <= file->max_bytes) return true;
  __atomic_sub_fetch(&file->raw_bytes, bytes, __ATOMIC_RELAXED);
  file->is_full = 1;
  end_recording();
  return false;
}

uint64_t control_ring_slots(void) {
  return asked.keep_bytes / (sizeof(struct segment_header) + RECORDER_SEGMENT_BYTES);
}
