/* A stand-in for libnvidia-ml.so.1: GPUs whose power is a known function of CLOCK_MONOTONIC.
 *
 * SIMULATED_GPUS: GPUs separated by ';', each a list of key=value separated by ',' (SimulatedGpu in simulated.py writes
 * it and says what each key means), for instance "high_W=300,tick_s=0.1;counter=0,refresh_s=0.1,window_s=0.025".
 * SIMULATED_NVML_STATE: a file that keeps the power limits that were set, and what a job did to the GPU, for all
 * processes; without it each process has its own.
 * SIMULATED_GPU_HOST: the number of the host that the GPUs are in, by default 0; it is part of their UUIDs.
 * SIMULATED_NVML_ERROR: the code that nvmlInit returns (18: driver and library differ; 9: the driver is not loaded).
 */
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int nvmlReturn_t;
enum {
    SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
    GPU_IS_LOST = 15, UNKNOWN = 999
};
enum { MOST_GPUS = 256, MOST_INSTANCES = 7, MOST_LIMITS = 1024 };

typedef struct gpu gpu_t;
typedef struct { gpu_t *gpu; int instance; } device_t; /* what a handle points to; instance -1: the whole GPU */

struct gpu {
    double low_W, high_W, period_s, duty, phase, idle_W, start_s, end_s;
    char trace[512], name[64];
    double step, counter, tick_s, tick_phase, refresh_s, refresh_phase, window_s, instant_window_s;
    double processes, limit_W, min_limit_W, max_limit_W, may_set_limit, mig, architecture, driven;
    size_t points;
    double *time_s, *power_W; /* of the trace */
    device_t whole, instances[MOST_INSTANCES];
};
static gpu_t gpus[MOST_GPUS];
static int count;

/* What was done to a GPU: when a job drove or reset it (0: not yet), whether it is lost, the power limits in order. */
typedef struct {
    double start_s, end_s, reset_s;
    int lost, set;
    struct { double from_s, limit_W; } limits[MOST_LIMITS];
} state_t;
static state_t *states;

/* ---- settings ---- */

static const struct { const char *key; size_t offset; } KEYS[] = {
#define KEY(name) {#name, offsetof(gpu_t, name)}
    KEY(low_W), KEY(high_W), KEY(period_s), KEY(duty), KEY(phase), KEY(idle_W), KEY(start_s), KEY(end_s), KEY(step),
    KEY(counter), KEY(tick_s), KEY(tick_phase), KEY(refresh_s), KEY(refresh_phase), KEY(window_s),
    KEY(instant_window_s), KEY(processes), KEY(limit_W), KEY(min_limit_W), KEY(max_limit_W),
    KEY(may_set_limit), KEY(mig), KEY(architecture), KEY(driven),
};

static int set_key(gpu_t *gpu, const char *key, const char *value) {
    if (!strcmp(key, "trace")) return snprintf(gpu->trace, sizeof gpu->trace, "%s", value) < (int)sizeof gpu->trace;
    if (!strcmp(key, "name")) return snprintf(gpu->name, sizeof gpu->name, "%s", value) < (int)sizeof gpu->name;
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++)
        if (!strcmp(key, KEYS[i].key)) {
            char *end;
            *(double *)((char *)gpu + KEYS[i].offset) = strtod(value, &end);
            return end != value && !*end;
        }
    return 0;
}

static int read_trace(gpu_t *gpu) {
    FILE *file = fopen(gpu->trace, "r");
    char line[256];
    double time_s, power_W;
    if (!file) return 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%lf,%lf", &time_s, &power_W) != 2) continue; /* the head */
        gpu->time_s = realloc(gpu->time_s, (gpu->points + 1) * sizeof(double));
        gpu->power_W = realloc(gpu->power_W, (gpu->points + 1) * sizeof(double));
        gpu->time_s[gpu->points] = time_s;
        gpu->power_W[gpu->points++] = power_W;
    }
    fclose(file);
    return gpu->points > 0;
}

