/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's side of TLS for source.c, on sockets that do not block. Nobody's certificate is
 * verified. Every result is that of read() and send(): -1 and errno, EAGAIN included. */
#ifndef POSTERN_BENCH_SECURE_H
#define POSTERN_BENCH_SECURE_H

#include <stdbool.h>
#include <sys/types.h>

/* `resumes`: each connection resumes the session of the one before it. */
void secure_init(bool resumes);

struct secure; /* connections one after the other */

/* The first time it is made. */
void secure_open(struct secure **s, int fd);
/* Says that it goes. */
void secure_close(struct secure *s);
/* 0: the handshake is done. */
int secure_shake(struct secure *s);
/* More octets than one asked for may have come: ask until EAGAIN. */
ssize_t secure_read(struct secure *s, void *octets, size_t room);
ssize_t secure_send(struct secure *s, const void *octets, size_t length);
/* Handshakes so far that resumed a session. */
unsigned long secure_resumed(void);

#endif
