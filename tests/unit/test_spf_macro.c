/* SPDX-License-Identifier: BSD-2-Clause */
/* Macros of SPF: what is one, and what it stands for (RFC 7208 7.2 to 7.4). */
#include "filters/spf/spf_macro.h"

#include "tests/unit/lib.h"

#define TEXT_MAX 65536

/* ---- syntax ---- */

static const struct syntax_row {
    const char *text;
    const char *kinds; /* d: a domain-spec, s: a string, e: an explanation, p: it holds %{p} */
} syntax_rows[] = {
    {"", "se"},
    {"a", "se"},
    {"a.test", "dse"},
    {"a.test.", "dse"},
    {"a.test..", "se"},
    {"a.1", "se"},
    {"a.1a", "dse"},
    {"%{d}", "dse"},
    {"%{d}.test", "dse"},
    {"%{d}test", "se"},
    {"%{d}.", "se"},
    {"a.%{d}-", "se"},
    {"a.te%%st", "se"},
    {"a%-.test", "dse"},
    {"a%_.test", "dse"},
    {"%{p}.test", "dsep"},
    {"%{P2r}.test", "dsep"},
    {"%%{p}.test", "dse"},
    {"%{c}", "se"},
    {"%{r}.test", "se"},
    {"%{T}.test", "se"},
    {"%{x}", ""},
    {"%{}", ""},
    {"%{d", ""},
    {"%d", ""},
    {"%", ""},
    {"a.%", ""},
    {"%{d0}", ""},
    {"%{d10r-}", "dse"},
    {"%{dr2}", ""},
    {"%{d.-+,/_=}", "dse"},
    {"%{d;}", ""},
    {"%{d99999999999999999999}", "dse"},
    {"two words.test", "e"},
    {" two  spaces ", "e"},
    {"a\x7f", ""},
    {"a\tb", ""},
    {"a\xc3\xa4", ""},
};