static int read_gpu(gpu_t *gpu, char *text) {
    *gpu = (gpu_t){.name = "Simulated GPU", .low_W = 70, .high_W = 400, .period_s = 1.3, .duty = 0.5, .idle_W = 70, .end_s = INFINITY,
                   .counter = 1, .instant_window_s = NAN, .limit_W = 1000,
                   .min_limit_W = 100, .max_limit_W = 1000, .may_set_limit = 1, .architecture = 7};
    gpu->whole = (device_t){gpu, -1};
    for (int i = 0; i < MOST_INSTANCES; i++) gpu->instances[i] = (device_t){gpu, i};
    char *rest, *pair = strtok_r(text, ",", &rest);
    for (; pair; pair = strtok_r(NULL, ",", &rest)) {
        char *equals = strchr(pair, '=');
        if (equals) *equals = 0;
        if (!equals || !set_key(gpu, pair, equals + 1)) {
            fprintf(stderr, "SIMULATED_GPUS: %s: unknown key or bad value\n", pair);
            return 0;
        }
    }
    if (isnan(gpu->instant_window_s)) gpu->instant_window_s = gpu->window_s;
    if (*gpu->trace && !read_trace(gpu)) {
        fprintf(stderr, "SIMULATED_GPUS: %s: no trace of time_s,power_W\n", gpu->trace);
        return 0;
    }
    return 1;
}

static state_t *map_states(void) {
    const char *path = getenv("SIMULATED_NVML_STATE");
    size_t size = MOST_GPUS * sizeof(state_t);
    int file = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    int kind = file < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
    if (file >= 0 && ftruncate(file, size)) return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, kind, file, 0);
    if (file >= 0) close(file);
    return memory == MAP_FAILED ? NULL : memory;
}

/* ---- power and its integral ---- */

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

/* The last of the times (i + phase) * period that is not after t; t itself where there is no period. */
static double last_instant(double t, double period_s, double phase) {
    return period_s > 0 ? (floor(t / period_s - phase) + phase) * period_s : t;
}

/* The integral of min(limit, a straight line from p to q) over dt. */
static double line_J(double p, double q, double dt, double limit) {
    if (p <= limit && q <= limit) return (p + q) / 2 * dt;
    if (p >= limit && q >= limit) return limit * dt;
    double above = (fmax(p, q) - limit) / fabs(p - q) * dt;
    return limit * above + (limit + fmin(p, q)) / 2 * (dt - above);
}

/* The energy of the trace from a to b, which lie within it and count from its own zero. */
static double trace_J(const gpu_t *gpu, double a, double b, double limit) {
    double energy = 0;
    for (size_t i = 0; i + 1 < gpu->points; i++) {
        double from = gpu->time_s[i], to = gpu->time_s[i + 1];
        double s = fmax(a, from), e = fmin(b, to);
        if (e <= s) continue;
        double p = gpu->power_W[i], slope = gpu->step ? 0 : (gpu->power_W[i + 1] - p) / (to - from);
        energy += line_J(p + slope * (s - from), p + slope * (e - from), e - s, limit);
    }
    return energy;
}

/* The energy of the square wave, which is high in the last `duty` of each period, from a to b. */
static double wave_J(const gpu_t *gpu, double a, double b, double limit) {
    double low = fmin(gpu->low_W, limit), high = fmin(gpu->high_W, limit), rise = 1 - gpu->duty, cycles[2];
    double x = a / gpu->period_s + gpu->phase, whole = floor(x), until[2] = {x - whole, 0}, sum[2];
    until[1] = until[0] + (b - a) / gpu->period_s;
    for (int i = 0; i < 2; i++) {
        double rest = modf(until[i], &cycles[i]);
        sum[i] = cycles[i] * (low * rise + high * gpu->duty) + low * fmin(rest, rise) + high * fmax(0, rest - rise);
    }
    return gpu->period_s * (sum[1] - sum[0]);
}

/* The energy from a to b under one limit: of the trace or the wave from start to end, idle outside. */
static double limited_J(const gpu_t *gpu, double a, double b, double limit) {
    const state_t *state = &states[gpu - gpus];
    double start = gpu->start_s, end = gpu->end_s;
    if (gpu->driven) {
        start = state->start_s ? state->start_s : INFINITY;
        end = state->end_s ? state->end_s : INFINITY;
    }
    double zero = start;
    if (gpu->points) {
        end = zero + gpu->time_s[gpu->points - 1];
        start = zero + gpu->time_s[0];
    }
    double s = fmin(fmax(a, start), b), e = fmax(fmin(b, end), s), idle = fmin(gpu->idle_W, limit);
    double active = gpu->points ? trace_J(gpu, s - zero, e - zero, limit) : wave_J(gpu, s, e, limit);
    return idle * (s - a + b - e) + active;
}

static double energy_J(const gpu_t *gpu, double a, double b) {
    const state_t *state = &states[gpu - gpus];
    double energy = 0, limit = gpu->limit_W;
    for (int i = 0; i < state->set && state->limits[i].from_s < b; i++) {
        if (state->limits[i].from_s > a) {
            energy += limited_J(gpu, a, state->limits[i].from_s, limit);
            a = state->limits[i].from_s;
        }
        limit = state->limits[i].limit_W;
    }
    return energy + limited_J(gpu, a, b, limit);
}

