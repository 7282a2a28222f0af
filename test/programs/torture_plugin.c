// Allocates where a library is loaded and unloaded, by the counting functions of torture.c.
extern void *marked_malloc(unsigned seed);
extern void marked_free(void *block);

static void *block;

static __attribute__((constructor)) void loaded(void) { block = marked_malloc(17); }
static __attribute__((destructor)) void unloaded(void) { marked_free(block); }
