/* SPDX-License-Identifier: BSD-2-Clause */
/* The main() of postern-milter: flags, the configuration, and a process for each socket, since
 * libmilter serves one. Where one of them ends, all end: whoever watches over us starts us again.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/config/config.h"
#include "proxy/config/flags.h"
#include "proxy/milterd.h"
#include "proxy/privileged.h"
#include "proxy/base/version.h"

static const char help[] =
    "usage: postern-milter [-c FILE] [--check | --dump]\n"
    "                      [--SECTION-KEY=VALUE ...] [--SECTION=NAME --SECTION-NAME-KEY=VALUE "
    "...]\n"
    "\n"
    "Serves each [milter-server] of postern's configuration to mail servers, by the milter "
    "protocol.\n"
    "\n"
    "  -c FILE, --config=FILE  the configuration [" FLAGS_CONFIG_PATH "]\n"
    "  --check                 read and check everything, print all problems\n"
    "  --dump                  print the effective configuration, one assignment a line\n"
    "  --version, --help\n"
    "\n"
    "See postern-milter(8) and postern.cf(5).\n";

/* How children are told to stop. Not by SIGTERM: a thread of the library waits for that one, and
 * takes it from the loop if it comes while that thread starts. */
enum { STOP_CHILD = SIGUSR2 };

struct family {
    const struct config *config;
    pid_t *children; /* 0: has ended */
    size_t count, left;
    sigset_t handled, before;
    bool is_stopping;
    int code;
};

/* ---- children ---- */

static void tell_all(const struct family *f, int number)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->children[i] != 0)
            kill(f->children[i], number);
}

static int serve(const struct family *f, pid_t parent, const struct milter_server_conf *server,
                 struct bytes listen)
{
    sigprocmask(SIG_SETMASK, &f->before, NULL);
    if (prctl(PR_SET_PDEATHSIG, STOP_CHILD) != 0 || getppid() != parent)
        return EX_OSERR;
    return milterd_run(f->config, server, listen);
}

static void stop(struct family *f, int code)
{
    if (f->code == 0)
        f->code = code;
    f->is_stopping = true;
    tell_all(f, STOP_CHILD);
}

static void start_one(struct family *f, const struct milter_server_conf *server,
                      struct bytes listen)
{
    pid_t parent = getpid();
    pid_t pid = f->is_stopping ? 0 : fork();

    if (f->is_stopping)
        return;
    if (pid == 0)
        exit(serve(f, parent, server, listen));
    if (pid < 0) {
        stop(f, EX_OSERR);
        return;
    }
    f->children[f->count++] = pid;
    f->left++;
}

static void reap(struct family *f)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (size_t i = 0; i < f->count; i++)
            if (f->children[i] == pid)
                f->children[i] = 0;
        f->left--;
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : EX_SOFTWARE;
        if (code != 0 || !f->is_stopping)
            stop(f, code);
    }
}

static void watch(struct family *f)
{
    int number;

    while (f->left > 0) {
        if (sigwait(&f->handled, &number) != 0)
            continue;
        if (number == SIGCHLD)
            reap(f);
        else if (number == SIGUSR1)
            tell_all(f, SIGUSR1);
        else if (number != SIGHUP)
            stop(f, 0);
    }
}

/* ---- the program ---- */

static size_t count_sockets(const struct config *config)
{
    size_t count = 0;

    for (size_t i = 0; i < config->milter_server_count; i++)
        count += config->milter_servers[i]->listen.count;
    return count;
}

static int run_all(const struct config *config)
{
    static const int handled[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD};
    struct family f = {.config = config,
                       .children = mem_zalloc(count_sockets(config) * sizeof(pid_t))};

    if (f.children == NULL)
        return EX_OSERR;
    sigemptyset(&f.handled);
    for (size_t i = 0; i < ARRAY_LENGTH(handled); i++)
        sigaddset(&f.handled, handled[i]);
    sigprocmask(SIG_BLOCK, &f.handled, &f.before);
    for (size_t i = 0; i < config->milter_server_count; i++)
        for (size_t k = 0; k < config->milter_servers[i]->listen.count; k++)
            start_one(&f, config->milter_servers[i], config->milter_servers[i]->listen.at[k]);
    watch(&f);
    mem_free(f.children);
    return f.code;
}

static int need_servers(const struct config *config, const struct flags *flags)
{
    if (config->milter_server_count > 0)
        return 0;
    fprintf(stderr, "postern-milter: %s has no [milter-server]\n", flags->config_path);
    return EX_CONFIG;
}

static int run(struct config *config, const struct flags *flags)
{
    int code = config_read(config, flags);
    if (flags->mode == FLAGS_CHECK && code != EX_OSERR)
        code = config_check(config);
    config_print_problems(config, stderr);
    if (code == 0)
        code = need_servers(config, flags);
    if (code == 0 && flags->mode == FLAGS_DUMP)
        return config_dump(config, stdout);
    if (code == 0 && flags->mode == FLAGS_CHECK)
        puts("postern-milter: configuration is valid");
    if (code != 0 || flags->mode == FLAGS_CHECK)
        return code;
    log_unblock_stderr();
    privileged_raise_descriptors();
    code = privileged_drop(config);
    return code == 0 ? run_all(config) : code;
}

static int parse(int argc, char **argv, struct flags *flags_out)
{
    char problem[FLAGS_ERROR_MAX];

    int code = flags_parse(argc, argv, flags_out, problem);
    flags_out->serves_milters = true;
    if (code != 0)
        fprintf(stderr, "postern-milter: %s\n", problem);
    else if (flags_out->wants_daemon || flags_out->mode == FLAGS_EXPLAIN)
        fputs("postern-milter: --daemon and --explain are for postern\n", stderr);
    else
        return 0;
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    struct flags flags;

    umask(077); /* files that others may read get their mode where they are made */
    if (parse(argc, argv, &flags) != 0)
        return EX_USAGE;
    if (flags.mode == FLAGS_HELP || flags.mode == FLAGS_VERSION) {
        fputs(flags.mode == FLAGS_HELP ? help : "postern-milter " POSTERN_VERSION "\n", stdout);
        return 0;
    }
    struct config *config = config_new();
    if (config == NULL)
        return EX_OSERR;
    int code = run(config, &flags);
    config_free(&config);
    return code;
}
