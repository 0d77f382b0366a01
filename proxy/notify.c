/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxy/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* A path, or a name of the abstract namespace behind an "@". Other kinds of sockets are unknown. */
static void find_socket(struct notify *n)
{
    const char *name = getenv("NOTIFY_SOCKET");
    size_t len = name == NULL ? 0 : strlen(name);

    if (len < 2 || len >= sizeof(n->address.sun_path) || (name[0] != '/' && name[0] != '@'))
        return;
    n->address.sun_family = AF_UNIX;
    memcpy(n->address.sun_path, name, len);
    if (name[0] == '@')
        n->address.sun_path[0] = '\0';
    n->address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static uint64_t number_of(const char *name)
{
    const char *text = getenv(name);
    return text == NULL ? 0 : strtoull(text, NULL, 10);
}

void notify_open(struct notify *n)
{
    uint64_t pid = number_of("WATCHDOG_PID");

    *n = (struct notify){.address_len = 0};
    find_socket(n);
    if (n->address_len != 0 && (pid == 0 || pid == (uint64_t)getpid()))
        n->watchdog_ms = number_of("WATCHDOG_USEC") / 1000;
}

void notify_say(const struct notify *n, const char *state)
{
    const struct timeval patience = {.tv_usec = 500000};

    if (n->address_len == 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&n->address,
                 n->address_len);
    close(fd);
}

void notify_say_reloading(const struct notify *n)
{
    char state[80];
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000);
    notify_say(n, state);
}
