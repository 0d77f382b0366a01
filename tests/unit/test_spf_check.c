/* SPDX-License-Identifier: BSD-2-Clause */
/* A check that begins without memory does not begin; one that is cancelled leaves nothing behind.
 */
/* needs: io filters/spf/spf_child.c filters/spf/spf_check.c */
#include "filters/spf/spf_check.h"

#include "tests/unit/lib.h"

#include <stdio.h>

static struct spf_service service;
static struct spf_check check;

static void on_done(struct spf_check *done, const struct spf_reply *reply)
{
    (void)done;
    (void)reply;
    fail_msg("a check was told the result of, though it was cancelled");
}

static void on_trouble(void *owner, struct bytes domain, int error)
{
    (void)owner;
    (void)domain;
    (void)error;
}

/* Of another domain each time, so that DNS does not know the question already. */
static bool begin_and_cancel(void *given)
{
    char domain[32];
    const struct spf_subject subject = {
        .client = {.family = NETADDR_IPV4},
        .domain = bytes_make(domain,
                             (size_t)snprintf(domain, sizeof(domain), "d%u.test", service.checks))};

    (void)given;
    if (!spf_check_begin(&check, &service, &subject, true, 20000, on_done))
        return false;
    spf_check_cancel(&check);
    return true;
}

/* What is no name goes to the evaluator at once. */
static bool begin_nameless(void *given)
{
    const struct spf_subject subject = {.client = {.family = NETADDR_IPV4}};

    (void)given;
    if (!spf_check_begin(&check, &service, &subject, true, 20000, on_done))
        return false;
    spf_check_cancel(&check);
    return true;
}

static void test_no_memory(void **state)
{
    const struct bytes server = bytes_of("127.0.0.1:9");
    int error;

    (void)state;
    service.loop = loop_new();
    service.dns = dns_new(service.loop, &server, 1, &error);
    service.child = spf_child_new(service.loop, "/nonexistent", on_trouble, NULL);
    assert_true(service.dns != NULL && service.child != NULL);
    assert_true(lib_fail_each_allocation(begin_and_cancel, NULL) > 2);
    assert_true(lib_fail_each_allocation(begin_nameless, NULL) > 0);
    spf_child_close(&service.child);
    dns_free(&service.dns);
    loop_stop(service.loop);
    assert_int_equal(loop_run(service.loop), 0);
    loop_free(&service.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_no_memory)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
