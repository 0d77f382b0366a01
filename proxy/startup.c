/* SPDX-License-Identifier: BSD-2-Clause */
/* Judges files and sockets without making any. */
#include "proxy/startup.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/control/control.h"
#include "proxy/io/listen.h"
#include "proxy/io/log_where.h"
#include "proxy/logging.h"
#include "proxy/privileged.h"

/* ---- telling ---- */

/* "cannot open log file /var/log/x: Permission denied" */
static struct bytes phrase(struct config *config, const char *what, struct bytes name,
                           const char *why)
{
    struct bytes text;
    struct buf out;

    buf_init(&out, &config->pool, LOG_PATH_MAX + 200);
    buf_cat(&out, what, " ", NULL);
    buf_put(&out, name);
    buf_cat(&out, ": ", why, NULL);
    if (out.has_failed || arena_copy(&config->arena, buf_bytes(&out), &text) != 0)
        text = bytes_of(what);
    buf_done(&out);
    return text;
}

static struct cf_place core_place(const struct config *config, const char *key)
{
    return config_place(config, &config_core_section, bytes_make(NULL, 0), key);
}

static int fault(struct config *config, int code, struct cf_place place, struct bytes text)
{
    cf_fault(&config->problems, place, text);
    return code;
}

/* ---- files that the account opens, judged by a process that has become it ---- */

/* One of them. */
struct file {
    int (*judge)(const char *path); /* 0 or -errno */
    const char *what_fails;
    int code; /* of a start that fails for it */
    struct cf_place place;
    char path[LOG_PATH_MAX]; /* ends in NUL */
};

#define SPOOL_FILES 6
#define FILES_MAX   (LOG_SINKS_MAX + 1 + SPOOL_FILES)

struct files {
    size_t count;
    struct file at[FILES_MAX];
    int errors[FILES_MAX];
};

static void parent_of(const char *path, char parent_out[LOG_PATH_MAX])
{
    size_t length = (size_t)(strrchr(path, '/') - path);

    if (length == 0)
        length = 1; /* of "/" itself */
    memmove(parent_out, path, length);
    parent_out[length] = '\0';
}

/* May we make something beside it? */
static int judge_place(const char *path)
{
    char parent[LOG_PATH_MAX];

    parent_of(path, parent);
    return access(parent, W_OK | X_OK) == 0 ? 0 : -errno;
}

static int judge_log(const char *path)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    else if (errno == ENOENT)
        return judge_place(path);
    return fd < 0 ? -errno : 0;
}

/* One that is there is replaced. */
static int judge_socket(const char *path)
{
    struct stat there;

    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode))
        return -EISDIR;
    return judge_place(path);
}

/* Of the spool: it is made where it is missing. */
static int judge_folder(const char *path)
{
    bool is_fine = access(path, R_OK | W_OK | X_OK) == 0 || errno == ENOENT;
    struct stat there;

    if (is_fine && stat(path, &there) == 0 && !S_ISDIR(there.st_mode))
        return -ENOTDIR;
    return is_fine ? 0 : -errno;
}

static int judge_record(const char *path)
{
    struct stat there;

    if (stat(path, &there) == 0 && S_ISDIR(there.st_mode))
        return -EISDIR;
    return access(path, R_OK | W_OK) == 0 || errno == ENOENT ? 0 : -errno;
}

/* Root makes what is missing; we must come as far as that. */
static int judge_way(const char *path)
{
    char at[LOG_PATH_MAX];

    memcpy(at, path, strlen(path) + 1);
    while (access(at, X_OK) != 0) {
        if (errno != ENOENT)
            return -errno;
        parent_of(at, at);
    }
    return 0;
}

/* What does not exist yet is made below a directory of our own. */
static bool is_below(const char *path, struct bytes directory)
{
    size_t length = strlen(path);

    return length > directory.len && path[directory.len] == '/' &&
           memcmp(path, directory.at, directory.len) == 0;
}

/* Its path is not known yet. */
static struct file *add(struct files *files, int (*judge)(const char *), const char *what_fails,
                        int code, struct cf_place place)
{
    struct file *file = &files->at[files->count++];

    assert(files->count <= FILES_MAX);
    file->judge = judge;
    file->what_fails = what_fails;
    file->code = code;
    file->place = place;
    return file;
}

