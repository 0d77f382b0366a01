/* SPDX-License-Identifier: BSD-2-Clause */
/* The hosts file: what it says, and that it is read once. */
/* needs: io */
#include "proxy/io/dns_hosts.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "tests/unit/lib.h"

/* ---- who opens files ---- */

static atomic_uint opened;

/* In the place of libc's, for c-ares too. */
FILE *fopen(const char *restrict path, const char *restrict mode)
{
    opened++;
    return ((__typeof__(&fopen))dlsym(RTLD_NEXT, "fopen"))(path, mode);
}

int open(const char *path, int flags, ...)
{
    va_list more;
    int mode;

    va_start(more, flags);
    mode = va_arg(more, int);
    va_end(more);
    opened++;
    return ((__typeof__(&open))dlsym(RTLD_NEXT, "open"))(path, flags, mode);
}

/* ---- what it says ---- */

static char path[] = "/tmp/postern-hosts-XXXXXX";

static void write_hosts(struct bytes text)
{
    int fd = mkstemp(strcpy(path, "/tmp/postern-hosts-XXXXXX"));

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text.at, text.len), text.len);
    close(fd);
}

static const char hosts[] = "127.0.0.1\tlocalhost\n"
                            "  192.0.2.1   one.example One  # the first\n"
                            "2001:db8::2 two.example\n"
                            "192.0.2.2 TWO.example\r\n"
                            "::ffff:192.0.2.3 mapped.example\n"
                            "#192.0.2.4 comment.example\n"
                            "\n"
                            "192.0.2.5\n"
                            "not.an.address five.example\n"
                            "192.0.2.6 a#b\n"
                            "fe80::1%lo0 scoped.example\n"
                            "192.0.2.7 last.example";

static const struct {
    const char *name, *addresses;
} rows[] = {
    {"localhost", " 127.0.0.1"},
    {"one.example", " 192.0.2.1"},
    {"ONE", " 192.0.2.1"},
    {"two.example", " 192.0.2.2 2001:db8::2"}, /* IPv4 first */
    {"mapped.example", " 192.0.2.3"},
    {"comment.example", ""},
    {"five.example", ""},
    {"the", ""},
    {"a", " 192.0.2.6"},
    {"scoped.example", ""},
    {"last.example", " 192.0.2.7"},
    {"", ""},
};

static void test_names(void **state)
{
    static struct lib_text text;
    static struct dns_answer answer;
    struct dns_hosts h;

    (void)state;
    write_hosts(bytes_make(hosts, sizeof(hosts) - 1));
    assert_int_equal(dns_hosts_read(&h, (struct hash_key){{1, 2}}, path), 0);
    unlink(path);
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        text.len = 0;
        text.at[0] = '\0';
        answer.address_count = 0;
        dns_hosts_find(&h, bytes_of(rows[i].name), &answer);
        for (int j = 0; j < answer.address_count; j++) {
            char one[NETADDR_TEXT_MAX];
            lib_put(&text, " %s", netaddr_text(&answer.addresses[j], one));
        }
        lib_same_text(i, rows[i].name, rows[i].addresses, text.at);
    }
    dns_hosts_done(&h);
    lib_end_rows();
}

/* One name on many lines, a file that is not there, and one that is too long. */
static void test_odd_files(void **state)
{
    static struct dns_answer answer;
    static char text[9000000];
    struct dns_hosts h;
    size_t len = 0;

    (void)state;
    for (int i = 0; i < 20000; i++)
        len += (size_t)sprintf(text + len, "192.0.2.%d same.example\n", i % 256);
    write_hosts(bytes_make(text, len));
    assert_int_equal(dns_hosts_read(&h, (struct hash_key){{1, 2}}, path), 0);
    unlink(path);
    dns_hosts_find(&h, bytes_of("same.example"), &answer);
    assert_int_equal(answer.address_count, DNS_ADDRESSES_MAX);
    dns_hosts_done(&h);

    assert_int_equal(dns_hosts_read(&h, (struct hash_key){{1, 2}}, path), 0);
    dns_hosts_done(&h);

    memset(text, '\n', sizeof(text));
    memcpy(text, "192.0.2.1 one.example", 21);
    write_hosts(bytes_make(text, sizeof(text)));
    answer.address_count = 0;
    assert_int_equal(dns_hosts_read(&h, (struct hash_key){{1, 2}}, path), 0);
    unlink(path);
    dns_hosts_find(&h, bytes_of("one.example"), &answer);
    assert_int_equal(answer.address_count, 0);
    dns_hosts_done(&h);
}

static bool read_failing(void *given)
{
    struct dns_hosts h;
    int error = dns_hosts_read(&h, (struct hash_key){{1, 2}}, given);

    dns_hosts_done(&h);
    return error == 0;
}

static void test_no_memory(void **state)
{
    (void)state;
    write_hosts(bytes_make(hosts, sizeof(hosts) - 1));
    assert_true(lib_fail_each_allocation(read_failing, path) >= 10);
    unlink(path);
}

/* ---- how often ---- */

static void on_answer(void *owner, const struct dns_answer *answer)
{
    (void)answer;
    loop_stop(owner);
}

static void test_read_once(void **state)
{
    struct bytes server = bytes_of("127.0.0.1:1");
    struct loop *l = loop_new();
    int error = 0;
    struct dns *d = dns_new(l, &server, 1, &error);
    struct netaddr address;
    char name[32];
    unsigned before = opened;

    (void)state;
    assert_non_null(d);
    assert_true(before > 0);
    netaddr_parse(bytes_of("192.0.2.1"), &address);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "name%d.example", i);
        dns_cancel(dns_ask_addresses(d, bytes_of(name), NULL, on_answer, l));
        dns_cancel(dns_ask_mx(d, bytes_of(name), on_answer, l));
        address.octets[3] = (uint8_t)i;
        dns_cancel(dns_ask_names(d, &address, on_answer, l));
    }
    assert_non_null(dns_ask_addresses(d, bytes_of("localhost"), NULL, on_answer, l));
    loop_run(l);
    assert_int_equal(opened, before);
    dns_free(&d);
    loop_stop(l);
    loop_run(l);
    loop_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_odd_files),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_read_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
