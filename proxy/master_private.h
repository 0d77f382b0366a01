/* SPDX-License-Identifier: BSD-2-Clause */
/* What the master is made of: generations of processes, each with its sockets. Private to
 * master*.c. The master has no loop and reads nothing from the network. */
#ifndef POSTERN_MASTER_PRIVATE_H
#define POSTERN_MASTER_PRIVATE_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/list.h"
#include "proxy/config/config.h"
#include "proxy/io/log.h"
#include "proxy/notify.h"
#include "proxy/shared.h"

/* One address of one listener: its sockets share it (SO_REUSEPORT). Socket k is worker number
 * 1 + k % workers's. */
struct master_socket {
    const struct smtpd_conf *smtpd;
    const struct netaddr *address;
    int *fds; /* -1: closed while its worker's restart is delayed */
    size_t fd_count;
};

/* One worker's or the runner's place. It stays when the process in it dies. */
struct master_child {
    struct master_generation *generation;
    uint32_t number; /* of the worker, from 1; 0: the runner */
    unsigned column; /* of the shared mapping; SHARED_COLUMNS_MAX: none any more */
    pid_t pid;       /* 0: it does not run */
    int ready;       /* a pipe through which it says that it serves; -1: it has, or does not run */
    bool is_ready;
    uint64_t started_ms;
    uint64_t answered_ms; /* the last time when `answers` had changed */
    uint32_t answers;     /* of shared_answers() */
    uint64_t due_ms;      /* of its next start; UINT64_MAX: none */
    uint64_t pause_ms;    /* before the start after that */
};

enum master_generation_state {
    MASTER_GENERATION_STARTING,
    MASTER_GENERATION_SERVING,
    MASTER_GENERATION_RETIRING /* its processes end in their own time and are not replaced */
};

struct master_generation {
    struct list link; /* master.generations */
    struct master *master;
    struct config *config; /* its own */
    uint32_t number;
    enum master_generation_state state;
    struct master_socket *sockets;
    size_t socket_count;
    struct master_child *children; /* the runner first */
    size_t child_count;
};

/* Of the files that hold certificates and keys: see config_secrets_state(). */
struct master_watch {
    uint64_t due_ms; /* they are looked at again */
    uint64_t seen;   /* last time */
    uint64_t tried;  /* when they led to a reload last */
};

struct master {
    const struct flags *flags;
    struct shared *shared;
    struct list generations; /* oldest first */
    struct master_generation *serving;
    struct master_generation *coming;
    struct master_watch watch;
    struct notify notify;
    uint64_t watchdog_due_ms;
    pid_t pid;
    int signals;           /* signalfd */
    sigset_t old_mask;     /* what a child goes back to */
    int daemon_ready;      /* see master_open_detach(); -1: nobody waits for us */
    struct bytes pid_file; /* empty: none was written */
    uint8_t *pid_file_memory;
    uint32_t generation_count;
    bool columns[SHARED_COLUMNS_MAX]; /* in use */
    bool wants_reload;                /* asked for while a generation was coming */
    bool is_daemon;
    bool is_stopping;
    int exit_code;
};

uint64_t master_now_ms(void);

/* ---- master_open.c: each returns 0 or an exit code, and tells on stderr what fails ---- */

/* `socket->fds` gets `count` sockets: those of `like` (another generation's, or NULL) as far as
 * there are any, new ones beyond them. `overlaps_own`: our own sockets are at all addresses of that
 * port, or at one of them; else the address must be free. What fails is added to the problems. */
int master_open_socket(struct master_socket *s, const struct master_socket *like, bool overlaps_own,
                       size_t count, struct cf_problems *problems);
int master_open_again(const struct master_socket *s, size_t at);
void master_open_close(struct master_socket *s);
int master_open_detach(int *ready_out);
/* From here on nobody reads what we write to stderr. */
void master_open_silence(void);

/* ---- master_generation.c ---- */

/* Takes the configuration over, opens sockets and starts the processes; master.coming is this
 * generation then. 0, or an exit code; the configuration is freed in that case. */
int master_generation_start(struct master *m, struct config *config);
/* None of its processes is started any more; those that run get the signal. */
void master_generation_retire(struct master_generation *g, int number);
void master_generation_close_sockets(struct master_generation *g);
void master_generation_free(struct master_generation *g); /* no process of it is left */
size_t master_generation_alive(const struct master_generation *g);
void master_generation_signal(const struct master_generation *g, int number);

/* ---- master_child.c ---- */

/* Returns in the parent alone. 0 or -errno. */
int master_child_start(struct master_child *child);
/* Its process has ended. */
void master_child_ended(struct master_child *child, int status);
/* It will not be started again. */
void master_child_free_column(struct master_child *child);
/* Starts it again if that is due. */
void master_child_wake(struct master_child *child, uint64_t now_ms);

/* ---- master_watch.c ---- */

uint64_t master_watch_due_ms(const struct master *m); /* UINT64_MAX: never */
/* Looks when it is due. True: certificates or keys have changed, and do not change any more; said
 * once of each change. */
bool master_watch_looks_anew(struct master *m, uint64_t now_ms);

/* ---- master_watchdog.c ---- */

/* How often a process has to show that its loop turns. 0: nobody asks. */
uint64_t master_watchdog_part_ms(const struct notify *n);
uint64_t master_watchdog_due_ms(const struct master *m); /* UINT64_MAX: never */
/* Looks when it is due. */
void master_watchdog_wake(struct master *m, uint64_t now_ms);

/* ---- master_log.c ---- */

struct master_field {
    const char *key;
    struct bytes text; /* at == NULL: the number */
    int64_t number;
};

/* One line of the master's own, by the serving generation's configuration. A process of its own
 * writes it, under the account that all log files belong to; that process is waited for like any
 * other child. */
void master_log(struct master *m, enum log_level level, const char *event,
                const struct master_field *fields, size_t count);

#endif
