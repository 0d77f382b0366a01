/* SPDX-License-Identifier: BSD-2-Clause */
/* What happens between reading the configuration and serving: sockets, privileges, the pid. */
#include "proxy/master.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/io/disk.h"
#include "proxy/io/listen.h"
#include "proxy/worker.h"

#define BACKLOG 4096 /* the kernel cuts it to net.core.somaxconn */

static int complain(int code, const char *what, struct bytes name, int error)
{
    fprintf(stderr, "postern: %s %.*s: %s\n", what, (int)name.len, (const char *)name.at,
            strerror(-error));
    return code;
}

static char *c_string(struct bytes text)
{
    char *copy = mem_zalloc(text.len + 1);
    if (copy != NULL)
        memcpy(copy, text.at, text.len);
    return copy;
}

/* ---- before privileges go ---- */

static int make_spool(const struct config *config)
{
    struct bytes name = config->core.spool_directory;
    const struct config_account *account = &config->account;
    char *path = c_string(name);
    int error = path == NULL ? -ENOMEM : disk_make_directories(path);

    if (error == 0 && account->is_set && chown(path, account->user, account->group) != 0)
        error = -errno;
    mem_free(path);
    return error == 0 ? 0 : complain(EX_CANTCREAT, "cannot make spool directory", name, error);
}

static int open_listener(const struct netaddr *address, int *fd_out)
{
    char text[NETADDR_TEXT_MAX];
    int fd = listen_open(address, BACKLOG);

    if (fd >= 0) {
        *fd_out = fd;
        return 0;
    }
    struct bytes name = bytes_of(netaddr_text_with_port(address, text));
    int code = fd == -EACCES || fd == -EPERM ? EX_NOPERM : EX_UNAVAILABLE;
    return complain(code, "cannot listen on", name, fd);
}

static size_t count_listeners(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->listeners.count;
    return count;
}

static int open_listeners(const struct config *config, struct worker_listener *listeners)
{
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *conf = config->smtpds[i];
        for (size_t j = 0; j < conf->listeners.count; j++) {
            listeners->smtpd = conf;
            int code = open_listener(&conf->listeners.at[j], &listeners->fd);
            if (code != 0)
                return code;
            listeners++;
        }
    }
    return 0;
}

/* Written before privileges go. */
static int write_pid(const struct config *config)
{
    struct bytes name = config->core.pid_file;
    if (name.len == 0)
        return 0;
    char *path = c_string(name);
    FILE *file = path == NULL ? NULL : fopen(path, "we");
    mem_free(path);
    if (file == NULL)
        return complain(EX_CANTCREAT, "cannot write pid file", name, -errno);
    fprintf(file, "%ld\n", (long)getpid());
    if (fclose(file) != 0)
        return complain(EX_CANTCREAT, "cannot write pid file", name, -errno);
    return 0;
}

/* The directory may be one that only root can change: then the file stays. */
static void remove_pid(const struct config *config)
{
    if (config->core.pid_file.len == 0)
        return;
    char *path = c_string(config->core.pid_file);
    if (path != NULL)
        (void)unlink(path);
    mem_free(path);
}

/* The parent stays until the child serves, and ends with its exit code if it never does. */
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

static int detach(int *ready_out)
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

/* From here on nobody reads what we write to stderr. */
static void on_started(void *owner)
{
    int *ready = owner;
    int null = *ready < 0 ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);

    if (null < 0)
        return;
    for (int fd = 0; fd <= 2; fd++)
        (void)dup2(null, fd);
    close(null);
    if (write(*ready, "", 1) == 1)
        close(*ready);
}

static int drop_privileges(const struct config *config)
{
    const struct config_account *account = &config->account;

    if (!account->is_set || geteuid() != 0)
        return 0;
    if (setgroups(0, NULL) != 0 || setgid(account->group) != 0 || setuid(account->user) != 0)
        return complain(EX_NOPERM, "cannot become user", config->core.user_id, -errno);
    return 0;
}

static int prepare(const struct config *config, struct worker_listener *listeners,
                   bool wants_daemon, int *ready_out)
{
    int code = make_spool(config);
    if (code == 0)
        code = open_listeners(config, listeners);
    if (code == 0 && wants_daemon)
        code = detach(ready_out);
    if (code == 0)
        code = write_pid(config);
    if (code == 0)
        code = drop_privileges(config);
    return code;
}

int master_run(const struct config *config, bool wants_daemon)
{
    size_t count = count_listeners(config);
    struct worker_listener *listeners = mem_zalloc((count + 1) * sizeof(*listeners));
    if (listeners == NULL)
        return EX_OSERR;
    signal(SIGPIPE, SIG_IGN);
    int ready = -1;
    int code = prepare(config, listeners, wants_daemon, &ready);
    if (code == 0) {
        code = worker_run(config, listeners, count, on_started, &ready);
        remove_pid(config);
    }
    mem_free(listeners);
    return code;
}
