/* SPDX-License-Identifier: BSD-2-Clause */
/* Reports: who gets one, what is returned, and what hostile words cannot do. */
/* needs: tests/unit/bounce_world.c */
#include "spool/bounce.h"

#include "tests/unit/bounce_world.h"
#include "tests/unit/lib.h"

#include "proxy/base/error.h"

/* ---- who ---- */

struct wanted_row {
    const char *params;
    const char *kinds; /* "FDR": failed, delayed, relayed */
};

static const struct wanted_row wanted_rows[] = {
    {"", "FD"},
    {"ORCPT=rfc822;x@y", "FD"},
    {"NOTIFY=NEVER", ""},
    {"NOTIFY=never ORCPT=rfc822;x@y", ""},
    {"NOTIFY=SUCCESS", "RL"},
    {"NOTIFY=FAILURE", "F"},
    {"NOTIFY=DELAY", "D"},
    {"ORCPT=rfc822;x@y notify=Failure,DELAY", "FD"},
    {"NOTIFY=SUCCESS,FAILURE,DELAY", "FDRL"},
    {"NOTIFY=FAILURES,XDELAY", ""},
    {"NOTIFY", ""},
    {"XNOTIFY=NEVER", "FD"},
};

static void test_wanted(void **state)
{
    static const char letters[] = "FDRL";

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wanted_rows); i++) {
        struct spool_recipient r = {.params = bytes_of(wanted_rows[i].params)};
        char kinds[BOUNCE_KINDS + 1] = "";
        size_t count = 0;

        for (int kind = BOUNCE_FAILED; kind < BOUNCE_KINDS; kind++)
            if (bounce_is_wanted(&r, (enum bounce_kind)kind))
                kinds[count++] = letters[kind];
        lib_same_text(i, "kinds", wanted_rows[i].kinds, kinds);
    }
    lib_end_rows();
}

struct audience_row {
    const char *from;
    enum bounce_to to;
    enum bounce_kind kind;
    const char *rcpt, *second; /* both are due */
    const char *notify;        /* of the first */
    const char *expected;
};

#define SENDER     BOUNCE_TO_SENDER
#define POSTMASTER BOUNCE_TO_POSTMASTER
#define BOTH       BOUNCE_TO_BOTH
#define NONE       BOUNCE_TO_NONE