static void add_spool(const struct config *config, bool has_spool, struct files *files)
{
    static const struct {
        int (*judge)(const char *path);
        const char *name;
    } parts[SPOOL_FILES] = {{judge_folder, "/queue"},   {judge_folder, "/hold"},
                            {judge_folder, "/bad"},     {judge_folder, "/tmp"},
                            {judge_record, "/targets"}, {judge_socket, "/runner"}};
    struct bytes spool = config->core.spool_directory;

    for (size_t i = 0; i < (has_spool ? SPOOL_FILES : 1); i++) {
        struct file *file =
            add(files, has_spool ? parts[i].judge : judge_way, "cannot use spool directory",
                EX_CANTCREAT, core_place(config, "spool-directory"));
        snprintf(file->path, sizeof(file->path), "%.*s%s", (int)spool.len, (const char *)spool.at,
                 has_spool ? parts[i].name : "");
    }
}

static void list_files(const struct config *config, bool has_spool, struct files *files)
{
    struct bytes spool = config->core.spool_directory;
    struct file *file;

    files->count = 0;
    for (size_t i = 0; i < config->logfile_count && i < LOG_SINKS_MAX; i++) {
        const struct logfile_conf *log = config->logfiles[i];
        file = add(files, judge_log, "cannot open log file", EX_OSERR,
                   config_place(config, &config_core_logfile, log->section, "file"));
        if (log->file.len == 0 || log_where_file(log->file, time(NULL), file->path) != 0 ||
            (!has_spool && is_below(file->path, spool)))
            files->count--;
    }
    file = add(files, judge_socket, "cannot make control socket", EX_OSERR,
               core_place(config, "control-socket"));
    if (control_path(config, file->path) != 0 || (!has_spool && is_below(file->path, spool)))
        files->count--;
    add_spool(config, has_spool, files);
}

/* In a process of its own, which becomes the account. Never returns. */
static _Noreturn void judge_all(const struct config *config, struct files *files, int out)
{
    int error = privileged_become(config);

    for (size_t i = 0; i < files->count && error == 0; i++)
        files->errors[i] = files->at[i].judge(files->at[i].path);
    (void)!write(out, files->errors, files->count * sizeof(files->errors[0]));
    _exit(-error);
}

/* 0, or -errno: we cannot become the account, or find out. */
static int ask_as_account(const struct config *config, struct files *files)
{
    size_t length = files->count * sizeof(files->errors[0]);
    int ends[2], status;

    if (pipe(ends) != 0)
        return -errno;
    pid_t child = fork();
    if (child == 0)
        judge_all(config, files, ends[1]);
    close(ends[1]);
    bool is_told = child > 0 && read(ends[0], files->errors, length) == (ssize_t)length;
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status) || !is_told)
        return -EAGAIN;
    return -WEXITSTATUS(status);
}

static int check_files(struct config *config, bool has_spool)
{
    struct files *files = mem_zalloc(sizeof(*files));
    int code = 0;

    if (files == NULL)
        return EX_OSERR;
    list_files(config, has_spool, files);
    int error = ask_as_account(config, files);
    if (error != 0)
        code = fault(config, EX_NOPERM, core_place(config, "user-id"),
                     phrase(config, "cannot become user", config->core.user_id, strerror(-error)));
    for (size_t i = 0; i < files->count && error == 0; i++) {
        const struct file *file = &files->at[i];
        if (files->errors[i] != 0)
            code = fault(config, file->code, file->place,
                         phrase(config, file->what_fails, bytes_of(file->path),
                                strerror(-files->errors[i])));
    }
    mem_free(files);
    return code;
}

/* ---- what we do as we are ---- */

