/* Lets Python processes see another time of day: by as many seconds as OFFSET_FILE says, asked at every call.
   Other programs, and clocks that only go forward, stay as they are. Loaded by LD_PRELOAD (test_31_clock_jumps). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int concerned = -1;

static long offset_s(void) {
    char text[32] = "";
    int file;
    if (concerned < 0) {
        char name[16] = "";
        file = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            ssize_t unused = read(file, name, sizeof name - 1);
            (void)unused;
            close(file);
        }
        concerned = !strncmp(name, "python", 6) || !strncmp(name, "gunicorn", 8);
    }
    if (!concerned)
        return 0;
    file = open(OFFSET_FILE, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t unused = read(file, text, sizeof text - 1);
    (void)unused;
    close(file);
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset_s();
    return failed;
}

time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into)
        *into = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *now, void *zone) {
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}
