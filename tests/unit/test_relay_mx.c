/* SPDX-License-Identifier: BSD-2-Clause */
/* Relays that follow MX records: domains that take no mail, hosts of equal preference. */
/* needs: sim tests/unit/relay_world.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c route/outgoing.c route/relay/ */
#include <stdio.h>

#include "route/relay/relay_lookup.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"
#include "tests/unit/relay_words.h"
#include "tests/unit/relay_world.h"

/* A step a line would hide the conversations. */
/* clang-format off */

static void by_mx(struct relay_conf *conf)
{
    conf->is_mx = true;
    conf->on_failure = RELAY_ON_FAILURE_SPOOL;
}

#define NULL_MX                                                                                    \
    {MX, 0, "0/."}
#define REFUSED(c)                                                                                 \
    {SEES, c, "a=556 "},                                                                           \
    {WORDS, c, "556 5.1.10 The recipient's domain does not accept mail (null MX)\r\n"}

static const struct relay_scenario rows[] = {
    {"a null MX is a final answer, and no outage", "", NONE, by_mx,
     {NULL_MX, {NAMES, 0, "192.0.2.25"}, ASK(0), REFUSED(0), ASK(1), REFUSED(1), {NOBODY, 0, NULL},
      {SILENT, 0, NULL}, {PASS, 30000, NULL}, {CAME_UP, 0, NULL}}},
    {"... for whoever has waited for it too", "", NONE, by_mx,
     {NULL_MX, ASK(0), ASK(1), REFUSED(0), REFUSED(1), {SILENT, 0, NULL}}},
    {"... for the queue", "", NONE, by_mx,
     {NULL_MX, {SPOOLED, 0, ""}, ASK(0), REFUSED(0), {SILENT, 0, NULL}}},
    {"with other records it means nothing", "", NONE, by_mx,
     {{MX, 0, "0/. 10/t.test"}, {NAMES, 0, "192.0.2.25"}, ASK(0), GREET(0, PIPELINING), TAKE(0),
      {SEES, 0, "a=250 "}}},
    {"it ends an outage: what is spooled is returned", "", NONE, by_mx,
     {{MX, 0, ""}, ASK(0), {SEES, 0, "a=250? "}, {LOGGED, 0, "target-down target=relay"},
      NULL_MX, {PASS, 10100, NULL}, {CAME_UP, 1, NULL}, ASK(1), REFUSED(1)}},
    {"it is asked for again when it is old, before anybody is refused", "", NONE, by_mx,
     {NULL_MX, ASK(0), REFUSED(0), {MX, 0, "10/t.test"}, {NAMES, 0, "192.0.2.25"}, {PASS, 200000, NULL},
      ASK(0), REFUSED(0), {PASS, 110000, NULL}, ASK(0), GREET(0, PIPELINING), TAKE(0),
      {SEES, 0, "a=250 "}}},
    {"... and where nobody answers then, it is an outage", "", NONE, by_mx,
     {NULL_MX, ASK(0), REFUSED(0), {MX, 0, ""}, {PASS, 310000, NULL}, ASK(0),
      {SEES, 0, "a=250? "}, {LOGGED, 0, "target-down target=relay"}}},
    {"hosts in the order of preference", "", NONE, by_mx,
     {{MX, 0, "20/t.test 10/u.test"}, {NAMES, 0, "192.0.2.25"}, {NAMES, 1, "192.0.2.26"}, ASK(0), {REFUSE, 0, NULL},
      GREET(1, PIPELINING), TAKE(1), {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {FACTS, 0, A " none"}}},
    {"an address that has moved up while others were tried is tried too", "", NONE, by_mx,
     {{MX, 0, "10/t.test 20/u.test"}, {NAMES, 0, "192.0.2.25"}, {NAMES, 1, "192.0.2.26"}, ASK(0),
      GREET(0, PIPELINING), TAKE(0), {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL}, {HEAR, 0, "RSET\r\n"},
      {SAY, 0, "250 rset\r\n"}, {PASS, 299000, NULL}, {LEFT, 0, NULL},
      {MX, 0, "10/u.test 20/t.test"}, ASK(0), {PASS, 2000, NULL}, ASK(1), {REFUSE, 1, NULL},
      {ACCEPT, 2, NULL}, GREET(3, PIPELINING), TAKE(3), {SEES, 0, "a=250 "}, {GIVE_UP, 0, NULL},
      {FACTS, 0, B " none"}}},
    {"... and none again that is busy", "", NONE, by_mx,
     {{MX, 0, "10/t.test 20/u.test"}, {NAMES, 0, "192.0.2.25"}, {NAMES, 1, "192.0.2.26"}, ASK(2),
      GREET(0, PIPELINING), TAKE(0), {SEES, 2, "a=250 "}, {PASS, 299000, NULL},
      {MX, 0, "10/u.test 20/t.test"}, ASK(0), {PASS, 2000, NULL}, ASK(1), {ACCEPT, 1, NULL},
      {SAY, 1, "421 4.3.2 busy\r\n"}, {ACCEPT, 2, NULL}, GREET(3, PIPELINING), TAKE(3), {SEES, 0, "a=250 "},
      {GIVE_UP, 0, NULL}, {FACTS, 0, B " none"}}},
};

/* clang-format on */

static void test_null_mx(void **state)
{
    (void)state;
    relay_world_run_rows(rows, ARRAY_LENGTH(rows));
}

static void test_no_memory(void **state)
{
    (void)state;
    relay_world_starve_rows(rows, ARRAY_LENGTH(rows));
}

/* ---- equal preferences ---- */

#define SEEDS 600

/* a and b at 5, c, d and e at 10, f at 20: the order that this seed makes of it. */
static void shuffled(uint64_t seed, char order_out[7])
{
    static const uint16_t preferences[] = {5, 5, 10, 10, 10, 20};
    struct dns_name hosts[ARRAY_LENGTH(preferences)] = {0};
    struct sim *world = sim_new(seed);
    struct loop *l = loop_new();

    for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
        hosts[i].text[0] = (char)('a' + i);
        hosts[i].preference = preferences[i];
    }
    relay_lookup_shuffle(l, hosts, ARRAY_LENGTH(hosts));
    for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++) {
        assert_int_equal(hosts[i].preference, preferences[i]);
        order_out[i] = hosts[i].text[0];
    }
    order_out[ARRAY_LENGTH(hosts)] = '\0';
    loop_free(&l);
    sim_free(&world);
}

static void test_shuffle(void **state)
{
    unsigned seen[2][6] = {{0}}; /* by the first group's order, by the second's */
    char order[7], again[7];

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static const char *const second[] = {"cde", "ced", "dce", "dec", "ecd", "edc"};
        size_t which = 0;

        shuffled(seed, order);
        shuffled(seed, again);
        assert_string_equal(order, again);
        while (strncmp(order + 2, second[which], 3) != 0)
            assert_true(++which < ARRAY_LENGTH(second));
        seen[order[0] == 'a'][which]++;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(seen); i++)
        for (size_t j = 0; j < ARRAY_LENGTH(seen[i]); j++)
            assert_in_range(seen[i][j], SEEDS / 24, SEEDS / 6); /* SEEDS / 12 each */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_null_mx),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_shuffle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
