/** Which functions of a process are its allocator's, and where they lie. */
#ifndef HAKMEM_ATTACH_ALLOCATOR_H
#define HAKMEM_ATTACH_ALLOCATOR_H
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum function {
  FUNCTION_FREE,
  FUNCTION_MALLOC,
  FUNCTION_CALLOC,
  FUNCTION_REALLOC,
  FUNCTION_REALLOCARRAY,
  FUNCTION_POSIX_MEMALIGN,
  FUNCTION_ALIGNED_ALLOC,
  FUNCTION_MEMALIGN,
  FUNCTION_VALLOC,
  FUNCTION_PVALLOC,
  FUNCTION_NEW, /* the first of the operators new, which call the functions above */
  FUNCTIONS = FUNCTION_NEW + 8,
};

struct probe_point {
  bool is_there;
  char file[64];   /* a path that opens the mapped file whatever became of its name */
  uint64_t offset; /* of the function in the file, in bytes */
};

struct allocator {
  struct probe_point functions[FUNCTIONS];
  char name[256]; /* of the file that has malloc, without its folder */
};

extern const char *const function_names[FUNCTIONS];

/** False where no mapped file has a malloc that can be found by its name; errno is set where the maps cannot be read. */
bool find_allocator(pid_t pid, struct allocator *allocator);
#endif
