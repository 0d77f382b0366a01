/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages of the queue of which recipients get another view than the body as it is: delivered,
 * shown to operators, returned to senders. */
/* needs: tests/unit/queue_world.c shell proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c sim */
#include "tests/unit/queue_world.h"

#include <stdio.h>

static const char config[] = "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\n"
                             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
                             "[route]\n@box.test box\npostmaster box\n";

/* Octets 0 to 15 are the client's header, 15 to 24 its body; behind that stands another body. */
#define HEADER "Subject: one\r\n"
#define BODY   "\r\nhello\r\n"
#define OTHER  "\r\ngood bye\r\n"

static const struct queue_message message = {.id = "06H4TZ0BC00F3X04",
                                             .from = "ann@elsewhere.test",
                                             .to = "joe@box.test",
                                             .target = "box",
                                             .body = HEADER BODY OTHER};

#define BODY_AT  (sizeof(HEADER) - 1)
#define OTHER_AT (sizeof(HEADER BODY) - 1)
#define END_AT   (sizeof(HEADER BODY OTHER) - 1)

struct row {
    const char *name;
    struct view view;
    struct spool_view own;
    bool has_own;
    const char *above, *below; /* what stands above and below our own Received, in a Maildir */
    const char *shown;         /* by `posternctl cat`, where each line begins with a blank */
};

#define TEXT(t)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(t), sizeof(t) - 1                                                        \
    }

/* clang-format off */
static const struct row rows[] = {
    {"the body as it is", {.end = VIEW_TO_END}, {.is_in_front = false}, false,
     "", "Subject: one\n\nhello\n\ngood bye\n",
     " Subject: one\n \n hello\n \n good bye\n"},
    {"an edited header", {TEXT("A: 1\r\nSubject: two\r\n"), 6, BODY_AT, OTHER_AT},
     {.is_in_front = false}, false,
     "A: 1\n", "Subject: two\n\nhello\n", " A: 1\n Subject: two\n \n hello\n"},
    {"another body", {TEXT("Subject: one\r\n"), 0, OTHER_AT, END_AT}, {.is_in_front = false}, false,
     "", "Subject: one\n\ngood bye\n", " Subject: one\n \n good bye\n"},
    {"fields in front, for this target alone", {TEXT("A: 1\r\n"), 6, 0, OTHER_AT},
     {{TEXT("B: 2\r\n"), 6, 0, 0}, true}, true,
     "B: 2\nA: 1\n", "Subject: one\n\nhello\n",
     " B: 2\n A: 1\n Subject: one\n \n hello\n"},
    {"a view of its own", {TEXT("A: 1\r\n"), 6, 0, OTHER_AT},
     {{TEXT("Subject: two\r\n"), 0, OTHER_AT, END_AT}, false}, true,
     "", "Subject: two\n\ngood bye\n", " Subject: two\n \n good bye\n"},
};
/* clang-format on */

static struct queue_message of_row(const struct row *row)
{
    struct queue_message m = message;

    m.view = &row->view;
    m.own = row->has_own ? &row->own : NULL;
    return m;
}

/* The file's text, without the Received that is ours, is above and below. */
static void check_file(size_t row, struct queue_world *w, const struct row *expected)
{
    const char *path = sim_file_below(w->sim, "/mail/box.test/joe/new", 0);
    char text[1000], around[1000];
    struct bytes file = {NULL, 0};

    if (!lib_is_true(row, "in the Maildir", path != NULL && sim_file(w->sim, path, &file)))
        return;
    snprintf(text, sizeof(text), "%.*s", (int)file.len, (const char *)file.at);
    char *received = strstr(text, "Received: ");
    assert_non_null(received);
    *received = '\0';
    const char *below = strchr(received + 1, ';');
    assert_non_null(below);
    below = strchr(strchr(below, '\n') + 1, '\n') + 1;
    snprintf(around, sizeof(around),
             "Return-Path: <ann@elsewhere.test>\nDelivered-To: joe@box.test\n%s", expected->above);
    lib_same_text(row, "above", around, text);
    lib_same_text(row, "below", expected->below, below);
}

static void is_delivered_as_its_recipient_gets_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct queue_world w;
        struct queue_message m = of_row(&rows[i]);
        queue_world_begin(&w, 1, config);
        queue_world_put(&w, &m);
        assert_true(queue_world_play(&w, (const char *const[]){"wait 100", "stop", NULL}));
        check_file(i, &w, &rows[i]);
        queue_world_end(&w);
    }
    lib_end_rows();
}

/* Two recipients of one target, one of whom has been rerouted there: each gets what is his. */
static void is_not_mixed_up_at_one_target(void **state)
{
    static struct queue_world w;
    struct queue_message m = of_row(&rows[ARRAY_LENGTH(rows) - 1]);
    const char *path;
    unsigned count[2] = {0};

    (void)state;
    m.also = m.target;
    queue_world_begin(&w, 1, config);
    queue_world_put(&w, &m);
    assert_true(queue_world_play(&w, (const char *const[]){"wait 100", "stop", NULL}));
    for (unsigned i = 0; (path = sim_file_below(w.sim, "/mail/box.test/joe/new", i)) != NULL; i++) {
        struct bytes file;
        assert_true(sim_file(w.sim, path, &file));
        count[0] += memmem(file.at, file.len, "\nhello\n", 7) != NULL;
        count[1] += memmem(file.at, file.len, "\ngood bye\n", 10) != NULL;
    }
    assert_int_equal(count[0], 1);
    assert_int_equal(count[1], 1);
    assert_null(sim_file_below(w.sim, "/spool/queue/000001/06", 0));
    queue_world_end(&w);
}

/* The output of `cat` ends lines as the message does. */
static void leave_out_cr(char *text)
{
    char *to = text;

    for (const char *at = text; *at != '\0'; at++)
        if (*at != '\r')
            *to++ = *at;
    *to = '\0';
}

static void is_shown_and_returned_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct queue_world w;
        struct queue_message m = of_row(&rows[i]);
        char sent[200];
        struct bytes report = {NULL, 0};

        m.target = "nobody";
        queue_world_begin(&w, 1, config);
        queue_world_put(&w, &m);
        assert_true(queue_world_play(&w, (const char *const[]){"wait 1", "ask cat 06H4TZ0BC00F3X04",
                                                               "ask bounce 06H4TZ0BC00F3X04",
                                                               "wait 100", "stop", NULL}));
        leave_out_cr(w.seen.at);
        lib_is_true(i, rows[i].shown, strstr(w.seen.at, rows[i].shown) == w.seen.at);
        const char *path = sim_file_below(w.sim, "/mail/mx.test/postmaster/new", 0);
        snprintf(sent, sizeof(sent), "\n\n%s%s\n--=_", rows[i].above, rows[i].below);
        if (lib_is_true(i, "a report", path != NULL && sim_file(w.sim, path, &report)))
            lib_is_true(i, sent, memmem(report.at, report.len, sent, strlen(sent)) != NULL);
        queue_world_end(&w);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_delivered_as_its_recipient_gets_it),
        cmocka_unit_test(is_not_mixed_up_at_one_target),
        cmocka_unit_test(is_shown_and_returned_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