static void test_syntax(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(syntax_rows); i++) {
        struct lib_guard guard = lib_guard_copy(bytes_of(syntax_rows[i].text));
        char kinds[5] = "";
        size_t used = 0;

        if (spf_macro_is_domain(guard.bytes))
            kinds[used++] = 'd';
        if (spf_macro_is_string(guard.bytes))
            kinds[used++] = 's';
        if (spf_macro_is_explanation(guard.bytes))
            kinds[used++] = 'e';
        if (spf_macro_wants_name(guard.bytes))
            kinds[used++] = 'p';
        lib_same_text(i, syntax_rows[i].text, syntax_rows[i].kinds, kinds);
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

/* ---- expanding ---- */

static const struct expand_row {
    const char *client;
    const char *text;
    const char *expanded;
} expand_rows[] = {
    /* the examples of RFC 7208 7.4 */
    {"192.0.2.3", "%{s}", "strong-bad@email.example.com"},
    {"192.0.2.3", "%{o}", "email.example.com"},
    {"192.0.2.3", "%{d}", "email.example.com"},
    {"192.0.2.3", "%{d4}", "email.example.com"},
    {"192.0.2.3", "%{d3}", "email.example.com"},
    {"192.0.2.3", "%{d2}", "example.com"},
    {"192.0.2.3", "%{d1}", "com"},
    {"192.0.2.3", "%{dr}", "com.example.email"},
    {"192.0.2.3", "%{d2r}", "example.email"},
    {"192.0.2.3", "%{l}", "strong-bad"},
    {"192.0.2.3", "%{l-}", "strong.bad"},
    {"192.0.2.3", "%{lr}", "strong-bad"},
    {"192.0.2.3", "%{lr-}", "bad.strong"},
    {"192.0.2.3", "%{l1r-}", "strong"},
    {"192.0.2.3", "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"},
    {"192.0.2.3", "%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"},
    {"192.0.2.3", "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
     "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"},
    {"192.0.2.3", "%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"},
    {"2001:db8::cb01", "%{ir}.%{v}._spf.%{d2}",
     "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"},
    /* the others */
    {"192.0.2.3", "%{c} %{h} %{r} %{t} %{p}", "192.0.2.3 helo.test us.test 1700000000 known.test"},
    {"2001:db8::cb01", "%{c}", "2001:db8::cb01"},
    {"192.0.2.3", "%%%_%-x", "% %20x"},
    {"192.0.2.3", "%{S}", "strong-bad%40email.example.com"},
    {"192.0.2.3", "%{i255}", "192.0.2.3"},
    {"192.0.2.3", "%{s@}", NULL},
    {"192.0.2.3", "%{o.-_}", "email.example.com"},
    {"192.0.2.3", "", ""},
};

static void test_expanding(void **state)
{
    struct spf_subject subject = {.helo = bytes_of("helo.test"),
                                  .local = bytes_of("strong-bad"),
                                  .sender_domain = bytes_of("email.example.com"),
                                  .receiver = bytes_of("us.test"),
                                  .wall_s = 1700000000};
    struct spf_scope scope = {.subject = &subject,
                              .domain = bytes_of("email.example.com"),
                              .confirmed = bytes_of("known.test")};
    struct pool pool;

    (void)state;
    pool_init(&pool, 256, 4);
    for (size_t i = 0; i < ARRAY_LENGTH(expand_rows); i++) {
        const struct expand_row *row = &expand_rows[i];
        struct bytes text = bytes_of(row->text);
        struct buf out;

        assert_int_equal(netaddr_parse(bytes_of(row->client), &subject.client), 0);
        if (!lib_is_true(i, row->text, spf_macro_is_explanation(text) == (row->expanded != NULL)) ||
            row->expanded == NULL)
            continue;
        buf_init(&out, &pool, TEXT_MAX);
        spf_macro_expand(&out, text, &scope);
        lib_same_bytes(i, row->text, bytes_of(row->expanded), buf_bytes(&out));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* Empty parts stay parts, and an empty local part is postmaster. */
static void test_odd_senders(void **state)
{
    static const struct {
        const char *local, *text, *expanded;
    } odd[] = {
        {"", "%{l} %{s}", "postmaster postmaster@d.test"},
        {"..", "%{l} %{lr} %{l2} %{l1}.", ".. .. . ."},
        {"-a--b-", "%{l-} %{lr-} %{l2r-}", ".a..b. .b..a. a."},
        {"a b\x01\xff/", "%{L}", "a%20b%01%FF%2F"},
    };
    struct pool pool;

    (void)state;
    pool_init(&pool, 256, 4);
    for (size_t i = 0; i < ARRAY_LENGTH(odd); i++) {
        struct spf_subject subject = {.local = bytes_of(odd[i].local),
                                      .sender_domain = bytes_of("d.test")};
        struct spf_scope scope = {.subject = &subject};
        struct buf out;

        buf_init(&out, &pool, TEXT_MAX);
        spf_macro_expand(&out, bytes_of(odd[i].text), &scope);
        lib_same_bytes(i, odd[i].text, bytes_of(odd[i].expanded), buf_bytes(&out));
        buf_done(&out);
    }
    pool_done(&pool);
    lib_end_rows();
}

/* What does not fit is a failure, not a shorter text. */
static void test_limits(void **state)
{
    struct spf_subject subject = {.sender_domain = bytes_of("d.test")};
    struct spf_scope scope = {.subject = &subject};
    struct pool pool;
    struct buf out;

    (void)state;
    pool_init(&pool, 256, 4);
    buf_init(&out, &pool, 11);
    spf_macro_expand(&out, bytes_of("%{o}%{o}"), &scope);
    assert_true(out.has_failed);
    buf_reset(&out);
    spf_macro_expand(&out, bytes_of("%{o}%_-x"), &scope);
    assert_false(out.has_failed);
    assert_true(bytes_is(buf_bytes(&out), "d.test -x"));
    buf_done(&out);
    pool_done(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax), cmocka_unit_test(test_expanding),
        cmocka_unit_test(test_odd_senders), cmocka_unit_test(test_limits)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
