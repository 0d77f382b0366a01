/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of SPF: whatever clients and domains say, fields stay fields and replies one line.
 */
#include "filters/spf/spf_header.h"

#include "tests/unit/lib.h"

static struct pool pool;
static struct buf out;
static struct spf_report report;

static int set_up(void **state)
{
    (void)state;
    pool_init(&pool, 512, 4);
    buf_init(&out, &pool, 65536);
    report = (struct spf_report){
        .subject = {.helo = bytes_of("helo.test"),
                    .local = bytes_of("local"),
                    .sender_domain = bytes_of("d.test"),
                    .domain = bytes_of("d.test"),
                    .receiver = bytes_of("us.test")},
        .reply = {.result = SPF_PASS, .mechanism = bytes_of("mx")},
    };
    return netaddr_parse(bytes_of("192.0.2.1"), &report.subject.client);
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&out);
    pool_done(&pool);
    return 0;
}

static void expect(const char *text)
{
    lib_same_bytes(0, "written", bytes_of(text), buf_bytes(&out));
    assert_false(out.has_failed);
    buf_reset(&out);
    lib_end_rows();
}

static void test_received(void **state)
{
    (void)state;
    spf_header_put_received(&out, &report);
    expect("Received-SPF: pass\r\n\t(us.test: d.test permits mail from 192.0.2.1)\r\n"
           "\tclient-ip=192.0.2.1;\r\n\tenvelope-from=\"local@d.test\";\r\n\thelo=helo.test;\r\n"
           "\treceiver=us.test;\r\n\tidentity=mailfrom;\r\n\tmechanism=mx;\r\n");
    assert_int_equal(netaddr_parse(bytes_of("2001:db8::1"), &report.subject.client), 0);
    report.identity = SPF_IDENTITY_HELO;
    report.subject.local = bytes_of("");
    report.reply = (struct spf_reply){.result = SPF_PERMERROR, .problem = bytes_of("a:b/99")};
    spf_header_put_received(&out, &report);
    expect("Received-SPF: permerror\r\n"
           "\t(us.test: the policy of d.test cannot be applied to 2001:db8::1)\r\n"
           "\tclient-ip=\"2001:db8::1\";\r\n\tenvelope-from=\"postmaster@d.test\";\r\n"
           "\thelo=helo.test;\r\n\treceiver=us.test;\r\n\tidentity=helo;\r\n"
           "\tproblem=\"a:b/99\";\r\n");
}

static void test_results(void **state)
{
    struct spf_report both[2];

    (void)state;
    both[0] = both[1] = report;
    both[1].identity = SPF_IDENTITY_HELO;
    both[1].reply.result = SPF_TEMPERROR;
    spf_header_put_results(&out, bytes_of("id.test"), both, 2);
    expect("Authentication-Results: id.test;\r\n"
           "\tspf=pass (d.test permits mail from 192.0.2.1)\r\n\tsmtp.mailfrom=local@d.test;\r\n"
           "\tspf=temperror (the policy of d.test could not be asked about 192.0.2.1 for now)\r\n"
           "\tsmtp.helo=helo.test\r\n");
}

static const struct refusal_row {
    enum spf_result result;
    const char *explanation, *text;
} refusal_rows[] = {
    {SPF_FAIL, "", "d.test forbids mail from 192.0.2.1 (SPF)"},
    {SPF_FAIL, "See http://d.test/",
     "d.test forbids mail from 192.0.2.1 (SPF); its explanation: See http://d.test/"},
    {SPF_FAIL, "a\r\n250 ok\x80",
     "d.test forbids mail from 192.0.2.1 (SPF); its explanation: "
     "a??250 ok?"},
    {SPF_SOFTFAIL, "not asked for", "d.test does not expect mail from 192.0.2.1 (SPF)"},
    {SPF_NONE, "", "d.test has no SPF policy for 192.0.2.1 (SPF)"},
    {SPF_NEUTRAL, "", "d.test says nothing about mail from 192.0.2.1 (SPF)"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(refusal_rows); i++) {
        report.reply.result = refusal_rows[i].result;
        report.reply.explanation = bytes_of(refusal_rows[i].explanation);
        buf_reset(&out);
        spf_header_put_refusal(&out, &report);
        lib_same_bytes(i, "refusal", bytes_of(refusal_rows[i].text), buf_bytes(&out));
    }
    lib_end_rows();
}

/* Every CRLF is followed by a TAB but for the last, and no line is longer than RFC 5322 allows. */
static void check_field(size_t row, struct bytes field)
{
    size_t line = 0;

    lib_is_true(row, "ends", field.len > 2 && field.at[field.len - 1] == '\n');
    for (size_t i = 0; i + 1 < field.len; i++) {
        bool is_end = field.at[i] == '\r' && field.at[i + 1] == '\n';

        lib_is_true(row, "is printable",
                    byte_is_printable(field.at[i]) || field.at[i] == '\t' || is_end ||
                        (i > 0 && field.at[i] == '\n' && field.at[i - 1] == '\r'));
        if (is_end && i + 2 < field.len)
            lib_is_true(row, "is folded", field.at[i + 2] == '\t');
        line = is_end ? 0 : line + 1;
        lib_is_true(row, "is short", line < 998);
    }
}

/* A comment or a quoted string that stays open would swallow what follows. */
static void check_balance(size_t row, struct bytes field)
{
    bool in_quotes = false;
    int depth = 0;

    for (size_t i = 0; i < field.len; i++) {
        if (in_quotes && field.at[i] == '\\')
            i++;
        else if (field.at[i] == '"' && depth == 0)
            in_quotes = !in_quotes;
        else if (!in_quotes)
            depth += (field.at[i] == '(') - (field.at[i] == ')');
        lib_is_true(row, "comments do not nest", depth == 0 || depth == 1);
    }
    lib_is_true(row, "ends outside", !in_quotes && depth == 0);
}

static void test_hostile(void **state)
{
    static char many[2000];
    static const char *const hostile[] = {
        "",
        "a\r\nSubject: forged",
        "\"",
        "\\",
        "x\\\" ; spf=pass",
        "a) spf=pass (",
        "\x01\x80\xff\t",
        "..",
        many,
    };

    (void)state;
    memset(many, '"', sizeof(many) - 1);
    for (size_t i = 0; i < ARRAY_LENGTH(hostile); i++) {
        struct bytes text = bytes_of(hostile[i]);

        report.subject.helo = report.subject.local = report.subject.sender_domain = text;
        report.subject.domain = text;
        report.reply.mechanism = report.reply.problem = report.reply.explanation = text;
        report.reply.result = SPF_FAIL;
        for (int identity = 0; identity < 2; identity++) {
            report.identity = (enum spf_identity)identity;
            spf_header_put_received(&out, &report);
            check_field(i, buf_bytes(&out));
            check_balance(i, buf_bytes(&out));
            buf_reset(&out);
            spf_header_put_results(&out, bytes_of("id.test"), &report, 1);
            check_field(i, buf_bytes(&out));
            check_balance(i, buf_bytes(&out));
            buf_reset(&out);
        }
        spf_header_put_refusal(&out, &report);
        lib_is_true(i, "refusal", buf_length(&out) <= SPF_REFUSAL_MAX && !out.has_failed);
        for (size_t at = 0; at < buf_length(&out); at++)
            lib_is_true(i, "refusal is printable", byte_is_printable(buf_bytes(&out).at[at]));
        buf_reset(&out);
    }
    lib_end_rows();
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(test_received), CASE(test_results), CASE(test_refusals),
                                       CASE(test_hostile)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
