/* SPDX-License-Identifier: BSD-2-Clause */
/* What the three bench programs share: clock, sockets, numbers; every failure ends the program. */
#ifndef POSTERN_BENCH_COMMON_H
#define POSTERN_BENCH_COMMON_H

#include <stddef.h>
#include <stdint.h>

#define NS_PER_MS 1000000ULL
#define NS_PER_S  1000000000ULL

/* Prints the message and what errno says to standard error, and exits with 1. */
void bench_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

uint64_t bench_now_ns(void);
void bench_pause_ms(unsigned long ms);
/* Until a line has come on standard input, or its end. */
void bench_await_line(void);

/* A decimal number of at most `max`. */
unsigned long bench_number(const char *text, unsigned long max);

/* Zeroed; the caller frees it. */
void *bench_alloc(size_t count, size_t size_bytes);

/* Lifts the soft limit on open files to the hard one. */
void bench_raise_descriptors(void);

/* All sockets are non-blocking TCP on 127.0.0.1, with TCP_NODELAY. */
int bench_listen(unsigned port);
int bench_connect(unsigned port);
/* -1 when nobody waits. */
int bench_accept(int listener);

/* Level-triggered; `tag` comes back as the event's data.ptr. */
void bench_watch(int epoll, int fd, uint32_t events, void *tag);
void bench_rewatch(int epoll, int fd, uint32_t events, void *tag);

#endif
