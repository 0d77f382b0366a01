/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines as they arrive in files, at syslog and at the journal. */
/* needs: io */
#include "proxy/io/log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/io/disk.h"
#include "tests/unit/lib.h"

static char root[64];
static char path[128];

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof(root), "/tmp/postern-log-XXXXXX");
    if (mkdtemp(root) == NULL)
        return -1;
    snprintf(path, sizeof(path), "%s/log", root);
    return 0;
}

static int remove_root(void **state)
{
    DIR *directory = opendir(root);
    struct dirent *entry;

    (void)state;
    while ((entry = readdir(directory)) != NULL)
        unlinkat(dirfd(directory), entry->d_name, 0);
    closedir(directory);
    return rmdir(root);
}

/* The whole file as a string; the caller frees. */
static char *read_text(const char *name)
{
    uint8_t *octets;
    size_t len;
    char *text;

    assert_int_equal(disk_read_file(name, 10000000, &octets, &len), 0);
    text = mem_grow(octets, len + 1);
    assert_non_null(text);
    text[len] = '\0';
    return text;
}

struct logger {
    struct loop *loop;
    struct log *log;
};

static struct logger open_log(struct log_sink sink, bool is_json)
{
    static struct log_sink kept; /* must live as long as the log */
    struct logger g = {.loop = loop_new()};
    int error = 0;

    assert_non_null(g.loop);
    kept = sink;
    g.log = log_new(g.loop, &kept, 1, is_json, &error);
    assert_non_null(g.log);
    return g;
}

static struct logger open_file_log(bool is_json)
{
    return open_log((struct log_sink){.kind = LOG_TO_FILE, .file_pattern = bytes_of(path)},
                    is_json);
}

static void close_log(struct logger *g)
{
    log_free(&g->log);
    loop_free(&g->loop);
}

static void put_all_kinds(struct log *g)
{
    struct log_line line = log_begin(g, 1, LOG_LEVEL_WARNING, "kinds");

    log_put_text(&line, "plain", "<a=b@c.example>");
    log_put_text(&line, "spaced", "250 2.0.0 fine");
    log_put_text(&line, "empty", "");
    log_put(&line, "hostile", bytes_make("\"\\\r\n\0\x7f\xc3\xa9 x=y", 12));
    log_put_number(&line, "least", INT64_MIN);
    log_put_number(&line, "none", 0);
    log_put_error(&line, "own", ERR_CLOSED);
    log_put_error(&line, "system", -111);
    log_end(&line);
}

/* "2026-11-22T03:47:44.123Z": what varies is checked for its form and cut off. */
static const char *skip_time(const char *text)
{
    static const char form[] = "dddd-dd-ddTdd:dd:dd.dddZ";

    for (size_t i = 0; i < sizeof(form) - 1; i++)
        if (form[i] == 'd')
            assert_in_range(text[i], '0', '9');
        else
            assert_int_equal(text[i], form[i]);
    return text + sizeof(form) - 1;
}

static void writes_text(void **state)
{
    static const char expected[] =
        " kinds plain=<a=b@c.example> spaced=\"250 2.0.0 fine\" empty=\"\" "
        "hostile=\"\\x22\\x5c\\x0d\\x0a\\x00\\x7f\\xc3\\xa9 x=y\" least=-9223372036854775808 "
        "none=0 own=\"connection closed by the other side\" system=\"Connection refused\"\n20";
    struct logger g = open_file_log(false);
    struct stat found;
    char *text;

    (void)state;
    put_all_kinds(g.log);
    put_all_kinds(g.log);
    text = read_text(path);
    assert_string_equal(text, ""); /* it is written at the end of the turn */
    mem_free(text);
    close_log(&g);
    text = read_text(path);
    assert_memory_equal(skip_time(text), expected, sizeof(expected) - 1);
    mem_free(text);
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 07777 & ~0640u, 0);
}

static void writes_json(void **state)
{
    struct logger g = open_file_log(true);
    static const char head[] = "{\"time\":\"";
    char *text;

    (void)state;
    put_all_kinds(g.log);
    close_log(&g);
    text = read_text(path);
    assert_memory_equal(text, head, strlen(head));
    assert_string_equal(
        skip_time(text + strlen(head)),
        "\",\"level\":\"warning\",\"event\":\"kinds\",\"plain\":\"<a=b@c.example>\","
        "\"spaced\":\"250 2.0.0 fine\",\"empty\":\"\","
        "\"hostile\":\"\\u0022\\u005c\\u000d\\u000a\\u0000\\u007f\\u00c3\\u00a9 x=y\","
        "\"least\":-9223372036854775808,\"none\":0,"
        "\"own\":\"connection closed by the other side\",\"system\":\"Connection refused\"}\n");
    mem_free(text);
}

