/* A job that keeps simulated GPUs busy (driven=1 in tests/hardware/nvml.c): job SECONDS GPUS
 *
 * Drives the GPUs 0 to GPUS-1 and prints from when until when, in seconds of CLOCK_MONOTONIC. In C, so that a job's
 * length is not blurred by an interpreter's start.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int count, char **arguments) {
    if (count != 3) return 2;
    double seconds = atof(arguments[1]);
    unsigned gpus = (unsigned)atoi(arguments[2]);
    void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!nvml) return fprintf(stderr, "%s\n", dlerror()), 1;
    int (*init)(void) = (int (*)(void))dlsym(nvml, "nvmlInit_v2");
    void (*start)(unsigned) = (void (*)(unsigned))dlsym(nvml, "simulated_start");
    void (*end)(unsigned) = (void (*)(unsigned))dlsym(nvml, "simulated_end");
    if (init()) return 1;
    double from_s = now_s();
    for (unsigned i = 0; i < gpus; i++) start(i);
    struct timespec rest = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    nanosleep(&rest, NULL);
    double until_s = now_s();
    for (unsigned i = 0; i < gpus; i++) end(i);
    printf("%.9f %.9f\n", from_s, until_s);
    return 0;
}
