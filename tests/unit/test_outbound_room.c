/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands that have no room in what is to be sent wait for it, however long they are. */
#include <stdio.h>
#include <string.h>

#include "proxy/smtp/outbound.h"
#include "tests/unit/lib.h"

#define RECIPIENTS 70

struct room {
    struct outbound outbound;
    struct outbound_conf conf;
    struct pool small, medium;
    struct envelope envelope;
    struct identity client;
    struct recipient recipients[RECIPIENTS];
    char local[1000], params[1000], domain[250];
    unsigned said, answered; /* RCPTs */
};

static void drain(struct room *t)
{
    struct outbound_event ev;

    while (outbound_next(&t->outbound, &ev)) {
        assert_int_not_equal(ev.kind, OUTBOUND_GONE);
        t->answered += ev.kind == OUTBOUND_ANSWER;
    }
    assert_false(t->outbound.out.has_failed);
}

static void hear(struct room *t, const char *text)
{
    outbound_feed(&t->outbound, bytes_of(text));
    drain(t);
}

/* The stream takes so much of what is to be sent. */
static void send(struct room *t, size_t most)
{
    struct bytes out = bytes_first(buf_bytes(&t->outbound.out), most);

    for (size_t i = 0; i < out.len; i++)
        t->said += out.at[i] == '\n';
    outbound_said(&t->outbound, out.len);
    drain(t);
}

static void set_up(struct room *t)
{
    pool_init(&t->small, 1024, 4);
    pool_init(&t->medium, 4096, 4);
    outbound_init(&t->outbound, &t->conf, &t->small, &t->medium);
    outbound_start(&t->outbound, 0, NULL, NULL, bytes_of(""), bytes_of("proxy.example"));
    hear(t, "220 hi\r\n");
    send(t, SIZE_MAX);
    hear(t, "250-hi\r\n250-DSN\r\n250 PIPELINING\r\n");
    memset(t->local, 'a', sizeof(t->local));
    memset(t->domain, 'b', sizeof(t->domain));
    memset(t->params, 'c', sizeof(t->params));
    memcpy(t->params, "ORCPT=rfc822;", strlen("ORCPT=rfc822;"));
    t->said = 0;
}

static void begin(struct room *t)
{
    struct outbound_job job = {
        .envelope = &t->envelope, .client = &t->client, .origin = &t->client};

    outbound_begin(&t->outbound, &job);
    for (size_t i = 0; i < RECIPIENTS; i++) {
        struct recipient *r = &t->recipients[i];

        r->to.local = bytes_make(t->local, i % 2 == 0 ? sizeof(t->local) : 1);
        r->to.domain = bytes_make(t->domain, sizeof(t->domain));
        r->params = bytes_make(t->params, i % 2 == 0 ? 20 : sizeof(t->params));
        list_init(&r->in_outbound);
        outbound_rcpt(&t->outbound, r);
        drain(t);
    }
}

static void says_only_what_fits(void **state)
{
    static const size_t steps[] = {SIZE_MAX, 1, 1000, 4096};
    static struct room t;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
        t = (struct room){.said = 0};
        set_up(&t);
        begin(&t);
        while (t.answered < RECIPIENTS) {
            unsigned due = t.said;

            while (buf_length(&t.outbound.out) != 0)
                send(&t, steps[i]);
            assert_true(t.said > due); /* it goes on whenever there is room */
            for (; due < t.said; due++)
                hear(&t, "250 ok\r\n");
        }
        assert_int_equal(t.said, RECIPIENTS + 1);
        outbound_forget(&t.outbound);
        outbound_done(&t.outbound);
        pool_done(&t.small);
        pool_done(&t.medium);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(says_only_what_fits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