static int check_own(struct config *config, bool *has_spool_out)
{
    struct bytes spool = config->core.spool_directory, pid = config->core.pid_file;
    const char *why = privileged_judge_spool(config, has_spool_out);
    int error = privileged_judge_pid(pid), code = 0;

    if (why != NULL)
        code = fault(config, EX_CANTCREAT, core_place(config, "spool-directory"),
                     phrase(config, "cannot use spool directory", spool, why));
    if (error != 0)
        code = fault(config, EX_CANTCREAT, core_place(config, "pid-file"),
                     phrase(config, "cannot write pid file", pid, strerror(-error)));
    *has_spool_out = *has_spool_out && why == NULL;
    return code;
}

static void check_listener(struct config *config, const struct smtpd_conf *smtpd,
                           const struct netaddr *address, bool is_served)
{
    char text[NETADDR_TEXT_MAX];
    int error = listen_probe(address);
    struct cf_place place =
        config_place(config, &smtpd_conf_section, smtpd->section, "listen-port");

    if (error == 0 || (error == -EADDRINUSE && is_served))
        return;
    struct bytes why = phrase(config, "cannot listen on",
                              bytes_of(netaddr_text_with_port(address, text)), strerror(-error));
    if (error == -EADDRINUSE || error == -EADDRNOTAVAIL || error == -EAFNOSUPPORT)
        cf_warning(&config->problems, place, why);
    else
        cf_fault(&config->problems, place, why);
}

/* A start finds out itself: another's socket may be gone by then. */
static void check_listeners(struct config *config)
{
    bool is_served = privileged_is_spool_locked(config);

    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t k = 0; k < config->smtpds[i]->listeners.count; k++)
            check_listener(config, config->smtpds[i], &config->smtpds[i]->listeners.at[k],
                           is_served);
}

/* ---- loggers ---- */

static bool is_used(const struct config *config, const char *logger)
{
    for (size_t i = 0; i < config->core.loggers.count; i++)
        if (bytes_is(config->core.loggers.at[i], logger))
            return true;
    for (size_t i = 0; i < config->smtpd_count; i++)
        if (bytes_is(config->smtpds[i]->logger, logger))
            return true;
    return false;
}

static void check_log_socket(struct config *config, const char *logger, enum log_kind kind)
{
    int error = is_used(config, logger) ? log_where_probe(kind) : 0;

    if (error != 0)
        cf_warning(&config->problems, core_place(config, "logger"),
                   phrase(config, "no log lines can be sent to", bytes_of(log_where_socket(kind)),
                          strerror(-error)));
}

static int check_loggers(struct config *config)
{
    struct log_sink sinks[LOG_SINKS_MAX];

    check_log_socket(config, "syslog", LOG_TO_SYSLOG);
    check_log_socket(config, "journal", LOG_TO_JOURNAL);
    if (logging_sinks(config, sinks) >= 0)
        return 0;
    return fault(config, EX_CONFIG, (struct cf_place){.file = "postern"},
                 bytes_of("there are too many [logfile] sections"));
}

/* ---- all of it ---- */

static int check_host(struct config *config, bool is_check)
{
    bool has_spool;
    int own = check_own(config, &has_spool);
    int loggers = check_loggers(config);
    int files = check_files(config, has_spool);

    if (is_check)
        check_listeners(config);
    return own != 0 ? own : loggers != 0 ? loggers : files;
}

int startup_read(struct config *config, const struct flags *flags)
{
    bool is_check = flags->mode == FLAGS_CHECK;
    int code = config_read(config, flags);

    if (code == EX_OSERR)
        return code;
    code = is_check ? config_check(config) : config_check_start(config);
    if (!is_check && code != EX_OSERR)
        code = config_load_secrets(config);
    if (code == EX_OSERR || !config->has_file)
        return code;
    int host = check_host(config, is_check);
    if (code == 0 && is_check)
        return config->problems.errors == 0 ? 0 : EX_CONFIG;
    return code != 0 ? code : host;
}

void startup_tell(struct config *config)
{
    struct buf text;

    if (is_used(config, "stderr"))
        return;
    buf_init(&text, &config->pool, CONFIG_LISTENERS_MAX);
    config_put_listeners(config, &text);
    fprintf(stderr, "postern: listening on %.*s\n", (int)buf_length(&text),
            (const char *)buf_bytes(&text).at);
    buf_done(&text);
}
