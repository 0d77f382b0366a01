/* SPDX-License-Identifier: BSD-2-Clause */
/* The shared mapping: sums over processes, columns of the dead, a table that fills. */
/* needs: proxy/shared.c */
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/shared.h"
#include "tests/unit/lib.h"

static uint64_t key_of_number(const struct shared *s, uint32_t number)
{
    return shared_key(s, "test", bytes_make(&number, sizeof(number)));
}

/* ---- keys ---- */

static uint64_t key_of_client(const struct shared *s, const char *net, unsigned bits)
{
    struct netaddr client;

    assert_int_equal(netaddr_parse(bytes_of(net), &client), 0);
    return shared_key_of_client(s, bytes_of("mx"), &client, bits);
}

static void test_keys(void **state)
{
    struct shared *s = shared_new(), *other = shared_new();

    (void)state;
    assert_true(shared_key(s, "target", bytes_of("a")) == shared_key(s, "target", bytes_of("a")));
    assert_true(shared_key(s, "target", bytes_of("a")) != shared_key(s, "target", bytes_of("b")));
    assert_true(shared_key(s, "target", bytes_of("a")) != shared_key(s, "waiting", bytes_of("a")));
    assert_true(key_of_client(s, "192.0.2.1", 32) == key_of_client(s, "192.0.2.1", 32));
    assert_true(key_of_client(s, "192.0.2.1", 32) != key_of_client(s, "192.0.2.2", 32));
    assert_true(key_of_client(s, "2001:db8::", 64) != key_of_client(s, "2001:db8:0:1::", 64));
    assert_true(key_of_client(s, "2001:db8::", 64) != key_of_client(s, "2001:db8::", 48));
    /* Nobody can know in which cell an address will be counted. */
    assert_true(key_of_client(s, "192.0.2.1", 32) != key_of_client(other, "192.0.2.1", 32));
    shared_free(&s);
    shared_free(&other);
}

/* ---- alone ---- */

static void test_without_others(void **state)
{
    struct shared_count count = {.key = key_of_number(NULL, 1)};

    (void)state;
    shared_add(NULL, &count, 3);
    shared_add(NULL, &count, -1);
    assert_int_equal(count.own, 2);
    assert_int_equal(shared_sum(NULL, &count), 2);
}

static void test_columns(void **state)
{
    struct shared *s = shared_new();
    struct shared_count first = {.key = key_of_number(s, 1)}, second = first, other = first;

    (void)state;
    other.key = key_of_number(s, 2);
    shared_use(s, 3);
    shared_add(s, &first, 2);
    shared_use(s, SHARED_COLUMNS_MAX - 1);
    assert_int_equal(shared_sum(s, &second), 2); /* we have none ourselves */
    shared_add(s, &second, 5);
    assert_int_equal(shared_sum(s, &second), 7);
    assert_int_equal(second.own, 5);
    assert_int_equal(shared_sum(s, &other), 0);
    shared_clear(s, 3);
    assert_int_equal(shared_sum(s, &second), 5);
    shared_add(s, &second, -5);
    assert_int_equal(shared_sum(s, &second), 0);
    shared_free(&s);
    assert_null(s);
}

/* ---- a full table ---- */

#define MANY 40000 /* more than there are cells */

static struct shared_count counts[MANY];

static void count_all(struct shared *s, uint32_t first_number, int32_t change)
{
    for (uint32_t i = 0; i < MANY; i++) {
        if (change > 0)
            counts[i] = (struct shared_count){.key = key_of_number(s, first_number + i)};
        shared_add(s, &counts[i], change);
    }
}

static uint32_t count_known(const struct shared *s)
{
    uint32_t known = 0;

    for (uint32_t i = 0; i < MANY; i++) {
        struct shared_count seen = {.key = counts[i].key};
        assert_in_range(shared_sum(s, &counts[i]), 1, 1);
        known += shared_sum(s, &seen) == 1;
    }
    return known;
}

