/* How many arenas the allocator may have: one for each processor.
 *
 * glibc makes up to eight for each, and what one thread has freed in one of them stays there for it alone: a server at rest, most of
 * whose threads have worked once, at its start, keeps twice the memory. With one for each processor, nobody waits for another longer
 * than the other's allocation takes. See mallopt(3). In C, before main, since threads must not have begun, and since the call has no
 * safe form in Rust, of which the tree has no other. Who sets MALLOC_ARENA_MAX knows better. */

#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

__attribute__((constructor)) static void bound_arenas(void)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (getenv("MALLOC_ARENA_MAX") == NULL && processors > 0 && processors <= INT_MAX)
        mallopt(M_ARENA_MAX, (int)processors);
}
