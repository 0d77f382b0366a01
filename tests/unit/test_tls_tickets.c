/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys of session tickets: who makes the same, how long each is good, what is left in memory. */
/* needs: io */
#include "proxy/io/tls_tickets.h"

#include "tests/unit/lib.h"

#define START_S (INT64_C(1000) * TLS_TICKETS_PERIOD_S)

static void test_a_key_is_good_for_two_periods(void **state)
{
    struct tls_tickets tickets;
    struct tls_ticket_key key;

    (void)state;
    assert_true(tls_tickets_init(&tickets, START_S));
    key = tickets.keys[0];
    for (int64_t after_s = 0; after_s < 2 * TLS_TICKETS_PERIOD_S; after_s += 600) {
        assert_true(tls_tickets_turn(&tickets, START_S + after_s));
        const struct tls_ticket_key *found = tls_tickets_find(&tickets, key.name);
        assert_non_null(found);
        assert_memory_equal(found, &key, sizeof(key));
        assert_int_equal(found == &tickets.keys[0], after_s < TLS_TICKETS_PERIOD_S);
    }
    assert_true(tls_tickets_turn(&tickets, START_S + INT64_C(2) * TLS_TICKETS_PERIOD_S));
    assert_null(tls_tickets_find(&tickets, key.name));
}

/* However seldom one of them looks at the clock. */
static void test_processes_make_the_same_keys(void **state)
{
    struct tls_tickets one, other;

    (void)state;
    assert_true(tls_tickets_init(&one, START_S));
    other = one; /* fork() */
    for (int64_t periods = 1; periods < 50; periods++)
        assert_true(tls_tickets_turn(&one, START_S + periods * TLS_TICKETS_PERIOD_S));
    assert_memory_not_equal(&one, &other, sizeof(one));
    assert_true(tls_tickets_turn(&other, START_S + INT64_C(49) * TLS_TICKETS_PERIOD_S));
    assert_memory_equal(&one, &other, sizeof(one));
}

static void test_nothing_goes_back(void **state)
{
    struct tls_tickets tickets, before;

    (void)state;
    assert_true(tls_tickets_init(&tickets, START_S));
    assert_true(tls_tickets_turn(&tickets, START_S + TLS_TICKETS_PERIOD_S));
    before = tickets;
    assert_true(tls_tickets_turn(&tickets, START_S));
    assert_memory_equal(&tickets, &before, sizeof(before));
}

/* The seed that made a key is gone with the next one. */
static void test_old_seeds_are_gone(void **state)
{
    struct tls_tickets tickets;
    uint8_t seed[sizeof(tickets.seed)];

    (void)state;
    assert_true(tls_tickets_init(&tickets, START_S));
    memcpy(seed, tickets.seed, sizeof(seed));
    assert_true(tls_tickets_turn(&tickets, START_S + TLS_TICKETS_PERIOD_S));
    assert_null(memmem(&tickets, sizeof(tickets), seed, sizeof(seed)));
}

/* Others of the same host have other keys. */
static void test_each_has_its_own(void **state)
{
    struct tls_tickets one, other;

    (void)state;
    assert_true(tls_tickets_init(&one, START_S));
    assert_true(tls_tickets_init(&other, START_S));
    assert_null(tls_tickets_find(&one, other.keys[0].name));
}

/* Before there is a second key, none is known to everybody. */
static void test_no_key_is_known(void **state)
{
    static const uint8_t nothing[TLS_TICKET_NAME];
    struct tls_tickets tickets;

    (void)state;
    assert_true(tls_tickets_init(&tickets, START_S));
    assert_null(tls_tickets_find(&tickets, nothing));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_key_is_good_for_two_periods),
        cmocka_unit_test(test_processes_make_the_same_keys),
        cmocka_unit_test(test_nothing_goes_back),
        cmocka_unit_test(test_old_seeds_are_gone),
        cmocka_unit_test(test_each_has_its_own),
        cmocka_unit_test(test_no_key_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