/* What no longer fits is counted by its own process alone; cells of those who have gone serve
 * others. */
static void test_a_full_table(void **state)
{
    struct shared *s = shared_new();

    (void)state;
    shared_use(s, 1);
    for (uint32_t round = 0; round < 3; round++) {
        count_all(s, round * MANY, 1);
        assert_in_range(count_known(s), 30000, MANY - 1);
        count_all(s, round * MANY, -1);
    }
    shared_free(&s);
}

/* ---- words ---- */

static void test_words(void **state)
{
    struct shared *s = shared_new();
    uint64_t key = key_of_number(s, 1);

    (void)state;
    assert_int_equal(shared_word(s, key), 0);
    assert_false(shared_word_change(s, key, 1, 2));
    assert_true(shared_word_change(s, key, 0, 7));
    assert_false(shared_word_change(s, key, 0, 8));
    assert_int_equal(shared_word(s, key), 7);
    assert_int_equal(shared_word(s, key_of_number(s, 2)), 0);
    assert_int_equal(shared_word(NULL, key), 0);
    assert_false(shared_word_change(NULL, key, 0, 7));
    shared_free(&s);
}

/* Places of words that say nothing serve others; where there is none, nothing changes. */
static void test_many_words(void **state)
{
    struct shared *s = shared_new();
    uint32_t kept = 0;

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) /* one at a time */
        assert_true(shared_word_change(s, key_of_number(s, i), 0, 1) &&
                    shared_word_change(s, key_of_number(s, i), 1, 0));
    for (uint32_t i = 0; i < MANY; i++)
        kept += shared_word_change(s, key_of_number(s, i), 0, i + 1);
    assert_in_range(kept, 10000, 16384);
    for (uint32_t i = 0; i < MANY; i++) {
        uint32_t word = shared_word(s, key_of_number(s, i));
        assert_true(word == 0 || word == i + 1);
        kept -= word != 0;
    }
    assert_int_equal(kept, 0);
    shared_free(&s);
}

/* ---- many processes ---- */

#define PROCESSES 4
#define ROUNDS    3000
#define KEYS      200

/* Counts in and out under many keys, more often than the table has cells; ends with one on each of
 * KEYS. Exit code 0 when its own sums were never below what it had counted itself. */
static int count_wildly(struct shared *s, unsigned column)
{
    struct lib_random random = {column + 1};
    struct shared_count held = {0};

    shared_use(s, column);
    for (int i = 0; i < ROUNDS; i++) {
        held.key = key_of_number(s, (uint32_t)lib_random_below(&random, 60000));
        shared_add(s, &held, 2);
        if (shared_sum(s, &held) < 2)
            return 1;
        shared_add(s, &held, -2);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        held = (struct shared_count){.key = key_of_number(s, i)};
        shared_add(s, &held, 1);
    }
    return 0;
}

static void test_many_processes(void **state)
{
    struct shared *s = shared_new();
    pid_t children[PROCESSES];

    (void)state;
    for (unsigned i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(count_wildly(s, i));
    }
    for (unsigned i = 0; i < PROCESSES; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    for (uint32_t i = 0; i < KEYS; i++) {
        struct shared_count seen = {.key = key_of_number(s, i)};
        (void)lib_same_number(i, "sum", PROCESSES, shared_sum(s, &seen));
    }
    shared_clear(s, 0); /* as the master does for one that died */
    for (uint32_t i = 0; i < KEYS; i++) {
        struct shared_count seen = {.key = key_of_number(s, i)};
        (void)lib_same_number(i, "sum without the dead", PROCESSES - 1, shared_sum(s, &seen));
    }
    lib_end_rows();
    shared_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys),           cmocka_unit_test(test_without_others),
        cmocka_unit_test(test_columns),        cmocka_unit_test(test_words),
        cmocka_unit_test(test_many_words),     cmocka_unit_test(test_a_full_table),
        cmocka_unit_test(test_many_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
