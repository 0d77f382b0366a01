/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole configurations: defaults, flags, the tree, includes and the dump. */
/* needs: tests/unit/config_world.c shell io */
#include "proxy/config/config.h"

#include "tests/unit/config_every_key.h"
#include "tests/unit/config_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <syslog.h>
#include <unistd.h>

#include "proxy/config/config_private.h"
#include "route/relay/relay_conf.h"

static bool has_line(const char *text, const char *line)
{
    size_t len = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
        if ((at == text || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0'))
            return true;
    return false;
}

/* Every line of `lines` must be in the dump. */
static void check_dump(size_t row, const struct config_world *b, const char *lines)
{
    char copy[4096];
    if (!lib_same_text(row, "problems", "", b->problems) || b->dump == NULL)
        return;
    snprintf(copy, sizeof copy, "%s", lines);
    for (char *line = strtok(copy, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (!has_line(b->dump, line))
            lib_same_text(row, "a line of the dump", line, b->dump);
}

/* ---- what a configuration comes to ---- */

struct dump_row {
    const char *text, *flags, *lines;
};

static void check_dumps(const struct dump_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct config_world b;
        config_world_load(&b, rows[i].text, rows[i].flags, false);
        lib_same_number(i, "exit code", 0, b.code);
        check_dump(i, &b, rows[i].lines);
        config_world_unload(&b);
    }
    lib_end_rows();
}

static void fills_in(void **state)
{
    static const struct dump_row rows[] = {
        {"[core]\n", "",
         "core.hostname = host.example.net\ncore.user-id = postern\ncore.logger = stderr\n"
         "core.log-format = text\ncore.shutdown-timeout = 30s\ncore.delay-warning = off\n"
         "core.spool-directory = /var/spool/postern\ncore.copy-memory = 2m\ncore.max-copies = 4g\n"
         "syslog.ident = postern\nsyslog.facility = mail\n"
         "smtpd.\"host.example.net\".name = host.example.net\n"
         "smtpd.\"host.example.net\".listen-port = host.example.net:25\n"
         "smtpd.\"host.example.net\".relay-from = 127.0.0.0/8\n"
         "smtpd.\"host.example.net\".relay-from = ::1\n"},
        {"[core]\nhostname = mx.example.net\n[relay \"r\"]\naddress = 10.0.0.1\n", "",
         "smtpd.\"mx.example.net\".listen-port = mx.example.net:25\n"
         "relay.\"r\".helo = mx.example.net\nrelay.\"r\".name = r\nrelay.\"r\".port = 25\n"
         "relay.\"r\".identity = auto\nrelay.\"r\".on-failure = spool\n"},
        {"[relay \"r\"]\naddress = 10.0.0.1 3\naddress \"unix:/a b\" 007\nbalance hash\n", "",
         "relay.\"r\".address = 10.0.0.1 3\nrelay.\"r\".address = \"unix:/a b\" 7\n"
         "relay.\"r\".balance = hash\nrelay.\"r\".failover = no\n"},
        {"[relay \"r\"]\naddress = 10.0.0.1\nbalance = hash\nfailover = yes\n", "",
         "relay.\"r\".address = 10.0.0.1\nrelay.\"r\".failover = yes\n"},
        {"[relay \"r\"]\naddress = 10.0.0.1\nfailover = no\n", "",
         "relay.\"r\".balance = first\nrelay.\"r\".failover = no\n"},
        {"[relay \"mx.example.net\"]\nmx = yes\n", "",
         "relay.\"mx.example.net\".identity = none\n"},
        /* a section given again continues; a list is added to */
        {"[relay \"r\"]\naddress = 10.0.0.1\n[core]\n[relay \"r\"]\naddress = 10.0.0.2\n"
         "identity xclient proxy-v2\nidentity = xforward\n",
         "",
         "relay.\"r\".address = 10.0.0.1\nrelay.\"r\".address = 10.0.0.2\n"
         "relay.\"r\".identity = xclient\nrelay.\"r\".identity = xforward\n"
         "relay.\"r\".identity = proxy-v2\n"},
        {"a@b c\n[core]\n[route]\n@d \"e.f\" , @g\nx@ reject \"550 no, no\"\n\"file\" joe\n"
         "\"a,b@[::1]\" x\n",
         "",
         "route.\"\".a@b = c\nroute.\"\".@d = \"e.f\", @g\nroute.\"\".x@ = reject \"550 no, no\"\n"
         "route.\"\".\"file\" = joe\nroute.\"\".\"a,b@[::1]\" = x\n"},
        {"[route \"t\"]\ncase-sensitive yes\nrecipient-delimiter +\n", "",
         "route.\"t\".case-sensitive = yes\nroute.\"t\".recipient-delimiter = +\n"
         "route.\"\".case-sensitive = no\n"},
    };
    (void)state;
    config_world_uid = 0;
    check_dumps(rows, ARRAY_LENGTH(rows));
}

/* The documented defaults, or the only values that there are so far. */
static void has_the_documented_defaults(void **state)
{
    static const struct dump_row rows[] = {
        {"[relay \"r\"]\naddress = 10.0.0.1\n", "",
         "relay.\"r\".protocol = smtp\nrelay.\"r\".port = 25\nrelay.\"r\".mx = no\n"
         "relay.\"r\".identity = auto\nrelay.\"r\".identity-failure = defer\n"
         "relay.\"r\".xclient-address = auto\nrelay.\"r\".received = auto\n"
         "relay.\"r\".on-failure = spool\nrelay.\"r\".remember = 1d 1h 100000\n"
         "relay.\"r\".retry = 1h\nrelay.\"r\".expire = 5d\nrelay.\"r\".max-connections = 40\n"
         "relay.\"r\".idle-connections = 10\nrelay.\"r\".balance = first\n"
         "relay.\"r\".failover = yes\n"
         "relay.\"r\".idle-timeout = 30s\nrelay.\"r\".max-transactions = 100\n"
         "relay.\"r\".connect-timeout = 10s\nrelay.\"r\".command-timeout = 1m\n"
         "relay.\"r\".envelope-timeout = 2m\nrelay.\"r\".data-timeout = 3m\n"
         "relay.\"r\".final-timeout = 5m\nrelay.\"r\".chunking = auto\n"
         "relay.\"r\".health-interval = 10s\n"},
        {CONFIG_WORLD_QUIET, "",
         "smtpd.\"s\".protocol = smtp\nsmtpd.\"s\".max-message-size = 50m\n"
         "smtpd.\"s\".max-recipients = 1000\nsmtpd.\"s\".max-connections = 10000\n"
         "smtpd.\"s\".max-connections-per-client = 50\nsmtpd.\"s\".max-overshoot = 1000\n"
         "smtpd.\"s\".max-errors = 20\nsmtpd.\"s\".max-junk-commands = 100\n"
         "smtpd.\"s\".command-timeout = 5m\nsmtpd.\"s\".data-timeout = 5m\n"
         "smtpd.\"s\".session-timeout = 1h\nsmtpd.\"s\".greet-delay = 0\n"
         "smtpd.\"s\".bare-newline = normalize\nsmtpd.\"s\".split = live\n"
         "smtpd.\"s\".routed-recipients = reject\nsmtpd.\"s\".early-input = reject\n"
         "smtpd.\"s\".resolve-timeout = 5s\nsmtpd.\"s\".resolve-names = yes\n"},
    };
    (void)state;
    config_world_uid = 0;
    check_dumps(rows, ARRAY_LENGTH(rows));
}

static void takes_flags(void **state)
{
    static const struct dump_row rows[] = {
        {"", "--smtpd=foo\n--smtpd-foo-listen-port=2525", "smtpd.\"foo\".listen-port = 2525\n"},
        {"", "--smtpd-\"foo\"-listen-port=2525\n--smtpd=\"foo\"",
         "smtpd.\"foo\".listen-port = 2525\n"},
        /* the longest declared name */
        {"",
         "--smtpd=foo\n--smtpd=foo-bar\n--smtpd-foo-bar-listen-port=26\n"
         "--smtpd-foo-listen-port=27\n--smtpd-foo-bar-name=a-name",
         "smtpd.\"foo-bar\".listen-port = 26\nsmtpd.\"foo\".listen-port = 27\n"
         "smtpd.\"foo-bar\".name = a-name\n"},
        {"", "--smtpd=\"a\\\"b\"\n--smtpd-\"a\\\"b\"-name=x\n--smtpd-a\"b-listen-port=28",
         "smtpd.\"a\\\"b\".name = x\nsmtpd.\"a\\\"b\".listen-port = 28\n"},
        /* they override the file, lists too */
        {"[core]\nlog-format = text\nlogger = syslog\n",
         "--core-log-format=json\n--core-logger=journal\n--core-logger=stderr",
         "core.log-format = json\ncore.logger = journal\ncore.logger = stderr\n"},
        {"[core]\nlogger = syslog stderr\n", "--core-logger=journal", "core.logger = journal\n"},
        {"", "--core-hostname=mx.example.net\n--smtpd-mx.example.net-listen-port=29",
         "smtpd.\"mx.example.net\".listen-port = 29\n"},
        {"[route \"extern\"]\n",
         "--route-extern-@example.com=@example.org\n--route-\"\"-a@b=c d, e\n--route--f@g=h",
         "route.\"extern\".@example.com = @example.org\nroute.\"\".a@b = c d, e\n"
         "route.\"\".f@g = h\n"},
        {"", "--route-\"\"-case-sensitive=yes\n--route-\"\"-\"a b@c\"=d",
         "route.\"\".case-sensitive = yes\nroute.\"\".\"a b@c\" = d\n"},
        {"", "--syslog-facility=local0", "syslog.facility = local0\n"},
    };
    (void)state;
    config_world_uid = 0;
    check_dumps(rows, ARRAY_LENGTH(rows));
}

/* Flags' lines come first, for the first line that matches wins. */
static void routes_by_flags_first(void **state)
{
    struct config_world b;
    (void)state;
    config_world_load(&b, "@a x\n@b y\n", "--route--@c=1\n--route--@d=2", false);
    lib_same_number(0, "code", 0, b.code);
    if (b.dump != NULL) {
        lib_is_true(0, "order",
                    strstr(b.dump, "route.\"\".@c = 1\nroute.\"\".@d = 2\n"
                                   "route.\"\".@a = x\nroute.\"\".@b = y\n") != NULL);
        lib_same_number(0, "lines", 4, (int64_t)b.config->routes[0]->line_count);
    }
    config_world_unload(&b);
    lib_end_rows();
}

static void refuses_flags(void **state)
{
    static const struct {
        const char *flags, *problems;
        int code;
    } rows[] = {
        {"--smtpd-foo-listen-port=25",
         "command line:1:9: found \"foo\", expected the name of a declared section\n", EX_USAGE},
        {"--smtpd=fox\n--smtpd-foo-listen-port=localhost:25",
         "command line:2:9: found \"foo\", expected the name of a declared section; did you mean "
         "\"fox\"?\ncommand line:1:9: found \"fox\", expected the name of a host that has "
         "addresses\n",
         EX_USAGE},
        {"--core-hostnam=x",
         "command line:1:8: found \"hostnam\", expected a key of [core]; did you mean "
         "\"hostname\"?\n",
         EX_USAGE},
        {"--core=x",
         "command line:1:1: found \"--core=x\", expected a key after this section, which has no "
         "name\n",
         EX_USAGE},
        {"--core-hostname=-", "command line:1:17: found \"-\", expected a host name\n", EX_CONFIG},
        {"--core-log-format=text\n--core-log-format=json",
         "command line:2:8: found \"log-format\", expected it only once (it stands on line 1 "
         "already)\n",
         EX_CONFIG},
        {"--core-logger=a#b", "command line:1:16: found \"#\", expected a word\n", EX_CONFIG},
        {"--route--\"a b\"@c=d", "command line:1:15: found \"@\", expected \"=\"\n", EX_CONFIG},
        {"--core-logger=", "command line:1:15: found the end of the argument, expected a word\n",
         EX_CONFIG},
    };
    (void)state;
    config_world_uid = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct config_world b;
        config_world_load(&b, "", rows[i].flags, false);
        lib_same_text(i, "problems", rows[i].problems, b.problems);
        lib_same_number(i, "exit code", rows[i].code, b.code);
        config_world_unload(&b);
    }
    lib_end_rows();
}

/* ---- every key ---- */

/* `smtpd."x".key = value` as the flags --smtpd=x and --smtpd-"x"-key=value. */
static int to_flags(char *dump, char **argv)
{
    static char room[CONFIG_WORLD_ARGUMENTS_MAX][512];
    int argc = 1;
    for (char *line = strtok(dump, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *dot = strchr(line, '.');
        char *key = dot + 1, *name = NULL;
        if (*key == '"') {
            name = key;
            key = strstr(name + 1, "\".") + 2;
            key[-1] = '\0';
        }
        *dot = '\0';
        assert_true(argc + 2 < CONFIG_WORLD_ARGUMENTS_MAX);
        if (name != NULL) {
            snprintf(room[argc], sizeof room[0], "--%s=%s", line, name);
            argv[argc] = room[argc];
            argc++;
        }
        snprintf(room[argc], sizeof room[0], name == NULL ? "--%s-%.0s%s" : "--%s-%s-%s", line,
                 name == NULL ? "" : name, key);
        argv[argc] = room[argc];
        argc++;
    }
    return argc;
}

static int count_lines(const char *text)
{
    int count = 0;
    while (text != NULL && (text = strchr(text, '\n')) != NULL) {
        text++;
        count++;
    }
    return count;
}

static void comes_back_from_flags(void **state)
{
    static char *argv[CONFIG_WORLD_ARGUMENTS_MAX];
    struct config_world first, second;
    (void)state;
    config_world_uid = 0;
    config_world_load(&first, every_key, "", false);
    lib_same_text(0, "problems", "", first.problems);
    assert_non_null(first.dump);
    char *copy = strdup(first.dump);
    argv[0] = copy;
    int argc = to_flags(copy, argv);
    config_world_write("t.cf", "");
    config_world_read(&second, argc, argv, false);
    lib_same_text(1, "problems", "", second.problems);
    /* sections may stand in another order */
    char *lines = strdup(first.dump);
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n"))
        if (second.dump == NULL || !has_line(second.dump, line))
            lib_same_text(2, "a line of the dump", line, second.dump);
    lib_same_number(3, "lines", count_lines(first.dump), count_lines(second.dump));
    free(lines);
    free(copy);
    config_world_unload(&first);
    config_world_unload(&second);
    lib_end_rows();
}

static void knows_every_key(void **state)
{
    struct config_world b;
    const struct setting_section *kind;
    char text[128];
    (void)state;
    config_world_uid = 0;
    config_world_load(&b, every_key, "", false);
    lib_same_text(0, "problems", "", b.problems);
    assert_non_null(b.dump);
    for (size_t i = 0; (kind = config_builder_each_kind(i)) != NULL; i++)
        for (size_t k = 0; k < kind->row_count; k++) {
            const struct setting *row = &kind->rows[k];
            snprintf(text, sizeof text, "%s = ", row->key);
            lib_is_true(i, row->key, strstr(every_key, text) != NULL);
            lib_is_true(i, row->key, strstr(b.dump, text) != NULL);
            lib_is_true(i, row->key, row->help != NULL);
            lib_is_true(i, row->key, row->initial != NULL || row->initial_help != NULL);
        }
    config_world_unload(&b);
    lib_end_rows();
}

/* Each value that is one plain word comes out as it went in: no two keys share a member. */
static void keeps_every_value(void **state)
{
    struct config_world b;
    (void)state;
    config_world_uid = 0;
    config_world_load(&b, every_key, "", false);
    assert_non_null(b.dump);
    char *lines = strdup(every_key);
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *value = strstr(line, " = ");
        if (value == NULL || strpbrk(value + 3, " \"") != NULL)
            continue;
        char tail[128];
        snprintf(tail, sizeof tail, ".%s\n", line);
        if (strstr(b.dump, tail) == NULL)
            lib_same_text(0, "value", line, NULL);
    }
    free(lines);
    config_world_unload(&b);
    lib_end_rows();
}

static void fills_the_tree(void **state)
{
    struct config_world b;
    (void)state;
    config_world_uid = 0;
    config_world_load(&b, every_key, "", false);
    assert_int_equal(b.code, 0);
    const struct config *c = b.config;
    const struct smtpd_conf *s = config_smtpd(c, bytes_of("s"));
    const struct relay_conf *r = config_target(c, bytes_of("r")).conf;
    assert_non_null(s);
    assert_non_null(r);
    lib_same_number(0, "user", 500, c->account.user);
    lib_same_number(0, "group", 65534, c->account.group);
    lib_same_number(0, "listeners", 7, (int64_t)s->listeners.count);
    static const char *const listeners[] = {"0.0.0.0:26",    "[::]:26",      "127.0.0.1:27",
                                            "[::1]:28",      "127.0.0.2:29", "[::1]:587",
                                            "127.0.0.1:2627"};
    for (size_t i = 0; i < s->listeners.count && i < 7; i++) {
        char text[NETADDR_TEXT_MAX];
        lib_same_text(i, "listener", listeners[i],
                      netaddr_text_with_port(&s->listeners.at[i], text));
    }
    lib_same_number(1, "tables", 3, (int64_t)s->table_count);
    lib_same_bytes(1, "first table", bytes_of("t"), s->tables[0]->name);
    lib_same_bytes(1, "last table", bytes_of(""), s->tables[2]->name);
    lib_same_number(2, "identity", IDENTITY_KIND_XCLIENT | IDENTITY_KIND_PROXY_V1, r->identity);
    lib_same_number(2, "addresses", 6, (int64_t)r->addresses.count);
    lib_same_number(2, "kind", ENDPOINT_UNIX, r->addresses.at[5].at.kind);
    lib_same_bytes(2, "path", bytes_of("/run/a \"b"), r->addresses.at[5].at.path);
    lib_same_number(2, "port", 28, r->addresses.at[3].at.port);
    lib_same_number(2, "received", RELAY_RECEIVED_NEVER, r->received);
    lib_same_number(2, "max transactions", 101, r->limits.max_transactions);
    lib_same_number(2, "health interval", 11000, (int64_t)r->times.health_interval_ms);
    lib_same_number(3, "max-message-size", 1 << 20, (int64_t)s->limits.message_bytes);
    lib_same_number(3, "resolves names", false, s->resolves_names);
    lib_same_bytes(3, "hide", bytes_of("PIPELINING"), s->keywords.hide.at[1]);
    lib_same_number(4, "case-sensitive", true, s->tables[0]->is_case_sensitive);
    lib_same_number(4, "delimiter", '=', s->tables[0]->recipient_delimiter);
    const struct route_line *line = s->tables[0]->first;
    lib_same_number(4, "words", 3, line->word_count);
    lib_same_number(4, "ends", true, line->words[1].ends_target && line->words[2].ends_target);
    lib_same_number(4, "line", 1, line->place.column);
    lib_is_true(5, "target", config_target(c, bytes_of("m")).conf == c->targets[3].conf);
    lib_is_true(5, "no target", config_target(c, bytes_of("s")).kind == NULL);
    lib_is_true(5, "logfile", config_logfile(c, bytes_of("l")) == c->logfiles[0]);
    config_world_unload(&b);
    lib_end_rows();
}

static void listens(void **state)
{
    struct config_world b;
    static const char *const expected[] = {"[::1]:25",       "127.0.0.2:587", "[::1]:24",
                                           "127.0.0.1:2525", "0.0.0.0:465",   "[::]:465"};
    (void)state;
    config_world_uid = 0;
    config_world_load(&b,
                      "[smtpd \"s\"]\nlisten-port = [::1]:smtp 127.0.0.2:submission [::1]:24\n"
                      "listen-port = localhost:2525 localhost:2525 submissions\n",
                      "", false);
    lib_same_text(0, "problems", "", b.problems);
    const struct setting_addresses *list = &b.config->smtpds[0]->listeners;
    lib_same_number(0, "listeners", ARRAY_LENGTH(expected), (int64_t)list->count);
    for (size_t i = 0; i < list->count && i < ARRAY_LENGTH(expected); i++) {
        char text[NETADDR_TEXT_MAX];
        lib_same_text(i, "listener", expected[i], netaddr_text_with_port(&list->at[i], text));
    }
    config_world_unload(&b);
    lib_end_rows();
}

static void knows_facilities(void **state)
{
    (void)state;
    assert_int_equal(config_core_facility(bytes_of("mail")), LOG_MAIL);
    assert_int_equal(config_core_facility(bytes_of("local7")), LOG_LOCAL7);
    assert_int_equal(config_core_facility(bytes_of("x")), LOG_MAIL);
}

static void picks_the_account(void **state)
{
    static const struct {
        uid_t uid;
        const char *text;
        bool is_set;
        uid_t user;
        gid_t group;
        const char *problems;
    } rows[] = {
        {0, "[core]\n", true, 107, 117, ""},
        {0, "[core]\nuser-id = root\n", true, 0, 0, ""},
        {0, "[core]\nuser-id = postmaster\n", true, 500, 501, ""},
        {0, "[core]\nuser-id = postmaster\ngroup-id = nobody\n", true, 500, 65534, ""},
        {1000, "[core]\n", false, 0, 0, ""},
        {500, "[core]\nuser-id = postmaster\n", false, 500, 501, ""},
        {1000, "[core]\nuser-id = postmaster\n", false, 500, 501,
         "t.cf:2:11: warning: user-id \"postmaster\" is ignored: not started as root\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct config_world b;
        config_world_uid = rows[i].uid;
        config_world_load(&b, rows[i].text, "", false);
        lib_same_text(i, "problems", rows[i].problems, b.problems);
        lib_same_number(i, "is set", rows[i].is_set, b.config->account.is_set);
        lib_same_number(i, "user", rows[i].user, b.config->account.user);
        lib_same_number(i, "group", rows[i].group, b.config->account.group);
        config_world_unload(&b);
    }
    config_world_uid = 0;
    lib_end_rows();
}

/* ---- files that tables include ---- */

static void includes(void **state)
{
    static const struct dump_row rows[] = {
        {"@a 1\nfile d/one\n@z 9\n", "",
         "route.\"\".@a = 1\nroute.\"\".@b = 2\nroute.\"\".@c = 3\nroute.\"\".@d = 4\n"
         "route.\"\".@z = 9\n"},
        {"[route \"x\"]\nfile \"d/two\"\n", "", "route.\"x\".@c = 3\n"},
        {"", "--route--file=d/two", "route.\"\".@c = 3\n"},
    };
    struct config_world b;
    (void)state;
    config_world_uid = 0;
    mkdir("d", 0700);
    config_world_write("d/one", "@b 2\nfile two # beside this one\n@d 4");
    config_world_write("d/two", "@c 3\r\n");
    check_dumps(rows, ARRAY_LENGTH(rows));
    config_world_load(&b, rows[0].text, "", false);
    const struct route_line *line = b.config->routes[0]->first->next->next;
    lib_same_text(0, "file", "d/two", line->place.file);
    lib_same_number(0, "line", 1, line->place.line);
    lib_same_number(0, "in order", '4', line->next->words[1].text.at[0]);
    config_world_unload(&b);
    config_world_write("d/one", "@b 2\n  @c\nfile two\n[core]\nlogger = x\n");
    config_world_write("d/two", "@c 3,\nfile ../d/one\n");
    config_world_load(&b, "file d/one\n", "", false);
    lib_same_text(1, "problems",
                  "d/one:2:5: found the end of the line, expected a word\n"
                  "d/two:1:1: found a comma at the end of the line, expected a target after it\n"
                  "d/two:2:6: file \"d/../d/one\" is a loop: it includes itself\n"
                  "d/one:4:2: found \"core\", expected routes only, in a file that a table "
                  "includes\n",
                  b.problems);
    config_world_unload(&b);
    assert_int_equal(0, mkfifo("d/fifo", 0600));
    config_world_load(&b, "file t.cf\nfile d\nfile \"\"\nfile d/fifo\n", "", false);
    lib_same_text(2, "problems",
                  "t.cf:1:6: file \"t.cf\" is a loop: it includes itself\n"
                  "t.cf:2:6: file \"d\" is a directory, and must be a regular file\n"
                  "t.cf:3:6: found \"\", expected a path\n"
                  "t.cf:4:6: file \"d/fifo\" is a FIFO, and must be a regular file\n",
                  b.problems);
    unlink("d/fifo");
    config_world_unload(&b);
    lib_end_rows();
}

/* A hundred thousand lines take no time to speak of, or the whole suite would be slow. */
static void reads_long_tables(void **state)
{
    struct config_world b;
    FILE *file = fopen("long", "w");
    (void)state;
    assert_non_null(file);
    for (int i = 0; i < 100000; i++)
        fprintf(file, "user%d@example.com\tr, m\n", i);
    fclose(file);
    config_world_load(
        &b,
        CONFIG_WORLD_QUIET
        "[relay \"r\"]\naddress = 10.0.0.1\n[maildir \"m\"]\npath = /m\n[route]\nfile long\n",
        "", false);
    lib_same_text(0, "problems", "", b.problems);
    lib_same_number(0, "lines", 100000, (int64_t)b.config->routes[0]->line_count);
    lib_same_number(0, "last", 100000, b.config->routes[0]->last->place.line);
    config_world_unload(&b);
    unlink("long");
    lib_end_rows();
}

static bool read_without_memory(void *given)
{
    struct flags flags = {.config_path = "t.cf"};
    struct config *config = config_new();
    (void)given;
    if (config == NULL)
        return false;
    int code = config_read(config, &flags);
    if (code != EX_OSERR)
        code = config_check(config);
    bool is_fine = code == 0;
    if (!is_fine)
        assert_int_equal(code, EX_OSERR);
    config_free(&config);
    return is_fine;
}

static void bears_failing_allocations(void **state)
{
    (void)state;
    config_world_uid = 0;
    config_world_write("t.cf", "@a.example r\n@b.example other.example.net\n" CONFIG_WORLD_QUIET
                               "routing-table = t\n[route \"t\"]\n@ \"\\r\"\n"
                               "[relay \"r\"]\naddress = 10.0.0.1\naddress = 10.0.0.2\n"
                               "address = 10.0.0.3 3\naddress = 10.0.0.4:4\nbalance = hash\n");
    assert_true(lib_fail_each_allocation(read_without_memory, NULL) >= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fills_in),
        cmocka_unit_test(has_the_documented_defaults),
        cmocka_unit_test(takes_flags),
        cmocka_unit_test(routes_by_flags_first),
        cmocka_unit_test(refuses_flags),
        cmocka_unit_test(knows_every_key),
        cmocka_unit_test(keeps_every_value),
        cmocka_unit_test(comes_back_from_flags),
        cmocka_unit_test(fills_the_tree),
        cmocka_unit_test(listens),
        cmocka_unit_test(knows_facilities),
        cmocka_unit_test(picks_the_account),
        cmocka_unit_test(includes),
        cmocka_unit_test(reads_long_tables),
        cmocka_unit_test(bears_failing_allocations),
    };
    return cmocka_run_group_tests(tests, config_world_enter, config_world_leave);
}
