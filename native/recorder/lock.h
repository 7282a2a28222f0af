/** A word as a lock, for sections of a few instructions. */
#ifndef HAKMEM_RECORDER_LOCK_H
#define HAKMEM_RECORDER_LOCK_H
#include <sched.h>
#include <stdint.h>

static inline void lock(uint32_t *word) {
  while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE) != 0) sched_yield();
}
static inline void unlock(uint32_t *word) { __atomic_store_n(word, 0, __ATOMIC_RELEASE); }
#endif
