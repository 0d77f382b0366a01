/* SPDX-License-Identifier: BSD-2-Clause */
/* The sockets that the master opens, and its way to the background. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/io/listen.h"
#include "proxy/master_private.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

static int complain(int code, const char *what, struct bytes name, int error)
{
    fprintf(stderr, "postern: %s %.*s: %s\n", what, (int)name.len, (const char *)name.at,
            strerror(-error));
    return code;
}

/* ---- sockets ---- */

static int code_of(int error)
{
    return error == -EACCES || error == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
}

static int report(struct cf_problems *problems, const struct netaddr *address, int error)
{
    char name[NETADDR_TEXT_MAX], text[200];

    snprintf(text, sizeof(text), "cannot listen on %s: %s", netaddr_text_with_port(address, name),
             strerror(-error));
    cf_fault(problems, (struct cf_place){.file = "postern"}, bytes_of(text));
    return code_of(error);
}

static int keep(int fd, int *fd_out)
{
    if (fd >= 0)
        *fd_out = fd;
    return fd < 0 ? fd : 0;
}

/* SO_REUSEPORT would let us share the address with another program that has set it too. So the
 * address must be free when we come, unless it is ours in part already. */
static int open_new(const struct netaddr *address, bool must_be_free, bool is_shared, int *fd_out)
{
    int error;

    if (!is_shared)
        return keep(listen_open(address, BACKLOG), fd_out);
    error = must_be_free ? listen_probe(address) : 0;
    return error != 0 ? error : keep(listen_open_shared(address, BACKLOG), fd_out);
}

static int copy_of(int fd, int *fd_out)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    return copy < 0 ? -errno : keep(copy, fd_out);
}

int master_open_socket(struct master_socket *s, const struct master_socket *like, bool overlaps_own,
                       size_t count, struct cf_problems *problems)
{
    size_t known = like == NULL ? 0 : like->fd_count;
    int error = 0;

    /* No socket is closed where fewer are asked for, since connections wait in each. */
    s->fd_count = count > known ? count : known;
    bool is_shared = s->fd_count != 0;
    if (!is_shared)
        s->fd_count = 1;
    s->fds = mem_alloc(s->fd_count * sizeof(*s->fds));
    if (s->fds == NULL)
        s->fd_count = 0;
    for (size_t i = 0; i < s->fd_count; i++)
        s->fds[i] = -1;
    for (size_t i = 0; error == 0 && i < s->fd_count; i++) {
        if (i < known && like->fds[i] >= 0)
            error = copy_of(like->fds[i], &s->fds[i]);
        else
            error =
                open_new(s->address, i == 0 && known == 0 && !overlaps_own, is_shared, &s->fds[i]);
    }
    if (s->fds == NULL)
        error = -ENOMEM;
    return error == 0 ? 0 : report(problems, s->address, error);
}

int master_open_again(const struct master_socket *s, size_t at)
{
    char text[NETADDR_TEXT_MAX];
    int error = s->fds[at] >= 0 ? 0 : open_new(s->address, false, true, &s->fds[at]);
    return error == 0 ? 0
                      : complain(code_of(error), "cannot listen on",
                                 bytes_of(netaddr_text_with_port(s->address, text)), error);
}

void master_open_close(struct master_socket *s)
{
    for (size_t i = 0; i < s->fd_count; i++)
        if (s->fds[i] >= 0)
            close(s->fds[i]);
    mem_free(s->fds);
    s->fds = NULL;
    s->fd_count = 0;
}

/* ---- going to the background ---- */

/* The parent stays until the child serves. If the child never does, the parent ends with its exit
 * code. */
static _Noreturn void wait_for(pid_t child, int ready)
{
    char told;
    int status;

    if (read(ready, &told, 1) == 1)
        _exit(0);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
        _exit(EX_OSERR);
    _exit(WEXITSTATUS(status));
}

int master_open_detach(int *ready_out)
{
    int ready[2];

    if (pipe2(ready, O_CLOEXEC) != 0)
        return complain(EX_OSERR, "cannot make", bytes_of("a pipe"), -errno);
    pid_t child = fork();
    if (child < 0)
        return complain(EX_OSERR, "cannot", bytes_of("fork"), -errno);
    if (child > 0) {
        close(ready[1]);
        wait_for(child, ready[0]);
    }
    close(ready[0]);
    setsid();
    *ready_out = ready[1];
    return 0;
}

void master_open_silence(void)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    close(null);
}
