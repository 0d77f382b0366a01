/* SPDX-License-Identifier: BSD-2-Clause */
/* SPF records: the grammar of RFC 7208 12, and what a record that passes is made of. */
#include "filters/spf/spf_record.h"

#include "tests/unit/lib.h"

#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const char *const names[] = {"all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists"};

static void put_term(struct lib_text *seen, const struct spf_term *term)
{
    char net[NETADDR_TEXT_MAX];

    lib_put(seen, "%c%s", term->qualifier, names[term->mechanism]);
    if (term->domain.len > 0)
        lib_put(seen, ":%.*s", (int)term->domain.len, (const char *)term->domain.at);
    if (term->mechanism == SPF_A || term->mechanism == SPF_MX)
        lib_put(seen, "/%u/%u", term->bits4, term->bits6);
    if (term->mechanism == SPF_IP4 || term->mechanism == SPF_IP6)
        lib_put(seen, ":%s/%u", netaddr_text(&term->net.net, net), term->net.bits);
    lib_put(seen, " ");
}

/* The terms, "redirect=" and "exp="; "fault TERM"; "none". */
static void look(struct bytes text, struct lib_text *seen)
{
    struct bytes fault = {0};
    struct spf_record record;
    struct spf_term term;

    seen->len = 0;
    seen->at[0] = '\0';
    if (!spf_record_is_policy(text)) {
        lib_put(seen, "none");
        return;
    }
    if (!spf_record_check(text, &record, &fault)) {
        lib_put(seen, "fault ");
        lib_put_bytes(seen, fault);
        return;
    }
    while (spf_record_next(&record.terms, &term))
        put_term(seen, &term);
    if (record.redirect.len > 0)
        lib_put(seen, "redirect=%.*s ", (int)record.redirect.len, (const char *)record.redirect.at);
    if (record.explanation.len > 0)
        lib_put(seen, "exp=%.*s ", (int)record.explanation.len,
                (const char *)record.explanation.at);
}