static void stop_later(struct deadline *d);

struct stopper {
    struct deadline deadline;
    struct loop *loop;
    struct log *log;
    int rounds;
    off_t size;
};

static const struct deadline_use stop_use = {.reached = stop_later};

static off_t size_of_file(void)
{
    struct stat found;

    assert_int_equal(stat(path, &found), 0);
    return found.st_size;
}

/* Lines of one turn are in the file at the next one, without a flush. */
static void stop_later(struct deadline *d)
{
    struct stopper *s = CONTAINER_OF(d, struct stopper, deadline);

    if (s->rounds++ > 0)
        assert_true(size_of_file() > s->size);
    s->size = size_of_file();
    if (s->rounds == 3) {
        loop_stop(s->loop);
        return;
    }
    put_all_kinds(s->log);
    assert_int_equal(size_of_file(), s->size);
    deadline_set(s->loop, d, loop_now_ms(s->loop) + 5);
}

static void writes_once_a_turn(void **state)
{
    struct logger g = open_file_log(false);
    struct stopper s = {.loop = g.loop, .log = g.log};

    (void)state;
    deadline_init(&s.deadline, &stop_use);
    deadline_set(g.loop, &s.deadline, 0);
    assert_int_equal(loop_run(g.loop), 0);
    assert_int_equal(s.rounds, 3);
    close_log(&g);
}

static void reopens(void **state)
{
    struct logger g = open_file_log(false);
    char old[160], *text;

    (void)state;
    snprintf(old, sizeof(old), "%s.1", path);
    put_all_kinds(g.log);
    assert_int_equal(rename(path, old), 0);
    log_reopen(g.log);
    assert_int_equal(size_of_file(), 0);
    put_all_kinds(g.log);
    put_all_kinds(g.log);
    close_log(&g);
    text = read_text(old);
    assert_int_equal(2 * strlen(text), size_of_file());
    mem_free(text);
}

/* Brackets of JSON, outside of strings, which have none with quotes here. */
static bool is_balanced(const char *text)
{
    char open[8];
    size_t depth = 0;

    for (bool is_string = false; *text != '\0'; text++) {
        is_string ^= *text == '"';
        if (is_string)
            continue;
        if (*text == '{' || *text == '[')
            open[depth++] = *text;
        else if ((*text == '}' || *text == ']') && (depth == 0 || *text - open[--depth] != 2))
            return false;
        if ((*text == '{' || *text == '[') && text[1] == ',')
            return false;
    }
    return depth == 0;
}

static void put_lists_and_parts(struct log *g)
{
    struct log_line line = log_begin(g, 1, LOG_LEVEL_INFO, "lists");

    log_put_list(&line, "plain", bytes_of("<a@b>\n<c,d@e>\n"));
    log_put_list(&line, "quoted", bytes_of("<\"a b\"@c>\nd\n"));
    log_put_list(&line, "none", bytes_of(""));
    for (int i = 1; i <= 3; i++) {
        log_open_part(&line, "parts");
        log_put_text(&line, "name", i == 2 ? "x y" : "x");
        log_put_number(&line, "number", i);
        log_close_part(&line);
    }
    log_close_parts(&line);
    log_put_text(&line, "last", "z");
    log_end(&line);
}

static void writes_lists_and_parts(void **state)
{
    static const char *const expected[] = {
        " lists plain=<a@b>,<c,d@e> quoted=\"<\\x22a b\\x22@c>,d\" none=\"\" name=x number=1 "
        "name2=\"x y\" number2=2 name3=x number3=3 last=z\n",
        "\",\"level\":\"info\",\"event\":\"lists\",\"plain\":[\"<a@b>\",\"<c,d@e>\"],"
        "\"quoted\":[\"<\\u0022a b\\u0022@c>\",\"d\"],\"none\":[],\"parts\":["
        "{\"name\":\"x\",\"number\":1},{\"name\":\"x y\",\"number\":2},"
        "{\"name\":\"x\",\"number\":3}],\"last\":\"z\"}\n"};

    (void)state;
    for (int is_json = 0; is_json < 2; is_json++) {
        struct logger g = open_file_log(is_json != 0);
        put_lists_and_parts(g.log);
        close_log(&g);
        char *text = read_text(path);
        assert_string_equal(skip_time(text + (is_json ? strlen("{\"time\":\"") : 0)),
                            expected[is_json]);
        mem_free(text);
        unlink(path);
    }
}

