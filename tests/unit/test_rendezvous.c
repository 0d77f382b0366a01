/* SPDX-License-Identifier: BSD-2-Clause */
/* Which of some nodes has a mailbox: values that never change, and a million mailboxes. */
#include "proxy/base/rendezvous.h"

#include <stdio.h>

#include "proxy/smtp/address.h"
#include "tests/unit/lib.h"

#define MAILBOXES 1000000
#define NODES_MAX 16

struct list {
    struct rendezvous_node nodes[NODES_MAX];
    unsigned count;
};

static void add(struct list *list, unsigned number, uint32_t weight)
{
    char name[32];

    snprintf(name, sizeof(name), "192.0.2.%u:24", number);
    assert_true(list->count < NODES_MAX);
    list->nodes[list->count++] = rendezvous_node(bytes_of(name), weight);
}

/* `without`: one that is not there. */
static unsigned best_of(const struct rendezvous_claim *claims, unsigned count, unsigned without)
{
    unsigned found = without == 0 ? 1 : 0;

    for (unsigned i = found + 1; i < count; i++)
        if (i != without && rendezvous_beats(&claims[i], &claims[found]))
            found = i;
    return found;
}

static unsigned owner(const struct list *list, uint64_t mailbox)
{
    struct rendezvous_claim claims[NODES_MAX];

    for (unsigned i = 0; i < list->count; i++)
        claims[i] = rendezvous_claim(&list->nodes[i], mailbox);
    return best_of(claims, list->count, list->count);
}

static uint64_t mailbox_of(unsigned number)
{
    char local[32];
    int len = snprintf(local, sizeof(local), "user%u", number);
    struct address to = {.local = bytes_make(local, (size_t)len),
                         .domain = bytes_of("example.org")};

    return address_mailbox(&to, to.local);
}

/* A share may miss by 1 % of itself. */
static void is_share(size_t row, unsigned count, double share)
{
    double wanted = share * MAILBOXES;

    lib_is_true(row, "within 1 %", count > 0.99 * wanted && count < 1.01 * wanted);
    if (count <= 0.99 * wanted || count >= 1.01 * wanted)
        printf("row %zu: %u of %.0f\n", row, count, wanted);
}

/* ---- what never changes ---- */

/* Of another implementation, tests/functional/harness/rendezvous.py. A change here moves mailboxes
 * to backends that do not have them. */
static void gives_the_same_for_ever(void **state)
{
    static const struct {
        const char *local, *domain;
        bool keeps_case;
        uint64_t mailbox, hashes[2], costs[2];
    } rows[] = {
        {"joe",
         "example.org",
         false,
         0xffc51c04e5aa0ea3,
         {0x7b2cc4220aba9cac, 0x713eae83881ac098},
         {283316414, 315867562}},
        {"Joe",
         "EXAMPLE.org",
         false,
         0xffc51c04e5aa0ea3,
         {0x7b2cc4220aba9cac, 0x713eae83881ac098},
         {283316414, 315867562}},
        {"Joe",
         "example.org",
         true,
         0x7008adcd1b50a651,
         {0x662a67c0391d1837, 0x14d3003acdaa3d75},
         {355739701, 971685158}},
        {"a",
         "b",
         false,
         0x4247036c73f99c58,
         {0x5beef8255cccc1fa, 0x398974997e5bfc17},
         {396608461, 578098176}},
    };
    static const char *const names[] = {"192.0.2.1:24", "unix:/run/lmtp"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct address to = {.local = bytes_of(rows[i].local),
                             .domain = bytes_of(rows[i].domain),
                             .keeps_case = rows[i].keeps_case};
        uint64_t mailbox = address_mailbox(&to, to.local);
        lib_same_number(i, "mailbox", (int64_t)rows[i].mailbox, (int64_t)mailbox);
        for (size_t k = 0; k < ARRAY_LENGTH(names); k++) {
            struct rendezvous_node node = rendezvous_node(bytes_of(names[k]), 1);
            struct rendezvous_claim claim = rendezvous_claim(&node, mailbox);
            lib_same_number(i, "hash", (int64_t)rows[i].hashes[k], (int64_t)claim.hash);
            lib_same_number(i, "cost", (int64_t)rows[i].costs[k], (int64_t)claim.cost);
        }
    }
    lib_end_rows();
}

