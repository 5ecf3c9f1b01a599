/* A stand-in for libnvidia-ml.so.1: GPUs whose power is an analytic function of CLOCK_MONOTONIC.
 *
 * SIMULATED_GPUS: one GPU each, separated by ';', of the form "low_W,high_W,period_s,tick_s,counter,processes":
 * a square wave that is high in the second half of each period; the energy counter moves every tick_s (0: always);
 * counter 0: there is none, 1: there is one, 2: it starts anew at the time $SIMULATED_NVML_RESET (s).
 * SIMULATED_NVML_ERROR: the code that nvmlInit returns (18: driver and library differ).
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int nvmlReturn_t;
enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, INSUFFICIENT_SIZE = 7 };

typedef struct { double low_W, high_W, period_s, tick_s; int counter; unsigned processes; } gpu_t;
static gpu_t gpus[64];
static unsigned count;

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static double energy_J(const gpu_t *gpu, double t) {
    double cycles = floor(t / gpu->period_s), rest = t - cycles * gpu->period_s, half = gpu->period_s / 2;
    return cycles * half * (gpu->low_W + gpu->high_W) + gpu->low_W * fmin(rest, half) +
           gpu->high_W * fmax(0, rest - half);
}

nvmlReturn_t nvmlInit_v2(void) {
    const char *error = getenv("SIMULATED_NVML_ERROR"), *list = getenv("SIMULATED_GPUS");
    if (error && atoi(error)) return atoi(error);
    count = 0;
    while (list && *list && count < 64) {
        gpu_t *gpu = &gpus[count];
        if (sscanf(list, "%lf,%lf,%lf,%lf,%d,%u", &gpu->low_W, &gpu->high_W, &gpu->period_s, &gpu->tick_s,
                   &gpu->counter, &gpu->processes) == 6)
            count++;
        list = strchr(list, ';');
        if (list) list++;
    }
    return SUCCESS;
}
nvmlReturn_t nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) {
    return code == 18 ? "Driver/library version mismatch" : code == NOT_SUPPORTED ? "Not Supported" : "Unknown Error";
}
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *n) { *n = count; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, gpu_t **handle) {
    if (index >= count) return INVALID_ARGUMENT;
    *handle = &gpus[index];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUUID(gpu_t *gpu, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%08d-0000-0000-0000-000000000000", (int)(gpu - gpus));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(gpu_t *gpu, char *name, unsigned length) {
    (void)gpu;
    snprintf(name, length, "Simulated GPU");
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(gpu_t *gpu, unsigned long long *energy_mJ) {
    double t = now_s();
    const char *reset = getenv("SIMULATED_NVML_RESET");
    if (!gpu->counter) return NOT_SUPPORTED;
    if (gpu->tick_s > 0) t = floor(t / gpu->tick_s) * gpu->tick_s;
    double since = gpu->counter == 2 && reset && t >= atof(reset) ? atof(reset) : 0;
    *energy_mJ = (unsigned long long)(1000 * (energy_J(gpu, t) - energy_J(gpu, since)));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(gpu_t *gpu, unsigned *power_mW) {
    double phase = fmod(now_s(), gpu->period_s);
    *power_mW = (unsigned)(1000 * (phase < gpu->period_s / 2 ? gpu->low_W : gpu->high_W));
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(gpu_t *gpu, unsigned *n, void *infos) {
    if (infos == NULL || *n < gpu->processes) {
        *n = gpu->processes;
        return gpu->processes ? INSUFFICIENT_SIZE : SUCCESS;
    }
    *n = gpu->processes;
    memset(infos, 0, (size_t)*n * 24);
    return SUCCESS;
}
