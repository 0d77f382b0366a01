/* SPDX-License-Identifier: BSD-2-Clause */
/* The control client's main(): asks the server, or works on the spool when none runs. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/base/text.h"
#include "proxy/config/config.h"
#include "proxy/control/control.h"
#include "proxy/control/control_probe.h"
#include "proxy/control/control_screen.h"
#include "proxy/config/flags.h"
#include "proxy/privileged.h"
#include "proxy/base/version.h"
#include "proxy/worker.h"

static const char help[] =
    "posternctl [-s SOCKET | -c FILE] [--json] COMMAND\n"
    "\n"
    "  queue                 what waits, one line a message\n"
    "  queue --shape         how many messages of what age wait for which target\n"
    "  show ID               one message: its envelope, and what became of it\n"
    "  cat ID                its content\n"
    "  flush WHAT            try now: ID, @DOMAIN, '#TARGET' or --all\n"
    "  hold ID, release ID   keep it from being tried; let it go on\n"
    "  delete ID             take it out of the queue, nobody is told\n"
    "  bounce ID             return it to its sender\n"
    "  reroute ID|'#TARGET' [to NAME]  by the tables, or to that target\n"
    "  fsck                  check every file of the spool, and repair\n"
    "  targets               health, connections, capabilities, and what waits\n"
    "  probe TARGET [ADDRESS | --smuggle ADDRESS]  speak to it, stage by stage\n"
    "  where ADDRESS         table, line, target and address that a recipient has now\n"
    "\n"
    "  -s, --socket=SOCKET   the control socket of a server that runs\n"
    "  -c, --config=FILE     the server's configuration (" FLAGS_CONFIG_PATH ")\n"
    "      --json            one JSON object a line\n"
    "      --version, --help\n";

struct options {
    const char *socket; /* NULL: by the configuration */
    const char *config;
    bool is_json, wants_help, wants_version;
    char **words;
    int word_count;
};

static int complain(int code, const char *what, const char *why)
{
    fprintf(stderr, "posternctl: %s: %s\n", what, why);
    return code;
}

/* ---- the command line ---- */

/* -s VALUE, -sVALUE, --socket=VALUE, --socket VALUE. */
static bool read_value(char **argv, int argc, int *at, const char *letter, const char *name,
                       const char **value_out)
{
    const char *word = argv[*at];
    size_t len = strlen(name);

    if (strncmp(word, name, len) == 0 && word[len] == '=') {
        *value_out = word + len + 1;
        return true;
    }
    if (strncmp(word, letter, 2) == 0 && word[2] != '\0') {
        *value_out = word + 2;
        return true;
    }
    if ((strcmp(word, letter) != 0 && strcmp(word, name) != 0) || *at + 1 >= argc)
        return false;
    *value_out = argv[++*at];
    return true;
}

static int read_options(int argc, char **argv, struct options *o)
{
    int at = 1;

    for (; at < argc && argv[at][0] == '-'; at++) {
        if (strcmp(argv[at], "--json") == 0)
            o->is_json = true;
        else if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0)
            o->wants_help = true;
        else if (strcmp(argv[at], "--version") == 0)
            o->wants_version = true;
        else if (!read_value(argv, argc, &at, "-s", "--socket", &o->socket) &&
                 !read_value(argv, argc, &at, "-c", "--config", &o->config))
            return complain(EX_USAGE, argv[at], "unknown flag, or without its value");
    }
    o->words = argv + at;
    o->word_count = argc - at;
    if (o->word_count > 1 &&
        strcmp(argv[argc - 1], "--json") == 0) { /* people type it there, too */
        o->is_json = true;
        o->word_count--;
    }
    if (o->word_count == 0 && !o->wants_help && !o->wants_version)
        return complain(EX_USAGE, "no command is given", "see --help");
    return 0;
}

/* ---- the answer ---- */

struct answer {
    enum { ANSWER_BEGIN, ANSWER_LINE, ANSWER_PIECE, ANSWER_END } state;
    char end[512]; /* the last line */
    size_t end_len;
    bool is_whole;
    bool cannot_print;
    bool is_raw; /* a message, not for a terminal */
    struct control_screen screen;
};

/* Neither the server nor the sender of a message may write to our terminal as he likes. */
static void print(struct answer *a, struct bytes octets)
{
    if (a->is_raw && octets.len != 0)
        fwrite(octets.at, 1, octets.len, stdout);
    else
        control_screen_put(&a->screen, octets, stdout);
    a->cannot_print = ferror(stdout) != 0;
}

static struct answer new_answer(struct bytes request)
{
    struct bytes rest = request;

