/** Preloaded, starts glibc's mtrace in a program that does not call it itself. */
#include <mcheck.h>

__attribute__((constructor)) static void start(void) { mtrace(); }
