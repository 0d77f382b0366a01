/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may start which queue by ETRN. */
/* needs: proxy/etrn_from.c */
#include "proxy/etrn.h"

#include "tests/unit/lib.h"

#define TEXT(text)                                                                                 \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

/* 192.0.2.0/28 for two domains, .16/28 for a target, .32/28 for whatever is routed, .48/28 for a
 * domain and a target; .49 for one more domain. */
static struct bytes two_domains[] = {TEXT("example.org"), TEXT("mail.example.net")};
static struct bytes one_domain[] = {TEXT("example.com")};
static struct bytes one_more[] = {TEXT("example.edu")};
static struct bytes one_target[] = {TEXT("branch")};

#define NET(last, prefix)                                                                          \
    {                                                                                              \
        .net = {.family = NETADDR_IPV4, .octets = {192, 0, 2, last}}, .bits = prefix               \
    }

static struct smtpd_etrn entries[] = {
    {.net = NET(0, 28), .domains = {two_domains, 2}},
    {.net = NET(16, 28), .targets = {one_target, 1}},
    {.net = NET(32, 28)},
    {.net = NET(48, 28), .domains = {one_domain, 1}, .targets = {one_target, 1}},
    {.net = NET(49, 32), .domains = {one_more, 1}},
};
static const struct smtpd_etrns conf = {entries, ARRAY_LENGTH(entries)};

/* The tables lead example.info and com somewhere. */
static bool knows(const void *owner, struct bytes domain)
{
    (void)owner;
    return bytes_is_nocase(domain, "example.info") || bytes_is(domain, "com");
}

struct row {
    uint8_t client;
    const char *node;
    bool may;
};

static const struct row rows[] = {
    {1, "example.org", true},
    {1, "EXAMPLE.org", true},
    {1, "mail.example.net", true},
    {1, "www.example.org", false}, /* a node is exactly that domain */
    {1, "example.net", false},
    {1, "@example.org", true},
    {1, "@www.example.ORG", true},
    {1, "@notexample.org", false},
    {1, "@example.net", false}, /* above an entitled one */
    {1, "@org", false},
    {1, "org", false},
    {1, "#branch", false},
    {1, "example.info", false},
    {17, "#branch", true},
    {17, "#Branch", false}, /* names of sections are case-sensitive */
    {17, "#branches", false},
    {17, "example.info", false},
    {17, "@example.info", false},
    {33, "example.info", true},
    {33, "example.org", false},
    {33, "@example.info", true},
    {33, "@a.b.example.info", true},
    {33, "a.example.info", false},
    {33, "com", true},
    {33, "@com", false}, /* whatever the tables say */
    {33, "@example.com", true},
    {33, "#branch", true},
    {33, "#any", true},
    {50, "example.com", true},
    {50, "#branch", true},
    {50, "#other", false},
    {50, "example.edu", false},
    {49, "example.edu", true}, /* two entries: the rights of both */
    {49, "example.com", true},
    {64, "example.org", false},
    {64, "#branch", false},
};

static void test_entitlement(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct netaddr client = {.family = NETADDR_IPV4, .octets = {192, 0, 2, rows[i].client}};
        struct etrn_node node;

        lib_same_number(i, "syntax", 0,
                        command_etrn(bytes_of(rows[i].node), &node.form, &node.name));
        lib_same_number(i, "may", rows[i].may,
                        etrn_is_entitled(&conf, &client, &node, knows, NULL));
        lib_same_number(i, "may ask at all", rows[i].client != 64, etrn_may_ask(&conf, &client));
    }
    lib_end_rows();
}

static void test_nobody(void **state)
{
    static const struct smtpd_etrns none = {.count = 0};
    struct netaddr client = {.family = NETADDR_IPV6, .octets = {[15] = 1}};
    struct etrn_node node = {.form = COMMAND_ETRN_DOMAIN, .name = bytes_of("example.info")};

    (void)state;
    assert_false(etrn_may_ask(&none, &client));
    assert_false(etrn_is_entitled(&none, &client, &node, knows, NULL));
    assert_false(etrn_may_ask(&conf, &client));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entitlement),
        cmocka_unit_test(test_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
