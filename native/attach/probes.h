/** Probes at the functions of an allocator in one process, and what they report, in the order of time. */
#ifndef HAKMEM_ATTACH_PROBES_H
#define HAKMEM_ATTACH_PROBES_H
#include "allocator.h"

enum { STACK_BYTES_MAX = 1024 };

enum report_kind { REPORT_CALL, REPORT_RETURN, REPORT_THREAD_END, REPORT_EXEC, REPORT_MAP };

struct report {
  uint64_t time_ns; /* CLOCK_MONOTONIC */
  enum report_kind kind;
  uint32_t function; /* its place in the allocator's points */
  enum role role;
  uint32_t tid;
  uint64_t arguments[3], result;
  uint64_t stack_pointer;
  uint32_t stack_bytes;
  char stack[STACK_BYTES_MAX]; /* from the stack pointer on: of a call the return address; more of posix_memalign's return */
};

/** False, with one line on stderr, where the kernel does not allow it. */
bool probes_open(pid_t pid, const struct allocator *allocator);
/**
 * Empties the kernel's rings, and hands over what happened before `until_ns`, oldest first. To be called every few
 * milliseconds: a ring has room for 140,000 reports.
 */
void probes_read(uint64_t until_ns, void (*take)(const struct report *report));
/** Reports for which the kernel had no room. */
uint64_t probes_lost(void);
/** Idempotent; async-signal-unsafe. */
void probes_close(void);
uint64_t now_ns(void);
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
#endif