    (void)text_word(&rest); /* text or json */
    return (struct answer){
        .state = ANSWER_BEGIN,
        .is_raw = bytes_is(text_word(&rest), "cat") && !isatty(STDOUT_FILENO),
    };
}

static void complain_with(struct bytes words)
{
    struct control_screen screen = {.held_len = 0};

    fputs("posternctl: ", stderr);
    control_screen_put(&screen, words, stderr);
    control_screen_end(&screen, stderr);
    fputc('\n', stderr);
}

static void keep_end(struct answer *a, struct bytes octets)
{
    size_t room = sizeof(a->end) - 1 - a->end_len;
    struct bytes kept = bytes_first(octets, room);

    if (kept.len != 0)
        memcpy(a->end + a->end_len, kept.at, kept.len);
    a->end_len += kept.len;
}

static void begin_line(struct answer *a, uint8_t what)
{
    a->state = what == ' ' ? ANSWER_LINE : what == '-' ? ANSWER_PIECE : ANSWER_END;
}

static void feed_answer(struct answer *a, struct bytes in)
{
    while (in.len != 0 && !a->is_whole) {
        if (a->state == ANSWER_BEGIN) {
            begin_line(a, in.at[0]);
            in = bytes_skip(in, 1);
            continue;
        }
        size_t end = bytes_find(in, '\n');
        bool is_ended = end < in.len;
        if (a->state == ANSWER_END)
            keep_end(a, bytes_first(in, end));
        else
            print(a, bytes_first(in, end + (is_ended && a->state == ANSWER_LINE ? 1 : 0)));
        a->is_whole = is_ended && a->state == ANSWER_END;
        if (is_ended)
            a->state = ANSWER_BEGIN;
        in = bytes_skip(in, is_ended ? end + 1 : end);
    }
}

/* The exit code that the last line tells. */
static int finish_answer(struct answer *a)
{
    uint64_t code = EX_PROTOCOL;
    struct bytes rest = bytes_make(a->end, a->end_len);

    control_screen_end(&a->screen, stdout);
    if (fflush(stdout) != 0 || a->cannot_print)
        return complain(EX_IOERR, "cannot write", strerror(errno));
    if (!a->is_whole)
        return complain(EX_TEMPFAIL, "the answer breaks off",
                        "the server has ended, or waited for us too long");
    if (text_decimal(text_word(&rest), 255, &code) != 0)
        return complain(EX_PROTOCOL, "the answer", "not understood");
    rest = text_trim(rest);
    if (rest.len != 0)
        complain_with(rest);
    return (int)code;
}

/* ---- a server that runs ---- */