/* Wherever the room ends, what was opened is closed, and what was begun is whole. */
static void cuts_parts_where_they_end(void **state)
{
    static char much[16384];

    (void)state;
    for (size_t len = 16100; len < 16300; len++) {
        struct logger g = open_file_log(true);
        struct log_line line = log_begin(g.log, 1, LOG_LEVEL_INFO, "long");

        memset(much, 'x', len);
        much[len] = '\0';
        log_put_text(&line, "a", much);
        for (int i = 0; i < 8; i++) {
            log_open_part(&line, "parts");
            log_put_number(&line, "n", i);
            log_close_part(&line);
        }
        log_close_parts(&line);
        log_put_list(&line, "list", bytes_of("one\n"));
        log_end(&line);
        close_log(&g);
        char *text = read_text(path);
        lib_is_true(len, "is balanced", is_balanced(text));
        mem_free(text);
        unlink(path);
    }
}

static void follows_pattern(void **state)
{
    char pattern[160], first[200], *text;
    struct log_sink sink = {.kind = LOG_TO_FILE};
    struct logger g;
    int error = 0;

    (void)state;
    snprintf(pattern, sizeof(pattern), "%s/%%%%-x", root);
    snprintf(first, sizeof(first), "%s/%%-x", root);
    sink.file_pattern = bytes_of(pattern);
    g = open_log(sink, false);
    put_all_kinds(g.log);
    log_flush(g.log);
    text = read_text(first);
    assert_true(strlen(text) > 0);
    mem_free(text);
    log_free(&g.log);

    sink.file_pattern = bytes_of("/nonexistent/postern/log");
    assert_null(log_new(g.loop, &sink, 1, false, &error));
    assert_true(error < 0);
    loop_free(&g.loop);
}

/* A line has its end and says that it was cut; JSON stays JSON. */
static void cuts_long_lines(void **state)
{
    static char much[10000];

    (void)state;
    memset(much, 'x', sizeof(much) - 1);
    for (int is_json = 0; is_json < 2; is_json++) {
        struct logger g = open_file_log(is_json != 0);
        struct log_line line = log_begin(g.log, 1, LOG_LEVEL_INFO, "long");
        char *text;

        log_put_text(&line, "a", much);
        log_put_text(&line, "b", much);
        log_put_text(&line, "c", "short");
        for (int i = 0; i < 3000; i++)
            log_put_number(&line, "n", i);
        log_end(&line);
        close_log(&g);
        text = read_text(path);
        assert_null(strstr(text, is_json ? "\"b\"" : " b="));
        assert_non_null(strstr(text, is_json ? "\"c\":\"short\"" : " c=short"));
        assert_non_null(strstr(text, is_json ? ",\"cut\":\"yes\"}\n" : " cut=yes\n"));
        assert_true(strlen(text) <= 16384);
        mem_free(text);
        unlink(path);
    }
}

static void survives_shortage(void **state)
{
    struct logger g = open_file_log(false);
    char *text;

    (void)state;
    mem_fail_nth(1);
    put_all_kinds(g.log);
    mem_fail_nth(0);
    log_flush(g.log);
    put_all_kinds(g.log);
    close_log(&g);
    text = read_text(path);
    assert_non_null(strstr(text, " kinds ")); /* the second one */
    assert_non_null(strstr(text, " log-lost lines=1\n"));
    mem_free(text);
}

/* ---- datagrams ---- */