static const struct audience_row audience_rows[] = {
    {"a@b", SENDER, BOUNCE_FAILED, "x@y", NULL, "", "a@b"},
    {"a@b", POSTMASTER, BOUNCE_FAILED, "x@y", NULL, "", "postmaster@mx.example.net"},
    {"a@b", BOTH, BOUNCE_FAILED, "x@y", NULL, "", "a@b postmaster@mx.example.net"},
    {"a@b", NONE, BOUNCE_FAILED, "x@y", NULL, "", "held"},
    {"a@b", SENDER, BOUNCE_FAILED, "x@y", NULL, "NOTIFY=NEVER", "nothing"},
    {"a@b", NONE, BOUNCE_FAILED, "x@y", NULL, "NOTIFY=NEVER", "nothing"},
    {"a@b", BOTH, BOUNCE_FAILED, "x@y", NULL, "NOTIFY=SUCCESS", "nothing"},
    {"a@b", SENDER, BOUNCE_FAILED, "x@y", "z@y", "NOTIFY=NEVER", "a@b"},
    {"a@b", SENDER, BOUNCE_DELAYED, "x@y", NULL, "", "a@b"},
    {"a@b", BOTH, BOUNCE_DELAYED, "x@y", NULL, "", "a@b"},
    {"a@b", POSTMASTER, BOUNCE_DELAYED, "x@y", NULL, "", "nothing"},
    {"a@b", NONE, BOUNCE_DELAYED, "x@y", NULL, "", "nothing"},
    {"a@b", SENDER, BOUNCE_RELAYED, "x@y", NULL, "", "nothing"},
    {"a@b", SENDER, BOUNCE_RELAYED, "x@y", NULL, "NOTIFY=SUCCESS", "a@b"},
    {"a@b", SENDER, BOUNCE_DELIVERED, "x@y", NULL, "NOTIFY=SUCCESS", "a@b"},
    {"a@b", BOTH, BOUNCE_DELIVERED, "x@y", NULL, "NOTIFY=SUCCESS", "a@b"},
    {"a@b", POSTMASTER, BOUNCE_DELIVERED, "x@y", NULL, "NOTIFY=SUCCESS", "nothing"},
    /* a sender without a domain is at home here */
    {"root", SENDER, BOUNCE_FAILED, "x@y", NULL, "", "root@mx.example.net"},
    /* the postmaster need not be told twice */
    {"Postmaster@mx.example.net", BOTH, BOUNCE_FAILED, "x@y", NULL, "",
     "Postmaster@mx.example.net"},
    /* from nobody */
    {"", SENDER, BOUNCE_FAILED, "x@y", NULL, "", "postmaster@mx.example.net"},
    {"", POSTMASTER, BOUNCE_FAILED, "x@y", NULL, "", "postmaster@mx.example.net"},
    {"", BOTH, BOUNCE_FAILED, "x@y", NULL, "", "postmaster@mx.example.net"},
    {"", NONE, BOUNCE_FAILED, "x@y", NULL, "", "held"},
    {"", SENDER, BOUNCE_FAILED, "x@y", NULL, "NOTIFY=NEVER", "nothing"},
    {"", SENDER, BOUNCE_DELAYED, "x@y", NULL, "", "nothing"},
    {"", SENDER, BOUNCE_RELAYED, "x@y", NULL, "NOTIFY=SUCCESS", "nothing"},
    /* from nobody to the postmaster: the end of it */
    {"", SENDER, BOUNCE_FAILED, "postmaster@mx.example.net", NULL, "", "held"},
    {"", BOTH, BOUNCE_FAILED, "POSTMASTER@MX.example.net", NULL, "", "held"},
    {"", BOTH, BOUNCE_FAILED, "postmaster@mx.example.net", "x@y", "", "postmaster@mx.example.net"},
    {"", SENDER, BOUNCE_FAILED, "postmaster@elsewhere", NULL, "", "postmaster@mx.example.net"},
    {"a@b", SENDER, BOUNCE_FAILED, "postmaster@mx.example.net", NULL, "", "a@b"},
};

static void see_recipients(const struct bounce_world *s, struct lib_text *seen)
{
    for (uint32_t i = 0; i < s->report.recipient_count; i++) {
        const struct address *to = &s->report.recipients[i].to;
        lib_put(seen, "%s%.*s@%.*s", i == 0 ? "" : " ", (int)to->local.len, to->local.at,
                (int)to->domain.len, to->domain.at);
    }
}

static void test_audience(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(audience_rows); i++) {
        const struct audience_row *row = &audience_rows[i];
        struct lib_text seen = {.len = 0};
        struct bounce_world s;

        bounce_world_open(&s);
        s.message.envelope.from = bounce_world_address(row->from);
        s.conf.to = row->to;
        s.job.kind = row->kind;
        s.recipients[0].original = s.recipients[0].to = bounce_world_address(row->rcpt);
        s.recipients[0].params = bytes_of(row->notify);
        if (row->second != NULL) {
            s.recipients[1].original = s.recipients[1].to = bounce_world_address(row->second);
            s.is_due[1] = true;
        }
        lib_same_number(i, "error", 0, bounce_world_make(&s));
        if (s.result == BOUNCE_MADE)
            see_recipients(&s, &seen);
        else
            lib_put(&seen, s.result == BOUNCE_HELD ? "held" : "nothing");
        lib_same_text(i, "told", row->expected, seen.at);
        lib_is_true(i, "only a report has content",
                    (buf_length(&s.content) > 0) == (s.result == BOUNCE_MADE));
        bounce_world_close(&s);
    }
    lib_end_rows();
}

/* ---- what is returned ---- */

struct returned_row {
    enum bounce_kind kind;
    const char *params;
    uint64_t body_bytes;
    uint64_t expected;
};

