/** Which functions of a process are its allocator's, and where they lie. */
#ifndef HAKMEM_ATTACH_ALLOCATOR_H
#define HAKMEM_ATTACH_ALLOCATOR_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** What a function does with its arguments. */
enum role {
  ROLE_FREE,           /* block */
  ROLE_MALLOC,         /* size */
  ROLE_MALLOCX,        /* size, flags: jemalloc's */
  ROLE_CALLOC,         /* count, size */
  ROLE_REALLOC,        /* block, size */
  ROLE_REALLOCARRAY,   /* block, count, size */
  ROLE_POSIX_MEMALIGN, /* where to store the block, alignment, size */
  ROLE_MEMALIGN,       /* alignment, size */
  ROLE_VALLOC,         /* size */
  ROLE_PVALLOC,        /* size */
  ROLE_NEW,            /* size */
  ROLE_NEW_ALIGNED,    /* size, alignment */
  ROLE_DELETE,         /* block */
  ROLE_NEW_ABOVE,      /* size; an operator new that calls one of the others */
};

enum { FUNCTIONS = 32, NAME_BYTES = 64 };

struct probe_point {
  char name[NAME_BYTES]; /* of the function */
  char file[64];         /* a path that opens the mapped file whatever became of its name */
  uint64_t offset;       /* of the function in the file, in bytes */
  enum role role;
};

struct allocator {
  struct probe_point points[FUNCTIONS];
  size_t count;
  char name[256]; /* of the file that has malloc, without its folder */
};

/** False where no mapped file has a malloc that can be found by its name; errno is set where the maps cannot be read. */
bool find_allocator(pid_t pid, struct allocator *allocator);
#endif