/* The power that was published last: the mean over the window before that; without a window, of 0.1 ms. */
static double published_W(const gpu_t *gpu, double window_s) {
    double t = last_instant(now_s(), gpu->refresh_s, gpu->refresh_phase), window = fmax(window_s, 1e-4);
    return energy_J(gpu, t - window, t) / window;
}

static double counted_J(const gpu_t *gpu) {
    double t = last_instant(now_s(), gpu->tick_s, gpu->tick_phase);
    double reset_s = states[gpu - gpus].reset_s;
    return energy_J(gpu, t >= reset_s ? reset_s : 0, t);
}

/* ---- for the job: it drives a GPU (driven=1), which before and afterwards is idle; resets its counter; loses it ---- */

void simulated_start(unsigned index) { states[index].start_s = now_s(); }
void simulated_end(unsigned index) { states[index].end_s = now_s(); }
void simulated_reset(unsigned index) { states[index].reset_s = now_s(); }
void simulated_loss(unsigned index) { states[index].lost = 1; }

/* ---- NVML: the library and its devices ---- */

nvmlReturn_t nvmlInit_v2(void) {
    const char *error = getenv("SIMULATED_NVML_ERROR"), *list = getenv("SIMULATED_GPUS");
    if (error && atoi(error)) return atoi(error);
    if (states) return SUCCESS;
    char *text = strdup(list ? list : ""), *rest, *one = strtok_r(text, ";", &rest);
    for (; one && count < MOST_GPUS; one = strtok_r(NULL, ";", &rest))
        if (!read_gpu(&gpus[count++], one)) return UNKNOWN;
    free(text);
    states = map_states();
    return states ? SUCCESS : UNKNOWN;
}
nvmlReturn_t nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
nvmlReturn_t nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(nvmlReturn_t code) {
    return code == 18               ? "Driver/library version mismatch"
           : code == 9              ? "Driver Not Loaded"
           : code == 12             ? "NVML Shared Library Not Found"
           : code == NOT_SUPPORTED ? "Not Supported"
           : code == NO_PERMISSION ? "Insufficient Permissions"
           : code == NOT_FOUND     ? "Not Found"
           : code == GPU_IS_LOST   ? "GPU is lost"
                                   : "Unknown Error";
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    snprintf(version, length, "580.00");
    return SUCCESS;
}

