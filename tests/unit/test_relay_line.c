/* SPDX-License-Identifier: BSD-2-Clause */
/* Who waits, by client net: whose turn it is, and what a share is. */
#include "route/relay/relay_line.h"

#include "tests/unit/lib.h"

#define WAITERS 8

struct world {
    struct relay_line line;
    struct relay_waiter waiters[WAITERS];
};

static void start(struct world *w)
{
    memset(w, 0, sizeof(*w));
    relay_line_init(&w->line, (struct hash_key){{1, 2}});
    for (int i = 0; i < WAITERS; i++)
        list_init(&w->waiters[i].in_net);
}

static uint64_t key(const char *address)
{
    struct netaddr a = {0};

    assert_true(address[0] == '\0' || netaddr_parse(bytes_of(address), &a) == 0);
    return relay_line_key(&a);
}

/* Number n is of the net that digit n of `nets` names. */
static void enter_all(struct world *w, const char *nets)
{
    for (int i = 0; nets[i] != '\0'; i++)
        relay_line_enter(&w->line, &w->waiters[i], (uint64_t)nets[i]);
}

/* The numbers of all who wait, in turn. */
static const char *turns(struct world *w, unsigned share)
{
    static char text[WAITERS + 1];
    struct relay_waiter *at = relay_line_next(&w->line, share, NULL);
    size_t count = 0;

    for (; at != NULL && count < WAITERS; at = relay_line_next(&w->line, share, at))
        text[count++] = (char)('0' + (at - w->waiters));
    assert_null(at);
    text[count] = '\0';
    return text;
}

static void serve(struct world *w, unsigned share, int expected)
{
    struct relay_waiter *first = relay_line_next(&w->line, share, NULL);

    assert_ptr_equal(first, &w->waiters[expected]);
    relay_line_leave(&w->line, first);
}

static void test_nets(void **state)
{
    (void)state;
    assert_int_equal(key("192.0.2.1"), key("192.0.2.255"));
    assert_int_not_equal(key("192.0.2.1"), key("192.0.3.1"));
    assert_int_equal(key("2001:db8:1::1"), key("2001:db8:1:ffff::"));
    assert_int_not_equal(key("2001:db8:1::1"), key("2001:db8:2::1"));
    assert_int_equal(key("::ffff:192.0.2.1"), key("192.0.2.2"));
    assert_int_not_equal(key("::"), key("0.0.0.0"));
    assert_int_not_equal(key(""), key("0.0.0.0"));
    assert_int_not_equal(key(""), RELAY_LINE_QUEUE);
}

static void test_share(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    assert_int_equal(relay_line_share(&w.line, 0), 1);
    assert_int_equal(relay_line_share(&w.line, 7), 1);
    enter_all(&w, "aabcd");
    assert_int_equal(relay_line_share(&w.line, 40), 10);
    struct relay_net *fifth = relay_line_hold(&w.line, 'e');
    assert_int_equal(relay_line_share(&w.line, 40), 8);
    assert_int_equal(relay_line_share(&w.line, 4), 1);
    relay_line_let_go(&w.line, fifth);
    assert_int_equal(relay_line_share(&w.line, 40), 10);
    for (int i = 0; i < 5; i++)
        relay_line_leave(&w.line, &w.waiters[i]);
    relay_line_done(&w.line);
}

static void test_counts_what_is_held(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    assert_int_equal(relay_line_held(&w.line, 'a'), 0);
    struct relay_net *a = relay_line_hold(&w.line, 'a');
    assert_ptr_equal(relay_line_hold(&w.line, 'a'), a);
    struct relay_net *b = relay_line_hold(&w.line, 'b');
    assert_int_equal(relay_line_held(&w.line, 'a'), 2);
    assert_int_equal(w.line.held_count, 3);
    relay_line_let_go(&w.line, a);
    relay_line_let_go(&w.line, b);
    assert_int_equal(relay_line_held(&w.line, 'b'), 0);
    assert_int_equal(w.line.held_count, 1);
    relay_line_let_go(&w.line, a);
    relay_line_done(&w.line);
}

static void test_one_net_is_a_queue(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    assert_null(relay_line_next(&w.line, 1, NULL));
    enter_all(&w, "aaa");
    assert_string_equal(turns(&w, 1), "012");
    relay_line_leave(&w.line, &w.waiters[1]);
    assert_string_equal(turns(&w, 1), "02");
    serve(&w, 1, 0);
    serve(&w, 1, 2);
    assert_int_equal(w.line.waiting_count, 0);
    relay_line_done(&w.line);
}

static void test_nets_take_turns(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    enter_all(&w, "aaabbc");
    serve(&w, 1, 0);
    serve(&w, 1, 3);
    serve(&w, 1, 5);
    serve(&w, 1, 1);
    serve(&w, 1, 4);
    serve(&w, 1, 2);
    relay_line_done(&w.line);
}

static void test_share_comes_first(void **state)
{
    struct world w;

    (void)state;
    start(&w);
    enter_all(&w, "aabcc");
    struct relay_net *a = relay_line_hold(&w.line, 'a');
    struct relay_net *c = relay_line_hold(&w.line, 'c');
    assert_ptr_equal(a, w.waiters[0].net);
    assert_string_equal(turns(&w, 1), "20134");
    assert_string_equal(turns(&w, 2), "01234");
    serve(&w, 1, 2);
    assert_string_equal(turns(&w, 1), "0134"); /* nobody has less than his share: all in turn */
    relay_line_let_go(&w.line, c);
    assert_string_equal(turns(&w, 1), "3401");
    serve(&w, 1, 3);
    serve(&w, 1, 4);
    serve(&w, 1, 0);
    serve(&w, 1, 1);
    assert_int_equal(w.line.nets.entry_count, 1);
    relay_line_let_go(&w.line, a);
    assert_int_equal(w.line.nets.entry_count, 0);
    relay_line_done(&w.line);
}

/* Nets without memory are one net: all are served. */
static bool wait_and_hold(void *owner)
{
    struct world *w = owner;
    struct relay_net *held[2];

    start(w);
    held[0] = relay_line_hold(&w->line, 'a');
    held[1] = relay_line_hold(&w->line, 'b');
    enter_all(w, "abc");
    assert_int_equal(strlen(turns(w, 1)), 3);
    while (w->line.waiting_count != 0)
        relay_line_leave(&w->line, relay_line_next(&w->line, 1, NULL));
    relay_line_let_go(&w->line, held[0]);
    relay_line_let_go(&w->line, held[1]);
    assert_int_equal(w->line.nets.entry_count + w->line.nameless.held, 0);
    relay_line_done(&w->line);
    return true;
}

static void test_no_memory(void **state)
{
    struct world w;

    (void)state;
    assert_true(lib_fail_each_allocation(wait_and_hold, &w) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nets),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_counts_what_is_held),
        cmocka_unit_test(test_one_net_is_a_queue),
        cmocka_unit_test(test_nets_take_turns),
        cmocka_unit_test(test_share_comes_first),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