static int open_receiver(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    assert_true(fd >= 0);
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static char *receive(int fd)
{
    static char datagram[70000];
    ssize_t len = recv(fd, datagram, sizeof(datagram) - 1, 0);

    datagram[len < 0 ? 0 : len] = '\0';
    return datagram;
}

static void put_short(struct log *g, int number)
{
    struct log_line line = log_begin(g, 1, LOG_LEVEL_ERROR, "short");

    log_put_text(&line, "dashed-key", "two\nlines");
    log_put_number(&line, "number", number);
    log_end(&line);
}

static void sends_to_syslog(void **state)
{
    int receiver = open_receiver();
    struct logger g = open_log((struct log_sink){.kind = LOG_TO_SYSLOG,
                                                 .ident = bytes_of("postern"),
                                                 .facility = 2,
                                                 .socket_path = path},
                               false);
    char expected[128], *got;

    (void)state;
    put_short(g.log, 1);
    put_short(g.log, 2);
    log_flush(g.log);
    got = receive(receiver);
    /* <19>Nov 22 03:47:44 postern[123]: ... */
    snprintf(expected, sizeof(expected),
             " postern[%ld]: short dashed-key=\"two\\x0alines\" number=1", (long)getpid());
    assert_memory_equal(got, "<19>", 4);
    assert_int_equal(got[7], ' ');
    assert_int_equal(got[10], ' ');
    assert_string_equal(got + 19, expected);
    assert_non_null(strstr(receive(receiver), "number=2"));
    assert_string_equal(receive(receiver), "");
    close_log(&g);
    close(receiver);
}

static void sends_to_journal(void **state)
{
    static const char expected[] = "PRIORITY=3\nSYSLOG_IDENTIFIER=postern\n"
                                   "MESSAGE=short dashed-key=\"two\\x0alines\" number=7\n"
                                   "POSTERN_EVENT=short\n"
                                   "POSTERN_DASHED_KEY\n\x09\0\0\0\0\0\0\0two\nlines\n"
                                   "POSTERN_NUMBER=7\n";
    int receiver = open_receiver();
    struct logger g = open_log((struct log_sink){.kind = LOG_TO_JOURNAL,
                                                 .ident = bytes_of("postern"),
                                                 .socket_path = path},
                               false);

    (void)state;
    put_short(g.log, 7);
    log_flush(g.log);
    assert_memory_equal(receive(receiver), expected, sizeof(expected));
    close_log(&g);
    close(receiver);
}

/* Nobody reads: what does not fit is counted, nothing waits, and it is told when there is room. */
static void counts_what_is_lost(void **state)
{
    int receiver = open_receiver(), read_count = 0;
    struct logger g = open_log(
        (struct log_sink){.kind = LOG_TO_SYSLOG, .ident = bytes_of("postern"), .socket_path = path},
        false);
    char expected[64], *got;

    (void)state;
    for (int i = 0; i < 3000; i++)
        put_short(g.log, i);
    log_flush(g.log);
    while (*receive(receiver) != '\0')
        read_count++;
    assert_true(read_count > 0 && read_count < 3000);
    put_short(g.log, 3000);
    log_flush(g.log);
    assert_non_null(strstr(receive(receiver), "number=3000"));
    snprintf(expected, sizeof(expected), "log-lost lines=%d", 3000 - read_count);
    got = receive(receiver);
    assert_non_null(strstr(got, expected));
    put_short(g.log, 3001);
    log_flush(g.log);
    assert_non_null(strstr(receive(receiver), "number=3001"));
    assert_string_equal(receive(receiver), ""); /* told once */
    close_log(&g);
    close(receiver);
}

/* The receiver goes and comes back under the same name. */
static void finds_new_receiver(void **state)
{
    int receiver = open_receiver();
    struct logger g = open_log(
        (struct log_sink){.kind = LOG_TO_SYSLOG, .ident = bytes_of("postern"), .socket_path = path},
        false);

    (void)state;
    put_short(g.log, 1);
    log_flush(g.log);
    close(receiver);
    unlink(path);
    put_short(g.log, 2);
    log_flush(g.log);
    receiver = open_receiver();
    sleep(1); /* it is looked for once a second */
    put_short(g.log, 3);
    log_flush(g.log);
    assert_non_null(strstr(receive(receiver), "number=3"));
    assert_non_null(strstr(receive(receiver), "log-lost lines=1"));
    close_log(&g);
    close(receiver);
}

int main(void)
{
#define ENTRY(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        ENTRY(writes_text),
        ENTRY(writes_json),
        ENTRY(writes_lists_and_parts),
        ENTRY(cuts_parts_where_they_end),
        ENTRY(writes_once_a_turn),
        ENTRY(reopens),
        ENTRY(follows_pattern),
        ENTRY(cuts_long_lines),
        ENTRY(survives_shortage),
        ENTRY(sends_to_syslog),
        ENTRY(sends_to_journal),
        ENTRY(counts_what_is_lost),
        ENTRY(finds_new_receiver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