static void orders_claims(void **state)
{
    static const struct {
        const char *name;
        struct rendezvous_claim a, b;
        bool beats;
    } rows[] = {
        {"the least cost", {{1, 1}, 5, 10}, {{2, 1}, 9, 11}, true},
        {"... of a unit of weight", {{1, 1}, 9, 10}, {{2, 3}, 5, 29}, false},
        {"... or of two", {{1, 1}, 9, 10}, {{2, 3}, 5, 31}, true},
        {"then the greater hash", {{1, 2}, 6, 20}, {{2, 1}, 5, 10}, true},
        {"then the greater node", {{1, 2}, 5, 20}, {{2, 1}, 5, 10}, false},
        {"the largest cost and weight", {{1, 1000}, 0, 1ULL << 34}, {{2, 1}, 0, 1ULL << 34}, true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        lib_is_true(i, rows[i].name, rendezvous_beats(&rows[i].a, &rows[i].b) == rows[i].beats);
        lib_is_true(i, "the other way", rendezvous_beats(&rows[i].b, &rows[i].a) != rows[i].beats);
    }
    lib_end_rows();
}

/* ---- a million mailboxes ---- */

/* Ten nodes, then without the fourth, then with an eleventh. */
static void moves_only_what_it_must(void **state)
{
    struct list eleven = {.count = 0};
    unsigned had[11] = {0}, got[11] = {0}, moved = 0;

    (void)state;
    for (unsigned i = 0; i < 11; i++)
        add(&eleven, i, 1);
    for (unsigned i = 0; i < MAILBOXES; i++) {
        struct rendezvous_claim claims[11];
        uint64_t mailbox = mailbox_of(i);
        for (unsigned k = 0; k < 11; k++)
            claims[k] = rendezvous_claim(&eleven.nodes[k], mailbox);
        unsigned before = best_of(claims, 10, 10), after = best_of(claims, 11, 11);
        unsigned without = best_of(claims, 10, 3);
        had[before]++;
        if (before == 3)
            got[without]++;
        else
            assert_int_equal(before, without);
        if (after == 10)
            moved++;
        else
            assert_int_equal(before, after);
    }
    for (unsigned i = 0; i < 10; i++)
        is_share(i, had[i], 0.1);
    is_share(10, moved, 1.0 / 11);
    for (unsigned i = 0; i < 10; i++) /* a ninth of a tenth each, by chance 5 % more or less */
        lib_is_true(20 + i, "spread", i == 3 ? got[i] == 0 : got[i] > 10600 && got[i] < 11600);
    lib_end_rows();
}

/* Shares are as the weights are; one that gets heavier takes from all and gives nothing away. */
static void honours_weights(void **state)
{
    static const uint32_t weights[] = {1, 2, 3, 4};
    struct list list = {.count = 0}, heavier = list;
    unsigned had[4] = {0}, has[4] = {0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        add(&list, i, weights[i] * 100);
        add(&heavier, i, i == 1 ? 400 : weights[i] * 100);
    }
    for (unsigned i = 0; i < MAILBOXES; i++) {
        uint64_t mailbox = mailbox_of(i);
        unsigned before = owner(&list, mailbox), after = owner(&heavier, mailbox);
        had[before]++;
        has[after]++;
        assert_true(after == before || after == 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        is_share(i, had[i], weights[i] / 10.0);
        is_share(10 + i, has[i], i == 1 ? 4 / 12.0 : weights[i] / 12.0);
    }
    lib_end_rows();
}

/* The order in which nodes stand does not matter. */
static void ignores_the_order(void **state)
{
    struct list up = {.count = 0}, down = up;

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        add(&up, i, 1 + i % 2);
        add(&down, 4 - i, 1 + (4 - i) % 2);
    }
    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(owner(&up, mailbox_of(i)), 4 - owner(&down, mailbox_of(i)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_same_for_ever), cmocka_unit_test(orders_claims),
        cmocka_unit_test(moves_only_what_it_must), cmocka_unit_test(honours_weights),
        cmocka_unit_test(ignores_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