static const struct returned_row returned_rows[] = {
    {BOUNCE_FAILED, "", 100, 100},
    {BOUNCE_FAILED, "", BOUNCE_WHOLE_MAX, BOUNCE_WHOLE_MAX},
    {BOUNCE_FAILED, "RET=FULL", BOUNCE_WHOLE_MAX, BOUNCE_WHOLE_MAX},
    {BOUNCE_FAILED, "RET=FULL", BOUNCE_WHOLE_MAX + 1, BOUNCE_HEADERS_MAX},
    {BOUNCE_FAILED, "ENVID=x ret=hdrs", BOUNCE_WHOLE_MAX, BOUNCE_HEADERS_MAX},
    {BOUNCE_FAILED, "RET=HDRS", 100, 100},
    {BOUNCE_DELAYED, "RET=FULL", BOUNCE_WHOLE_MAX, BOUNCE_HEADERS_MAX},
    {BOUNCE_RELAYED, "RET=FULL", BOUNCE_HEADERS_MAX - 1, BOUNCE_HEADERS_MAX - 1},
    {BOUNCE_DELIVERED, "RET=FULL", BOUNCE_HEADERS_MAX, BOUNCE_HEADERS_MAX},
    {BOUNCE_FAILED, "", UINT64_MAX, BOUNCE_HEADERS_MAX},
};

static void test_content_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(returned_rows); i++) {
        struct spool_message m = {.view = view_whole(),
                                  .head.body_bytes = returned_rows[i].body_bytes,
                                  .envelope.params = bytes_of(returned_rows[i].params)};
        lib_same_number(i, "octets", (int64_t)returned_rows[i].expected,
                        (int64_t)bounce_content_bytes(&m, returned_rows[i].kind));
    }
    lib_end_rows();
}

struct part_row {
    const char *content;
    const char *part; /* behind the second part; NULL: there is no third */
    bool is_cut;      /* the message goes on behind the content */
    const char *params;
};

static const struct part_row part_rows[] = {
    {"A: b\r\n\r\ntext\r\n",
     "message/rfc822\r\nContent-Description: Message\r\n\r\n"
     "A: b\r\n\r\ntext\r\n\r\n--",
     false, ""},
    {"A: b\r\n\r\ntext\r\n",
     "text/rfc822-headers\r\nContent-Description: Headers of the message\r\n"
     "\r\nA: b\r\n\r\n--",
     false, "RET=HDRS"},
    {"A: b\r\n", "message/rfc822\r\nContent-Description: Message\r\n\r\nA: b\r\n\r\n--", false, ""},
    {"A: b\r\nC", "message/rfc822\r\nContent-Description: Message\r\n\r\nA: b\r\nC\r\n\r\n--",
     false, ""},
    {"A: b\r\nC: d", "\r\nA: b\r\nC: d\r\n\r\n--", false, "RET=HDRS"},
    {"A: b\r\nC: d", "\r\nA: b\r\n\r\n--", true, ""},
    {"A: b\r\n\r\nC: d", "\r\nA: b\r\n\r\n--", true, ""},
    {"A: b\r\n\r", "\r\nA: b\r\n\r\n--", true, ""},
    {"A: b", NULL, true, ""},
    {"", NULL, false, ""},
    {"", NULL, true, ""},
    {"\r\ntext\r\n", "message/rfc822\r\nContent-Description: Message\r\n\r\n\r\ntext\r\n\r\n--",
     false, ""},
    {"\r\ntext\r\n", NULL, false, "RET=HDRS"},
    {"A: \x80\r\n\r\nb\r\n",
     "Message\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: \x80\r\n\r\nb\r\n", false, ""},
    {"A: b\r\n\r\n\xff\r\n",
     "Message\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: b\r\n\r\n\xff\r\n", false, ""},
    {"A: b\r\n\r\n\xff\r\n", "Headers of the message\r\n\r\nA: b\r\n\r\n--", false, "RET=HDRS"},
};

static void test_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(part_rows); i++) {
        const struct part_row *row = &part_rows[i];
        struct bounce_world s;

        bounce_world_open(&s);
        bounce_world_content(&s, bytes_of(row->content));
        s.message.head.body_bytes += row->is_cut ? 1000 : 0;
        s.message.envelope.params = bytes_of(row->params);
        lib_same_number(i, "error", 0, bounce_world_make(&s));
        lib_is_true(i, "the part",
                    row->part != NULL ? bounce_world_has(&s, row->part)
                                      : !bounce_world_has(&s, "rfc822\r\n"));
        lib_is_true(i, "is told of", row->part != NULL || !bounce_world_has(&s, "enclosed"));
        lib_same_bytes(i, "params", bytes_of(s.report.envelope.is_8bit ? "BODY=8BITMIME" : ""),
                       s.report.envelope.params);
        lib_is_true(i, "8bit is said",
                    s.report.envelope.is_8bit ==
                        bounce_world_has(&s, "\r\nContent-Transfer-Encoding: 8bit\r\n\r\nThis is"));
        bounce_world_check_lines(i, &s);
        bounce_world_close(&s);
    }
    lib_end_rows();
}