#define REFUSE_LOST(device) if (states[(device)->gpu - gpus].lost) return GPU_IS_LOST
#define REFUSE_INSTANCE(device) REFUSE_LOST(device); if ((device)->instance >= 0) return NOT_SUPPORTED
/* A function that returns one number. */
#define NUMBER(function, REFUSE, of)                           \
    nvmlReturn_t function(device_t *device, unsigned *value) { \
        REFUSE(device);                                        \
        *value = (unsigned)(of);                               \
        return SUCCESS;                                        \
    }

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *n) { *n = (unsigned)count; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, device_t **handle) {
    if (index >= (unsigned)count) return INVALID_ARGUMENT;
    REFUSE_LOST(&gpus[index].whole);
    *handle = &gpus[index].whole;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetIndex(device_t *device, unsigned *index) {
    REFUSE_LOST(device);
    *index = device->instance < 0 ? (unsigned)(device->gpu - gpus) : (unsigned)device->instance;
    return SUCCESS;
}
static void name_uuid(const device_t *device, char *uuid, unsigned length) {
    const char *kind = device->instance < 0 ? "GPU" : "MIG";
    const char *host = getenv("SIMULATED_GPU_HOST");
    snprintf(uuid, length, "%s-%08d-%04d-0000-0000-%012d", kind, (int)(device->gpu - gpus), host ? atoi(host) : 0,
             device->instance + 1);
}
nvmlReturn_t nvmlDeviceGetUUID(device_t *device, char *uuid, unsigned length) {
    REFUSE_LOST(device);
    name_uuid(device, uuid, length);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *wanted, device_t **handle) {
    for (int i = 0; i < count; i++)
        for (int j = -1; j < (int)gpus[i].mig; j++) {
            device_t *device = j < 0 ? &gpus[i].whole : &gpus[i].instances[j];
            char uuid[96];
            name_uuid(device, uuid, sizeof uuid);
            if (strcmp(uuid, wanted)) continue;
            REFUSE_LOST(device);
            *handle = device;
            return SUCCESS;
        }
    return NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetName(device_t *device, char *name, unsigned length) {
    REFUSE_LOST(device);
    snprintf(name, length, device->instance < 0 ? "%s" : "%s MIG", device->gpu->name);
    return SUCCESS;
}

/* ---- NVML: energy, power, limits ---- */

nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(device_t *device, unsigned long long *energy_mJ) {
    REFUSE_INSTANCE(device);
    if (!device->gpu->counter) return NOT_SUPPORTED;
    *energy_mJ = (unsigned long long)(1000 * counted_J(device->gpu));
    return SUCCESS;
}
NUMBER(nvmlDeviceGetPowerUsage, REFUSE_INSTANCE, 1000 * published_W(device->gpu, device->gpu->window_s) + 0.5)
typedef struct {
    unsigned fieldId, scopeId;
    long long timestamp, latencyUsec;
    int valueType;
    nvmlReturn_t nvmlReturn;
    union { unsigned uiVal; unsigned long long ullVal; } value;
} nvmlFieldValue_t;
nvmlReturn_t nvmlDeviceGetFieldValues(device_t *device, int n, nvmlFieldValue_t *values) {
    REFUSE_INSTANCE(device);
    for (int i = 0; i < n; i++) {
        nvmlFieldValue_t *field = &values[i];
        field->timestamp = (long long)(1e6 * now_s());
        field->valueType = 1; /* unsigned int */
        field->nvmlReturn = SUCCESS;
        switch (field->fieldId) {
        case 83: /* NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION */
            field->valueType = 3; /* unsigned long long */
            field->nvmlReturn = nvmlDeviceGetTotalEnergyConsumption(device, &field->value.ullVal);
            break;
        case 185: /* NVML_FI_DEV_POWER_AVERAGE */
            field->nvmlReturn = nvmlDeviceGetPowerUsage(device, &field->value.uiVal);
            break;
        case 186: /* NVML_FI_DEV_POWER_INSTANT */
            field->value.uiVal = (unsigned)(1000 * published_W(device->gpu, device->gpu->instant_window_s) + 0.5);
            break;
        default:
            field->nvmlReturn = NOT_SUPPORTED;
        }
    }
    return SUCCESS;
}

static double limit_W(const gpu_t *gpu) {
    const state_t *state = &states[gpu - gpus];
    return state->set ? state->limits[state->set - 1].limit_W : gpu->limit_W;
}
NUMBER(nvmlDeviceGetPowerManagementLimit, REFUSE_INSTANCE, 1000 * limit_W(device->gpu))
NUMBER(nvmlDeviceGetEnforcedPowerLimit, REFUSE_INSTANCE, 1000 * limit_W(device->gpu))
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, REFUSE_INSTANCE, 1000 * device->gpu->limit_W)
nvmlReturn_t nvmlDeviceGetPowerManagementLimitConstraints(device_t *device, unsigned *least, unsigned *most) {
    REFUSE_INSTANCE(device);
    *least = (unsigned)(1000 * device->gpu->min_limit_W);
    *most = (unsigned)(1000 * device->gpu->max_limit_W);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceSetPowerManagementLimit(device_t *device, unsigned limit) {
    REFUSE_INSTANCE(device);
    gpu_t *gpu = device->gpu;
    state_t *state = &states[gpu - gpus];
    if (!gpu->may_set_limit) return NO_PERMISSION;
    if (limit < 1000 * gpu->min_limit_W || limit > 1000 * gpu->max_limit_W) return INVALID_ARGUMENT;
    if (state->set == MOST_LIMITS) return UNKNOWN;
    state->limits[state->set].from_s = now_s();
    state->limits[state->set].limit_W = limit / 1000.0;
    __sync_fetch_and_add(&state->set, 1);
    return SUCCESS;
}

/* ---- NVML: MIG ---- */

nvmlReturn_t nvmlDeviceGetMigMode(device_t *device, unsigned *current, unsigned *pending) {
    REFUSE_INSTANCE(device);
    if (!device->gpu->mig) return NOT_SUPPORTED;
    *current = *pending = 1;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMaxMigDeviceCount(device_t *device, unsigned *n) {
    REFUSE_INSTANCE(device);
    *n = device->gpu->mig ? MOST_INSTANCES : 0;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(device_t *device, unsigned index, device_t **handle) {
    REFUSE_INSTANCE(device);
    if (index >= MOST_INSTANCES) return INVALID_ARGUMENT;
    if (index >= device->gpu->mig) return NOT_FOUND;
    *handle = &device->gpu->instances[index];
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetDeviceHandleFromMigDeviceHandle(device_t *device, device_t **handle) {
    REFUSE_LOST(device);
    if (device->instance < 0) return INVALID_ARGUMENT;
    *handle = &device->gpu->whole;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceIsMigDeviceHandle(device_t *device, unsigned *is_instance) {
    *is_instance = device->instance >= 0;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGpuInstanceId(device_t *device, unsigned *id) {
    REFUSE_LOST(device);
    if (device->instance < 0) return NOT_SUPPORTED;
    *id = (unsigned)device->instance + 1;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetComputeInstanceId(device_t *device, unsigned *id) {
    REFUSE_LOST(device);
    if (device->instance < 0) return NOT_SUPPORTED;
    *id = 0;
    return SUCCESS;
}
typedef struct {
    unsigned multiprocessorCount, sharedCopyEngineCount, sharedDecoderCount, sharedEncoderCount, sharedJpegCount,
        sharedOfaCount, gpuInstanceSliceCount, computeInstanceSliceCount;
    unsigned long long memorySizeMB;
} nvmlDeviceAttributes_t;
enum { SLICES = 7, MULTIPROCESSORS_A_SLICE = 14, MEMORY_MB = 81920 };
nvmlReturn_t nvmlDeviceGetAttributes_v2(device_t *device, nvmlDeviceAttributes_t *attributes) {
    REFUSE_LOST(device);
    if (device->instance < 0) return NOT_SUPPORTED;
    unsigned instances = (unsigned)device->gpu->mig, slices = SLICES / instances;
    *attributes = (nvmlDeviceAttributes_t){.multiprocessorCount = slices * MULTIPROCESSORS_A_SLICE,
                                           .gpuInstanceSliceCount = slices,
                                           .computeInstanceSliceCount = slices,
                                           .memorySizeMB = MEMORY_MB / instances};
    return SUCCESS;
}

/* ---- NVML: what other tools ask for ---- */

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(device_t *device, unsigned *n, void *infos) {
    REFUSE_LOST(device);
    unsigned running = (unsigned)device->gpu->processes, room = *n;
    *n = running;
    if (infos == NULL || room < running) return running ? INSUFFICIENT_SIZE : SUCCESS;
    memset(infos, 0, (size_t)running * 24);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(device_t *device, unsigned *n, void *infos) {
    (void)infos;
    REFUSE_LOST(device);
    *n = 0;
    return SUCCESS;
}
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
enum { CONTEXT_MB = 400 }; /* what a job that drives a GPU has there */
nvmlReturn_t nvmlDeviceGetMemoryInfo(device_t *device, nvmlMemory_t *memory) {
    REFUSE_LOST(device);
    const state_t *state = &states[device->gpu - gpus];
    unsigned long long total = (unsigned long long)MEMORY_MB << 20;
    unsigned long long used = state->start_s > state->end_s ? (unsigned long long)CONTEXT_MB << 20 : 0;
    *memory = (nvmlMemory_t){total, total - used, used};
    return SUCCESS;
}
typedef struct { unsigned gpu, memory; } nvmlUtilization_t;
nvmlReturn_t nvmlDeviceGetUtilizationRates(device_t *device, nvmlUtilization_t *rates) {
    REFUSE_INSTANCE(device);
    *rates = (nvmlUtilization_t){0, 0};
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetCudaComputeCapability(device_t *device, int *major, int *minor) {
    REFUSE_LOST(device);
    *major = 8, *minor = 6;
    return SUCCESS;
}
NUMBER(nvmlDeviceGetArchitecture, REFUSE_LOST, device->gpu->architecture)
NUMBER(nvmlDeviceGetComputeMode, REFUSE_LOST, 0)
NUMBER(nvmlDeviceGetPersistenceMode, REFUSE_LOST, 1)
nvmlReturn_t nvmlDeviceGetTemperature(device_t *device, int sensor, unsigned *celsius) {
    (void)sensor;
    REFUSE_LOST(device);
    *celsius = 40;
    return SUCCESS;
}
typedef struct { unsigned version; int sensor, celsius; } nvmlTemperature_t;
nvmlReturn_t nvmlDeviceGetTemperatureV(device_t *device, nvmlTemperature_t *temperature) {
    REFUSE_LOST(device);
    temperature->celsius = 40;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetC2cModeInfoV(device_t *device, void *info) {
    (void)device, (void)info;
    return NOT_SUPPORTED;
}
