/* A wall clock that is set forward and back by a day, again and again, while a program runs.

   cc -shared -fPIC -o clock.so clock.c -ldl;  LD_PRELOAD=./clock.so program

   Every BURNISH_CLOCK_EVERY seconds (1) it is right, a day ahead, or a day behind, the same in
   all processes. CLOCK_MONOTONIC is left alone, as the system leaves it alone when the clock
   is set. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static int (*real_clock_gettime)(clockid_t, struct timespec *);

static int ask(clockid_t clock, struct timespec *now) {
  if (!real_clock_gettime)
    real_clock_gettime = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  return real_clock_gettime(clock, now);
}

static time_t set_by(void) {
  static const time_t offsets[] = {0, 86400, -86400};
  const char *every = getenv("BURNISH_CLOCK_EVERY");
  struct timespec now;
  ask(CLOCK_MONOTONIC, &now);
  return offsets[now.tv_sec / (every ? atoi(every) : 1) % 3];
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = ask(clock, now);
  if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI))
    now->tv_sec += set_by();
  return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  struct timespec exact;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &exact);
  now->tv_sec = exact.tv_sec;
  now->tv_usec = exact.tv_nsec / 1000;
  return 0;
}

time_t time(time_t *stored) {
  struct timespec exact;
  clock_gettime(CLOCK_REALTIME, &exact);
  if (stored)
    *stored = exact.tv_sec;
  return exact.tv_sec;
}