/* A relay that takes no octets over 127. */
static void test_7bit(void **state)
{
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.job.is_7bit = true;
    bounce_world_content(&s, bytes_of("A: \xc3\xa4\r\n\r\n\xc3\xa4\r\n"));
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(
        &s, "text/rfc822-headers\r\nContent-Description: Headers of the message\r\n"
            "\r\nA: ??\r\n\r\n--"));
    assert_false(s.report.envelope.is_8bit);
    bounce_world_content(&s, bytes_of(bounce_world_original));
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "Content-Type: message/rfc822\r\n"));
    bounce_world_close(&s);
}

/* ---- hostile words ---- */

/* RFC 8689 5: what had to be protected is protected on its way back. */
static void test_requiretls(void **state)
{
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.message.envelope.params = bytes_of("SIZE=1000 requiretls RET=HDRS");
    assert_int_equal(bounce_world_make(&s), 0);
    lib_same_bytes(0, "params",
                   bytes_of(s.report.envelope.is_8bit ? "BODY=8BITMIME REQUIRETLS" : "REQUIRETLS"),
                   s.report.envelope.params);
    bounce_world_close(&s);
    lib_end_rows();
}

static void test_hostile_words(void **state)
{
    static const char *const pieces[] = {"x",        "\r\n",      "\r\nSubject: mine\r\n\r\n",
                                         " ",        "\t",        "\xff",
                                         "a ",       "\r\n--",    "\n.\n",
                                         "\x01\x7f", "550 5.1.1 "};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
        struct bytes all, words;
        struct bounce_world s;

        bounce_world_open(&s);
        words = bounce_world_repeat(&s, "", pieces[i], 5000);
        s.recipients[0].reply = words;
        s.recipients[0].remote = words;
        s.recipients[0].to.local = words;
        s.recipients[0].original.domain = words;
        s.message.envelope.from.local = words;
        s.conf.hostname = bytes_first(words, 255);
        lib_same_number(i, "error", 0, bounce_world_make(&s));
        bounce_world_check_lines(i, &s);
        lib_is_true(i, "no field of others", !bounce_world_has(&s, "\nSubject: mine"));
        all = buf_bytes(&s.content);
        lib_is_true(i, "it is cut", all.len < 8000);
        for (size_t k = 0; k < all.len; k++)
            if (!lib_is_true(i, "ASCII", all.at[k] < 127))
                break;
        bounce_world_close(&s);
    }
    lib_end_rows();
}

static void test_hostile_params(void **state)
{
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.message.envelope.params = bytes_of("ENVID=a+0D+0AAction:+20delivered+zz+4");
    s.recipients[0].params = bytes_of("ORCPT=rfc822;b+0D+0A.+0A+0A--x+FF");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\nOriginal-Envelope-Id: a??Action: delivered+zz+4\r\n"));
    assert_true(bounce_world_has(&s, "\r\nOriginal-Recipient: rfc822; b??.?"
                                     "?--x?\r\n"));
    s.recipients[0].params = bytes_of("ORCPT=rfc822;");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_false(bounce_world_has(&s, "Original-Recipient"));
    s.recipients[0].params = bytes_of("ORCPT=;x");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_false(bounce_world_has(&s, "Original-Recipient"));
    s.recipients[0].params = bytes_of("ORCPT=x@y");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_false(bounce_world_has(&s, "Original-Recipient"));
    bounce_world_close(&s);
}

static void test_hostile_content(void **state)
{
    static const struct bytes nasty = {(const uint8_t *)"A\0b: \rc\nD: e\r\n\r\n\0\r\n\r\r\n", 22};
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    bounce_world_content(&s, nasty);
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\n\r\nA?b: ?c\r\nD: e\r\n\r\n?\r\n?\r\n\r\n--"));
    bounce_world_check_lines(0, &s);

    bounce_world_content(&s, bounce_world_repeat(&s, "", "x", 2500));
    assert_int_equal(bounce_world_make(&s), 0);
    bounce_world_check_lines(1, &s);
    assert_true(bounce_world_has(&s, "x\r\n x")); /* a header is folded */
    bounce_world_content(&s, bounce_world_repeat(&s, "A: b\r\n\r\n", "x", 2500));
    assert_int_equal(bounce_world_make(&s), 0);
    bounce_world_check_lines(2, &s);
    assert_true(bounce_world_has(&s, "x\r\nx")); /* a body is broken */
    bounce_world_close(&s);
    lib_end_rows();
}