static const struct row {
    struct bytes text;
    const char *seen;
} rows[] = {
    /* which texts are records */
    {LITERAL("v=spf1"), ""},
    {LITERAL("V=SpF1 "), ""},
    {LITERAL("v=spf10 -all"), "none"},
    {LITERAL("v=spf1\t-all"), "none"},
    {LITERAL(" v=spf1 -all"), "none"},
    {LITERAL("v=spf"), "none"},
    {LITERAL(""), "none"},
    /* mechanisms */
    {LITERAL("v=spf1 all -all ~all ?all +ALL  "), "+all -all ~all ?all +all "},
    {LITERAL("v=spf1 all:x.test"), "fault all:x.test"},
    {LITERAL("v=spf1 all."), "fault all."},
    {LITERAL("v=spf1 all/8"), "fault all/8"},
    {LITERAL("v=spf1 !all"), "fault !all"},
    {LITERAL("v=spf1 --all"), "fault --all"},
    {LITERAL("v=spf1 -"), "fault -"},
    {LITERAL("v=spf1 a mx ptr"), "+a/32/128 +mx/32/128 +ptr "},
    {LITERAL("v=spf1 a/0 mx//0 a/1//2 a:b.test/3//4"), "+a/0/128 +mx/32/0 +a/1/2 +a:b.test/3/4 "},
    {LITERAL("v=spf1 a/33"), "fault a/33"},
    {LITERAL("v=spf1 a//129"), "fault a//129"},
    {LITERAL("v=spf1 a/08"), "fault a/08"},
    {LITERAL("v=spf1 a/"), "fault a/"},
    {LITERAL("v=spf1 a//"), "fault a//"},
    {LITERAL("v=spf1 a///8"), "fault a///8"},
    {LITERAL("v=spf1 a/8/8"), "fault a/8/8"},
    {LITERAL("v=spf1 a//8/8"), "fault a//8/8"},
    {LITERAL("v=spf1 a/-8"), "fault a/-8"},
    {LITERAL("v=spf1 a:"), "fault a:"},
    {LITERAL("v=spf1 a:/8"), "fault a:/8"},
    {LITERAL("v=spf1 a:b"), "fault a:b"},
    {LITERAL("v=spf1 a:b."), "fault a:b."},
    {LITERAL("v=spf1 a:.test"), "+a:.test/32/128 "},
    {LITERAL("v=spf1 a:b.test. a:b.t-t a:b/c.test/8"), "+a:b.test./32/128 +a:b.t-t/32/128 "
                                                       "+a:b/c.test/8/128 "},
    {LITERAL("v=spf1 a:b.-t"), "fault a:b.-t"},
    {LITERAL("v=spf1 a:b.t-"), "fault a:b.t-"},
    {LITERAL("v=spf1 a:1.2.3.4"), "fault a:1.2.3.4"},
    {LITERAL("v=spf1 a:b.test/%{d}"), "+a:b.test/%{d}/32/128 "},
    {LITERAL("v=spf1 ptr:b.test"), "+ptr:b.test "},
    {LITERAL("v=spf1 ptr/8"), "fault ptr/8"},
    {LITERAL("v=spf1 ptr:b.test/8"), "fault ptr:b.test/8"},
    {LITERAL("v=spf1 include"), "fault include"},
    {LITERAL("v=spf1 include:"), "fault include:"},
    {LITERAL("v=spf1 include:b.test ?exists:%{i}.b.test"), "+include:b.test ?exists:%{i}.b.test "},
    {LITERAL("v=spf1 exists"), "fault exists"},
    {LITERAL("v=spf1 exists:b.test/8"), "fault exists:b.test/8"},
    {LITERAL("v=spf1 ip4:192.0.2.1 ip4:192.0.2.1/24 ip4:0.0.0.0/0"),
     "+ip4:192.0.2.1/32 +ip4:192.0.2.1/24 +ip4:0.0.0.0/0 "},
    {LITERAL("v=spf1 ip4"), "fault ip4"},
    {LITERAL("v=spf1 ip4:"), "fault ip4:"},
    {LITERAL("v=spf1 ip4:1.2.3"), "fault ip4:1.2.3"},
    {LITERAL("v=spf1 ip4:1.2.3.4/33"), "fault ip4:1.2.3.4/33"},
    {LITERAL("v=spf1 ip4:1.2.3.4//24"), "fault ip4:1.2.3.4//24"},
    {LITERAL("v=spf1 ip4:1.2.3.04"), "fault ip4:1.2.3.04"},
    {LITERAL("v=spf1 ip4:1.2.3.4:25"), "fault ip4:1.2.3.4:25"},
    {LITERAL("v=spf1 ip4:::1"), "fault ip4:::1"},
    {LITERAL("v=spf1 ip6:::1 ip6:2001:DB8::/32"), "+ip6:::1/128 +ip6:2001:db8::/32 "},
    {LITERAL("v=spf1 ip6:::ffff:192.0.2.1/96"), "+ip6:::ffff:c000:201/96 "},
    {LITERAL("v=spf1 ip6:192.0.2.1"), "fault ip6:192.0.2.1"},
    {LITERAL("v=spf1 ip6:::1/129"), "fault ip6:::1/129"},
    {LITERAL("v=spf1 redirect:b.test"), "fault redirect:b.test"},
    {LITERAL("v=spf1 foo"), "fault foo"},
    /* modifiers */
    {LITERAL("v=spf1 exp=e.test redirect=b.test mx"), "+mx/32/128 redirect=b.test exp=e.test "},
    {LITERAL("v=spf1 redirect=b.test redirect=b.test"), "fault redirect=b.test"},
    {LITERAL("v=spf1 exp=b.test Exp=b.test"), "fault Exp=b.test"},
    {LITERAL("v=spf1 redirect="), "fault redirect="},
    {LITERAL("v=spf1 exp="), "fault exp="},
    {LITERAL("v=spf1 +redirect=b.test"), "fault +redirect=b.test"},
    {LITERAL("v=spf1 redirect=%{c}.test"), "fault redirect=%{c}.test"},
    {LITERAL("v=spf1 default=pass x-y_z.9=%{c}%{r}%{t} op= all"), "+all "},
    {LITERAL("v=spf1 9=x"), "fault 9=x"},
    {LITERAL("v=spf1 =x"), "fault =x"},
    {LITERAL("v=spf1 x=%"), "fault x=%"},
    /* nothing of a record counts where anything of it is wrong */
    {LITERAL("v=spf1 a -all foo"), "fault foo"},
    {LITERAL("v=spf1 a\tmx"), "fault a\\tmx"},
    {LITERAL("v=spf1 a\0 mx"), "fault a\\x00"},
    {LITERAL("v=spf1 a:\xc3\xa4.test"), "fault a:\\xc3\\xa4.test"},
    {LITERAL("v=spf1 x=\x7f"), "fault x=\\x7f"},
};

static void test_records(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct lib_guard guard = lib_guard_copy(rows[i].text);

        look(guard.bytes, &seen);
        lib_same_text(i, "terms", rows[i].seen, seen.at);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_records)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
