/* A host that was suspended, for LD_PRELOAD: the clocks that count a suspension are ahead of CLOCK_MONOTONIC by the
 * seconds in the file $SIMULATED_SUSPENSION, from when it is written. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*of_the_host)(clockid_t, struct timespec *);
    if (!of_the_host)
        of_the_host = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = of_the_host(clock, now);
    const char *name = getenv("SIMULATED_SUSPENSION");
    if (status || !name || (clock != CLOCK_REALTIME && clock != CLOCK_BOOTTIME))
        return status;
    FILE *file = fopen(name, "r");
    long slept_s = 0;
    if (file) {
        if (fscanf(file, "%ld", &slept_s) == 1)
            now->tv_sec += slept_s;
        fclose(file);
    }
    return 0;
}
