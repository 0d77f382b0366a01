/* SPDX-License-Identifier: BSD-2-Clause */
/* What is kept of answers that hold more than there is room for. */
/* needs: io */
#include "proxy/io/dns_uv.h"
#include "tests/unit/lib.h"

struct response {
    uint8_t octets[2048];
    size_t len;
    unsigned records;
};

static void begin(struct response *r)
{
    r->records = 0;
    r->len = 12;
    memset(r->octets, 0, r->len);
}

/* Of the root; the data behind it is put there by the caller. */
static void put_head(struct response *r, enum dns_type type, unsigned len)
{
    const uint8_t head[] = {0, 0, (uint8_t)type, 0, 1, 0, 0, 0, 60, 0, (uint8_t)len};

    assert_true(r->len + sizeof(head) + len <= sizeof(r->octets));
    memcpy(r->octets + r->len, head, sizeof(head));
    r->len += sizeof(head);
    r->octets[7] = (uint8_t)++r->records;
}

static void put_mx(struct response *r, unsigned preference, char name)
{
    const uint8_t data[] = {0, (uint8_t)preference, 1, (uint8_t)name, 0};

    put_head(r, DNS_TYPE_MX, sizeof(data));
    memcpy(r->octets + r->len, data, sizeof(data));
    r->len += sizeof(data);
}

static void put_address(struct response *r, enum dns_type type, unsigned number)
{
    unsigned len = type == DNS_TYPE_A ? 4 : 16;

    put_head(r, type, len);
    memset(r->octets + r->len, 9, len);
    r->len += len;
    r->octets[r->len - 1] = (uint8_t)number;
}

static void parse(const struct response *r, enum dns_type wanted, struct dns_answer *answer)
{
    assert_true(dns_parse_response(bytes_make(r->octets, r->len), wanted, answer));
}

/* The most preferred ones, however late they come; of equal ones those that came first. */
static void test_mx(void **state)
{
    static const struct {
        const char
            *names; /* in the order in which they come; in lower case: preference 20, else 10 */
        const char *expected;
    } rows[] = {
        {"abcdefghijklmnop", "abcdefghijklmnop"},  {"abcdefghijklmnopq", "abcdefghijklmnop"},
        {"abcdefghijklmnopX", "Xabcdefghijklmno"}, {"abXcdefghijklmnopqYrZs", "XYZabcdefghijklm"},
        {"ABCDEFGHIJKLMNOPx", "ABCDEFGHIJKLMNOP"}, {"xABCDEFGHIJKLMNOPQ", "ABCDEFGHIJKLMNOP"},
    };
    static struct response r;
    static struct dns_answer answer;
    static struct lib_text text;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        begin(&r);
        for (const char *name = rows[i].names; *name != '\0'; name++)
            put_mx(&r, *name >= 'a' ? 20 : 10, *name);
        answer = (struct dns_answer){.ttl_s = 3600};
        parse(&r, DNS_TYPE_MX, &answer);
        text.len = 0;
        for (int at = 0; at < answer.name_count; at++)
            lib_put(&text, "%s", answer.names[at].text);
        lib_same_text(i, rows[i].names, rows[i].expected, text.at);
    }
    lib_end_rows();
}

/* IPv4 comes first, in whatever order the two responses come. */
static void test_addresses(void **state)
{
    static struct response v4, v6;
    static struct dns_answer answer;

    (void)state;
    for (unsigned last = 0; last < 2; last++) {
        begin(&v4);
        begin(&v6);
        for (unsigned i = 0; i < 3; i++)
            put_address(&v4, DNS_TYPE_A, i);
        for (unsigned i = 0; i < DNS_ADDRESSES_MAX + 1; i++)
            put_address(&v6, DNS_TYPE_AAAA, i);
        answer = (struct dns_answer){.ttl_s = 3600};
        parse(last == 0 ? &v4 : &v6, DNS_TYPE_A, &answer);
        parse(last == 0 ? &v6 : &v4, DNS_TYPE_A, &answer);
        assert_int_equal(answer.address_count, DNS_ADDRESSES_MAX);
        for (unsigned i = 0; i < DNS_ADDRESSES_MAX; i++) {
            const struct netaddr *a = &answer.addresses[i];
            lib_same_number(i, "family", i < 3 ? NETADDR_IPV4 : NETADDR_IPV6, a->family);
            lib_same_number(i, "number", i < 3 ? i : i - 3,
                            a->octets[a->family == NETADDR_IPV4 ? 3 : 15]);
        }
    }
    lib_end_rows();
}

/* Records that do not fit are no answer, however many came before. */
static void test_too_many_records(void **state)
{
    static struct response r;
    static struct dns_answer answer;
    struct pool pool;
    struct buf records;

    (void)state;
    pool_init(&pool, 256, 1);
    buf_init(&records, &pool, 60);
    begin(&r);
    for (unsigned i = 0; i < 10; i++)
        put_address(&r, DNS_TYPE_A, i);
    answer = (struct dns_answer){.ttl_s = 3600};
    assert_true(dns_parse_records(bytes_make(r.octets, r.len), DNS_TYPE_A, &records, &answer));
    assert_true(!records.has_failed && answer.record_count == 10 && answer.ttl_s == 60);
    buf_reset(&records);
    put_address(&r, DNS_TYPE_A, 10);
    assert_true(dns_parse_records(bytes_make(r.octets, r.len), DNS_TYPE_A, &records, &answer));
    assert_true(records.has_failed);
    buf_done(&records);
    pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mx), cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_too_many_records)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
