// A library whose constructor runs before the recorder's: it allocates in every forked child before anyone else.
#include <pthread.h>
#include <stdlib.h>

static void *volatile kept;

static void in_child(void) { kept = malloc(20001); }
static __attribute__((constructor)) void loaded(void) { pthread_atfork(NULL, NULL, in_child); }

void torture_needs_this(void) {}