/* What is returned holds every boundary up to a letter. */
static void test_boundary(void **state)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    struct bounce_world s;
    struct lib_text text;

    (void)state;
    bounce_world_open(&s);
    assert_int_equal(bounce_world_make(&s), 0);
    for (size_t count = 0; count <= strlen(letters); count++) {
        struct lib_text expected = {.len = 0};

        text.len = 0;
        lib_put(&text, "\r\n");
        for (size_t i = 0; i < count; i++)
            lib_put(&text, "--=_%s_%c\r\n", s.report.head.id.text, letters[i]);
        bounce_world_content(&s, bytes_make(text.at, text.len));
        assert_int_equal(bounce_world_make(&s), 0);
        lib_put(&expected, "boundary=\"=_%s_%c\"\r\n", s.report.head.id.text,
                count < strlen(letters) ? letters[count] : 'a');
        assert_true(bounce_world_has(&s, expected.at));
        assert_int_equal(bounce_world_has(&s, "message/rfc822"), count < strlen(letters));
    }
    bounce_world_close(&s);
}

/* ---- its id ---- */

static void test_id(void **state)
{
    struct id first, other;
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    assert_int_equal(bounce_world_make(&s), 0);
    first = s.report.head.id;
    assert_memory_equal(first.text, s.message.head.id.text, 9);
    assert_int_equal(strlen(first.text), ID_LENGTH);
    assert_int_equal(strspn(first.text, "0123456789BCDFGHJKLMNPQRSTVWXYZ"), ID_LENGTH);

    s.job.now_s += 1000; /* the same cause, later, by another process, with more to say */
    s.recipients[0].tries++;
    bounce_world_content(&s, bytes_of("x: y\r\n"));
    assert_int_equal(bounce_world_make(&s), 0);
    assert_string_equal(s.report.head.id.text, first.text);

    s.is_due[1] = true; /* other causes */
    assert_int_equal(bounce_world_make(&s), 0);
    other = s.report.head.id;
    assert_string_not_equal(other.text, first.text);
    s.is_due[0] = false;
    assert_int_equal(bounce_world_make(&s), 0);
    assert_string_not_equal(s.report.head.id.text, first.text);
    assert_string_not_equal(s.report.head.id.text, other.text);
    s.is_due[0] = true;
    s.is_due[1] = false;
    s.job.kind = BOUNCE_DELAYED;
    assert_int_equal(bounce_world_make(&s), 0);
    assert_string_not_equal(s.report.head.id.text, first.text);
    s.job.kind = BOUNCE_FAILED;
    for (char c = '5'; c <= '9'; c++) {
        s.message.head.id.text[15] = c;
        assert_int_equal(bounce_world_make(&s), 0);
        assert_string_not_equal(s.report.head.id.text, first.text);
        assert_true(s.report.head.id.text[9] >= '5'); /* no process has such a number */
    }
    bounce_world_close(&s);
}

static bool make_with_failures(void *given)
{
    struct bounce_world s;
    int error;

    (void)given;
    bounce_world_open(&s);
    s.conf.to = BOUNCE_TO_BOTH;
    s.result = BOUNCE_HELD;
    error = bounce_world_make(&s);
    assert_true(error == 0 || error == ERR_MEMORY);
    assert_int_equal(s.result, error == 0 ? BOUNCE_MADE : BOUNCE_HELD);
    assert_int_equal(s.report.recipient_count, error == 0 ? 2 : 0);
    bounce_world_close(&s);
    return error == 0;
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(make_with_failures, NULL) > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wanted),
        cmocka_unit_test(test_audience),
        cmocka_unit_test(test_content_bytes),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_7bit),
        cmocka_unit_test(test_requiretls),
        cmocka_unit_test(test_hostile_words),
        cmocka_unit_test(test_hostile_params),
        cmocka_unit_test(test_hostile_content),
        cmocka_unit_test(test_boundary),
        cmocka_unit_test(test_id),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
