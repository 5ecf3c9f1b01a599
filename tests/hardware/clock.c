/* A host whose clock is wrong, for LD_PRELOAD: the time of day is ahead by $SIMULATED_CLOCK_S seconds. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*of_the_host)(clockid_t, struct timespec *);
    if (!of_the_host)
        of_the_host = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = of_the_host(clock, now);
    const char *ahead_s = getenv("SIMULATED_CLOCK_S");
    if (!status && ahead_s && clock == CLOCK_REALTIME)
        now->tv_sec += atol(ahead_s);
    return status;
}