static int send_all(int fd, struct bytes octets)
{
    while (octets.len != 0) {
        ssize_t sent = send(fd, octets.at, octets.len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return -errno;
        octets = bytes_skip(octets, (size_t)sent);
    }
    return 0;
}

static int talk(int fd, struct bytes request)
{
    struct answer answer = new_answer(request);
    uint8_t block[65536];

    if (send_all(fd, request) == 0 && send_all(fd, bytes_of("\n")) == 0) {
        while (!answer.is_whole && !answer.cannot_print) {
            ssize_t got = read(fd, block, sizeof(block));
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                break;
            feed_answer(&answer, bytes_make(block, (size_t)got));
        }
    }
    return finish_answer(&answer);
}

/* 0: *code_out is the server's. -errno: there is none to be reached. */
static int ask_server(const char *path, struct bytes request, int *code_out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
    if (error == 0)
        *code_out = talk(fd, request);
    close(fd);
    return error;
}

static int explain_no_server(const char *path, int error)
{
    return complain(error == -EACCES || error == -EPERM ? EX_NOPERM : EX_UNAVAILABLE, path,
                    strerror(-error));
}

/* ---- the spool without a server ---- */

struct cold {
    struct bytes request;
    struct worker *worker;
    struct control_run *run;
    struct answer answer;
    int code;
};

static void on_news(void *owner)
{
    struct cold *c = owner;

    if (c->run == NULL)
        return;
    for (struct bytes some = control_answer(c->run); some.len != 0; some = control_answer(c->run)) {
        feed_answer(&c->answer, some);
        control_told(c->run, some.len);
    }
    if (!control_is_over(c->run))
        return;
    control_end(&c->run);
    worker_stop(c->worker);
}

static void on_started(void *owner, struct worker *w)
{
    struct cold *c = owner;

    c->worker = w;
    c->run = control_begin(&w->services, c->request, on_news, c);
    if (c->run == NULL)
        worker_stop(w);
    else
        on_news(c);
}

static int work_cold(struct config *config, struct bytes request)
{
    struct cold cold = {.request = request, .answer = new_answer(request)};
    struct worker_task task = {
        .runs_queue = true,
        .is_alone = true,
        .is_cold = true,
        .cold_started = on_started,
        .owner = &cold,
    };
    int code = config_check_start(config);

    signal(SIGPIPE, SIG_IGN); /* an action that has begun is carried out */
    if (code != 0)
        config_print_problems(config, stderr);
    if (code == 0)
        code = privileged_drop(config); /* files that we make must belong to the server */
    if (code == 0)
        code = worker_run(config, &task);
    return code == 0 ? finish_answer(&cold.answer) : code;
}

/* ---- which of them ---- */

static int read_config(struct config *config, const struct options *o)
{
    char name[] = "posternctl";
    char *arguments[] = {name, NULL};
    struct flags flags = {
        .mode = FLAGS_SERVE,
        .config_path = o->config,
        .arguments = arguments,
    };
    int code = config_read(config, &flags);

    if (code != 0) /* warnings are for --check */
        config_print_problems(config, stderr);
    return code;
}

static int by_config(const struct options *o, struct bytes request)
{
    char path[CONTROL_PATH_MAX];
    struct config *config = config_new();
    int code = config == NULL ? EX_OSERR : read_config(config, o);

    if (code == 0 && control_path(config, path) != 0)
        code = complain(EX_CONFIG, "control-socket", "the path is too long");
    if (code == 0) {
        int error = ask_server(path, request, &code);
        if (error == -ENOENT || error == -ECONNREFUSED) {
            (void)complain(0, path, "no server runs here, the spool itself is asked");
            code = work_cold(config, request);
        } else if (error != 0)
            code = explain_no_server(path, error);
    }
    config_free(&config);
    return code;
}

static int perform(const struct options *o, struct bytes request)
{
    int code;

    if (o->socket == NULL)
        return by_config(o, request);
    int error = ask_server(o->socket, request, &code);
    return error == 0 ? code : explain_no_server(o->socket, error);
}

static int check(struct bytes request, struct pool *pool)
{
    struct buf problem;

    buf_init(&problem, pool, 1024);
    int code = control_check(request, &problem);
    if (code != 0)
        complain_with(buf_bytes(&problem));
    buf_done(&problem);
    return code;
}

/* ---- probe ---- */

static void print_piece(void *owner, struct bytes piece)
{
    struct cold *c = owner;

    feed_answer(&c->answer, piece);
    fflush(stdout); /* a target may take its time */
}

static int probe(const struct options *o)
{
    struct cold cold = {.answer = new_answer(bytes_of(""))};
    struct control_probe_request request;
    struct config *config = config_new();
    struct pool pool;
    struct arena arena;

    pool_init(&pool, CONTROL_REQUEST_MAX, 2);
    arena_init(&arena, &pool, CONTROL_REQUEST_MAX);
    const char *wrong = control_probe_read(o->words + 1, o->word_count - 1, &arena, &request);
    int code = wrong != NULL ? complain(EX_USAGE, "probe", wrong) : config == NULL ? EX_OSERR : 0;
    request.is_json = o->is_json;
    if (code == 0)
        code = read_config(config, o);
    if (code == 0)
        code = control_probe(config, &request, print_piece, &cold);
    if (code == 0)
        code = finish_answer(&cold.answer);
    arena_reset(&arena);
    pool_done(&pool);
    config_free(&config);
    return code;
}

static int run(const struct options *o)
{
    struct pool pool;
    struct buf request;

    pool_init(&pool, CONTROL_REQUEST_MAX, 2);
    buf_init(&request, &pool, CONTROL_REQUEST_MAX);
    buf_text(&request, o->is_json ? "json" : "text");
    for (int i = 0; i < o->word_count; i++) {
        buf_byte(&request, ' ');
        text_put_xtext(&request, bytes_of(o->words[i]));
    }
    int code = request.has_failed ? complain(EX_USAGE, "arguments", "too long")
                                  : check(buf_bytes(&request), &pool);
    if (code == 0)
        code = perform(o, buf_bytes(&request));
    buf_done(&request);
    pool_done(&pool);
    return code;
}

int main(int argc, char **argv)
{
    struct options options = {.config = FLAGS_CONFIG_PATH};

    umask(077);
    signal(SIGPIPE, SIG_IGN);
    int code = read_options(argc, argv, &options);
    if (code != 0)
        return code;
    if (options.wants_help || options.wants_version) {
        fputs(options.wants_help ? help : "posternctl " POSTERN_VERSION "\n", stdout);
        return 0;
    }
    return strcmp(options.words[0], "probe") == 0 ? probe(&options) : run(&options);
}
