/* A driver of NVIDIA's without a GPU: memory of FakeCuda (tests/support/cuda_fake.py), opened by its handle.
   Signatures, constants and error codes are those of cuda.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INVALID_VALUE = 1, INVALID_DEVICE = 101, INVALID_CONTEXT = 201, INVALID_HANDLE = 400 };
typedef struct { char reserved[64]; } CUipcMemHandle;

static __thread int contexts; /* how many were made current in this thread */
static struct { uint64_t address, size; } opened[256];

int cuInit(unsigned int flags) { return flags ? INVALID_VALUE : 0; }

int cuDeviceGet(int *device, int number) {
    *device = number;
    return number < 2 ? 0 : INVALID_DEVICE;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    *context = (void *)(uintptr_t)(device + 1);
    return 0;
}

int cuCtxPushCurrent_v2(void *context) {
    contexts += context != 0;
    return context ? 0 : INVALID_CONTEXT;
}

int cuCtxPopCurrent_v2(void **context) {
    *context = 0;
    return contexts-- ? 0 : INVALID_CONTEXT;
}

int cuIpcOpenMemHandle_v2(uint64_t *address, CUipcMemHandle handle, unsigned int flags) {
    uint64_t exported[3]; /* pid, descriptor, size */
    char path[64];
    memcpy(exported, handle.reserved, sizeof exported);
    if (!contexts || exported[0] == (uint64_t)getpid()) return INVALID_CONTEXT;
    if (flags != 1) return INVALID_VALUE;
    snprintf(path, sizeof path, "/proc/%llu/fd/%llu", (unsigned long long)exported[0], (unsigned long long)exported[1]);
    int file = open(path, O_RDWR);
    if (file < 0) return INVALID_HANDLE;
    void *memory = mmap(0, exported[2], PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    for (int place = 0; place < 256 && memory != MAP_FAILED; place++)
        if (!opened[place].address) {
            opened[place].address = *address = (uint64_t)(uintptr_t)memory;
            opened[place].size = exported[2];
            return 0;
        }
    return INVALID_VALUE;
}

int cuIpcCloseMemHandle(uint64_t address) {
    if (!contexts) return INVALID_CONTEXT;
    for (int place = 0; place < 256; place++)
        if (address && opened[place].address == address) {
            opened[place].address = 0;
            return munmap((void *)(uintptr_t)address, opened[place].size) ? INVALID_VALUE : 0;
        }
    return INVALID_VALUE;
}

int cuMemcpyDtoH_v2(void *host, uint64_t address, size_t size) {
    if (!contexts) return INVALID_CONTEXT;
    memcpy(host, (const void *)(uintptr_t)address, size);
    return 0;
}

int cuGetErrorName(int error, const char **name) {
    *name = error == INVALID_VALUE     ? "CUDA_ERROR_INVALID_VALUE"
            : error == INVALID_DEVICE  ? "CUDA_ERROR_INVALID_DEVICE"
            : error == INVALID_CONTEXT ? "CUDA_ERROR_INVALID_CONTEXT"
                                       : "CUDA_ERROR_INVALID_HANDLE";
    return 0;
}
