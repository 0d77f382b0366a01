/* SPDX-License-Identifier: BSD-2-Clause */
/* Helper programs: cat(1) says back what it is told, until it is killed. */
/* needs: io */
#include "proxy/io/child.h"

#include "tests/unit/lib.h"

#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"

struct helper {
    struct loop *loop;
    struct child *child;
    struct lib_text seen;
};

static struct helper helper;

static void on_message(void *owner, struct bytes message)
{
    struct helper *h = owner;

    lib_put_bytes(&h->seen, message);
    lib_put(&h->seen, " ");
    child_end(h->child);
    assert_false(child_send(h->child, bytes_of("two")));
    child_end(h->child);
}

static void on_ended(void *owner)
{
    struct helper *h = owner;

    lib_put(&h->seen, "ended");
    loop_stop(h->loop);
}

static const struct child_events events = {.message = on_message, .ended = on_ended};

static int start(const char *path)
{
    int error = 0;

    helper = (struct helper){.loop = loop_new()};
    assert_non_null(helper.loop);
    helper.child = child_start(helper.loop, path, &events, &helper, &error);
    assert_true((helper.child == NULL) == (error != 0));
    return error;
}

static void run_to_the_end(void)
{
    if (helper.child == NULL)
        loop_stop(helper.loop);
    assert_int_equal(loop_run(helper.loop), 0);
    loop_free(&helper.loop);
}

static void test_talk(void **state)
{
    (void)state;
    assert_int_equal(start("/bin/cat"), 0);
    assert_true(child_send(helper.child, bytes_of("one")));
    run_to_the_end();
    assert_string_equal(helper.seen.at, "one ended");
}

/* It ends by itself at once. */
static void test_end(void **state)
{
    (void)state;
    assert_int_equal(start("/bin/true"), 0);
    run_to_the_end();
    assert_string_equal(helper.seen.at, "ended");
}

static void test_no_program(void **state)
{
    (void)state;
    assert_int_equal(start("/nonexistent/cat"), -ENOENT);
    run_to_the_end();
    assert_string_equal(helper.seen.at, "");
}

/* Of the child, and of its channel. */
static void test_no_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 2; nth++) {
        int error = 0;

        helper = (struct helper){.loop = loop_new()};
        mem_fail_nth(nth);
        assert_null(child_start(helper.loop, "/bin/cat", &events, &helper, &error));
        assert_int_equal(error, ERR_MEMORY);
        mem_fail_nth(0);
        run_to_the_end();
        assert_string_equal(helper.seen.at, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_talk), cmocka_unit_test(test_end),
                                       cmocka_unit_test(test_no_program),
                                       cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
