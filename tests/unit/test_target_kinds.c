/* SPDX-License-Identifier: BSD-2-Clause */
/* A kind of target is one file and one row: with [memory "N"] beside the two others, postern reads,
 * checks, explains, shows and serves what it never heard of. */
/* needs: tests/unit/memory_kind.c tests/unit/config_world.c tests/unit/queue_world.c shell */
/* needs: proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include "tests/unit/config_world.h"
#include "tests/unit/memory_kind.h"
#include "tests/unit/queue_world.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "proxy/config/target_kinds.h"
#include "proxy/explain.h"
#include "route/maildir.h"
#include "route/relay/relay.h"

/* In place of that of proxy/config/target_kinds.c. */
const struct target_kind *const target_kinds[] = {&relay_kind, &maildir_kind, &memory_kind, NULL};

#define LISTENER "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"

static const char good[] = LISTENER "[memory \"notes\"]\nroom = 50\n"
                                    "[relay \"a\"]\naddress = 198.51.100.1:25\n"
                                    "[maildir \"box\"]\npath = /mail/${RCPT_LOCAL}\n"
                                    "[route]\n@a.test a\n@notes.test notes\n@box.test box\n";

/* ---- what a configuration says of it ---- */

struct reading {
    const char *text;
    const char *flag;
    const char *problems;
    int code;
};

static const struct reading readings[] = {
    {LISTENER "[memory \"n\"]\nroom = 50\n", "", "", 0},
    {LISTENER "[memory \"n\"]\n", "", "t.cf:3:9: warning: room for little\n", 0},
    {LISTENER "[memory \"n\"]\n", "--memory-n-room=7", "", 0},
    {LISTENER "[memory \"n\"]\nroom = 0\n", "",
     "t.cf:4:8: found \"0\", expected a number of at least 1\n", EX_CONFIG},
    {LISTENER "[memory \"n\"]\nroom = 5\nrom = 5\n", "",
     "t.cf:5:1: found \"rom\", expected a key of [memory]; did you mean \"room\"?\n", EX_CONFIG},
    {LISTENER "[memory \"reject\"]\nroom = 5\n", "",
     "t.cf:3:9: found \"reject\", expected a name that means nothing else in a route\n", EX_CONFIG},
    {LISTENER "[memory \"n\"]\nroom = 5\n[maildir \"n\"]\npath = /n\n", "",
     "t.cf:3:9: found \"n\", expected a name that no [maildir] bears\n", EX_CONFIG},
    {"[core]\nbounce-relay = n.x\n" LISTENER "[memory \"n.x\"]\nroom = 5\n", "",
     "t.cf:2:16: found \"n.x\", expected the name of a [relay], or a host\n", EX_CONFIG},
    {LISTENER "[memory \"notes\"]\nroom = 5\n[route]\n@n.test note\n", "",
     "t.cf:6:9: found \"note\", expected the name of a [relay], [maildir] or [memory], a host, an "
     "address, "
     "or a local name that some line matches; did you mean \"notes\"?\n",
     EX_CONFIG},
    {LISTENER "[memory \"n\"]\nroom = 5\n[route]\n@ n\n[core]\nbounce-to = none\n", "",
     "t.cf:6:3: warning: target \"n\" forgets nothing\n", 0},
};

static void reads_its_section(void **state)
{
    struct config_world w;

    (void)state;
    config_world_uid = 1000;
    for (size_t i = 0; i < ARRAY_LENGTH(readings); i++) {
        config_world_load(&w, readings[i].text, readings[i].flag, true);
        lib_same_number(i, "code", readings[i].code, w.code);
        lib_same_text(i, "problems", readings[i].problems, w.problems);
        config_world_unload(&w);
    }
    lib_end_rows();
}

static void dumps_its_section(void **state)
{
    struct config *config = stage_config(good);
    char *dump;
    size_t len;
    FILE *out = open_memstream(&dump, &len);

    (void)state;
    assert_non_null(config);
    assert_int_equal(config_dump(config, out), 0);
    fclose(out);
    assert_non_null(strstr(dump, "\nmemory.\"notes\".room = 50\n"));
    free(dump);
    config_free(&config);
}

/* ---- what --explain says of it ---- */

struct explaining {
    const struct config *config;
    const char *address;
    char text[2000];
};

static int explain(void *owner)
{
    struct explaining *x = owner;
    FILE *out = fmemopen(x->text, sizeof(x->text), "w");
    int code = explain_address(x->config, x->address, NULL, out);

    fclose(out);
    return code;
}

static void explains_its_targets(void **state)
{
    struct sim *sim = sim_new(1);
    struct config *config = stage_config(good);
    struct explaining taken = {.config = config, .address = "joe@notes.test"};
    struct explaining refused = {.config = config, .address = "nobody@notes.test"};
    int code;

    (void)state;
    assert_true(sim_process(sim, explain, &taken, &code) && code == 0);
    assert_non_null(strstr(taken.text, "\n=> memory \"notes\" gets joe@notes.test\n"));
    assert_true(sim_process(sim, explain, &refused, &code) && code == 0);
    assert_non_null(strstr(refused.text, "\n=> 553 5.1.3 "));
    config_free(&config);
    sim_free(&sim);
}

/* ---- a client's message ---- */

struct talk {
    struct sim *sim;
    struct sim_peer *client;
    size_t said;
};

static const char *const lines[] = {
    "EHLO c.test\r\n",
    "MAIL FROM:<ann@c.test>\r\nRCPT TO:<joe@notes.test>\r\nRCPT TO:<nobody@notes.test>\r\nDATA\r\n",
    "hello\r\n.\r\n", "QUIT\r\n"};

static bool on_quiet(void *owner)
{
    static const struct netaddr from = {NETADDR_IPV4, 40000, {203, 0, 113, 1}};
    static const struct netaddr to = {NETADDR_IPV4, 25, {192, 0, 2, 1}};
    struct talk *t = owner;

    if (t->client == NULL) {
        t->client = sim_connect(t->sim, &from, &to);
        return true;
    }
    if (t->said < ARRAY_LENGTH(lines))
        sim_send(t->client, bytes_of(lines[t->said]));
    else if (t->said == ARRAY_LENGTH(lines))
        sim_signal(t->sim, SIGTERM);
    return t->said++ <= ARRAY_LENGTH(lines);
}

static int serve(void *owner)
{
    return stage_run(owner);
}

static void serves_a_client(void **state)
{
    struct talk talk = {.sim = sim_new(1)};
    struct config *config = stage_config(good);
    int code;

    (void)state;
    memory_kind_shelf.len = 0;
    sim_on_quiet(talk.sim, on_quiet, &talk);
    assert_true(sim_process(talk.sim, serve, config, &code) && code == 0);
    struct bytes heard = sim_received(talk.client);
    assert_non_null(memmem(heard.at, heard.len, "\r\n553 5.1.3 ", 12));
    assert_non_null(memmem(heard.at, heard.len, "\r\n250 2.0.0 ", 12));
    assert_string_equal(memory_kind_shelf.at, "joe: hello\r\n");
    config_free(&config);
    sim_free(&talk.sim);
}

/* ---- the queue's message, and what operators see ---- */

static void serves_the_queue(void **state)
{
    static struct queue_world w;
    static const char *const steps[] = {"wait 1", "ask targets", "stop", NULL};
    const struct queue_message waiting = {.id = "06H4TZ0BC00F3X04",
                                          .from = "ann@c.test",
                                          .to = "joe@notes.test",
                                          .target = "notes",
                                          .body = "waited\r\n"};

    (void)state;
    memory_kind_shelf.len = 0;
    queue_world_begin(&w, 1, good);
    queue_world_put(&w, &waiting);
    assert_true(queue_world_play(&w, steps));
    assert_string_equal(memory_kind_shelf.at, "joe: waited\r\n");
    const char *relay = strstr(w.seen.at, "\n a                         relay    unknown ");
    const char *maildir = strstr(w.seen.at, "\n box                       maildir  up ");
    const char *memory = strstr(w.seen.at, "\n notes                     memory   full ");
    assert_non_null(relay);
    assert_true(relay < maildir && maildir < memory);
    queue_world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_its_section),    cmocka_unit_test(dumps_its_section),
        cmocka_unit_test(explains_its_targets), cmocka_unit_test(serves_a_client),
        cmocka_unit_test(serves_the_queue),
    };
    return cmocka_run_group_tests(tests, config_world_enter, config_world_leave);
}
