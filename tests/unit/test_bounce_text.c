/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in a report, word for word. */
/* needs: tests/unit/bounce_world.c */
#include "tests/unit/bounce_world.h"

#include "tests/unit/lib.h"

/* The report with its own id, which no test shall depend on, as "ID". */
static void see_content(const struct bounce_world *s, struct lib_text *seen)
{
    struct bytes rest = buf_bytes(&s->content);
    const char *id = s->report.head.id.text;

    seen->len = 0;
    seen->at[0] = '\0';
    while (rest.len > 0) {
        const uint8_t *at = memmem(rest.at, rest.len, id, ID_LENGTH);
        size_t before = at == NULL ? rest.len : (size_t)(at - rest.at);

        lib_put(seen, "%.*s%s", (int)before, (const char *)rest.at, at == NULL ? "" : "ID");
        rest = bytes_skip(rest, at == NULL ? before : before + ID_LENGTH);
    }
}

#define ENVELOPE(subject)                                                                          \
    "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\r\n"                                \
    "To: <ann@example.com>\r\n"                                                                    \
    "Subject: " subject "\r\n"                                                                     \
    "Date: Sun, 22 Nov 2026 03:27:41 +0000\r\n"                                                    \
    "Message-ID: <ID@mx.example.net>\r\n"                                                          \
    "Auto-Submitted: auto-replied\r\n"                                                             \
    "MIME-Version: 1.0\r\n"                                                                        \
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"                             \
    "\tboundary=\"=_ID_a\"\r\n"                                                                    \
    "\r\n"                                                                                         \
    "This is a report in the format of RFC 6522.\r\n"                                              \
    "\r\n"                                                                                         \
    "--=_ID_a\r\n"                                                                                 \
    "Content-Type: text/plain; charset=us-ascii\r\n"                                               \
    "Content-Description: Notification\r\n"                                                        \
    "\r\n"                                                                                         \
    "This is postern, the mail system at mx.example.net.\r\n"                                      \
    "\r\n"                                                                                         \
    "The message from <ann@example.com>\r\n"                                                       \
    "of Sun, 22 Nov 2026 03:26:40 +0000\r\n"

#define STATUS                                                                                     \
    "\r\n"                                                                                         \
    "--=_ID_a\r\n"                                                                                 \
    "Content-Type: message/delivery-status\r\n"                                                    \
    "Content-Description: Delivery report\r\n"                                                     \
    "\r\n"

#define ABOUT                                                                                      \
    "Reporting-MTA: dns; mx.example.net\r\n"                                                       \
    "Arrival-Date: Sun, 22 Nov 2026 03:26:40 +0000\r\n"                                            \
    "X-Postern-Id: 06H4TZ0BC00F3X04\r\n"                                                           \
    "X-Postern-Sender: rfc822; ann@example.com\r\n"

static const char failed_text[] =
    ENVELOPE("Undeliverable mail") "could not be delivered to:\r\n"
                                   "\r\n"
                                   "<bob@example.org>\r\n"
                                   "    192.0.2.1:25 said:\r\n"
                                   "    550 5.1.1 no such user\r\n"
                                   "\r\n"
                                   "<cy@example.org>, that is <cyrus@inside.example>\r\n"
                                   "    554 5.4.7 no connection could be made to any of the "
                                   "addresses of this\r\n"
                                   "    target\r\n"
                                   "    (it may have arrived all the same: an answer was lost)\r\n"
                                   "\r\n"
                                   "Nothing more will be tried.\r\n"
                                   "The message itself is enclosed.\r\n" STATUS ABOUT "\r\n"
                                   "Final-Recipient: rfc822; bob@example.org\r\n"
                                   "Action: failed\r\n"
                                   "Status: 5.1.1\r\n"
                                   "Remote-MTA: dns; [192.0.2.1]\r\n"
                                   "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
                                   "Last-Attempt-Date: Sun, 22 Nov 2026 03:27:40 +0000\r\n"
                                   "\r\n"
                                   "Final-Recipient: rfc822; cyrus@inside.example\r\n"
                                   "Action: failed\r\n"
                                   "Status: 5.4.7\r\n"
                                   "Diagnostic-Code: x-postern; 554 5.4.7 no connection could be "
                                   "made to any of\r\n"
                                   " the addresses of this target\r\n"
                                   "\r\n"
                                   "--=_ID_a\r\n"
                                   "Content-Type: message/rfc822\r\n"
                                   "Content-Description: Message\r\n"
                                   "\r\n"
                                   "From: Ann <ann@example.com>\r\n"
                                   "Subject: hello\r\n"
                                   "\r\n"
                                   "How are you?\r\n"
                                   "\r\n"
                                   "--=_ID_a--\r\n";

static void test_failed_text(void **state)
{
    struct lib_text seen;
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.is_due[1] = true;
    s.recipients[1].to = bounce_world_address("cyrus@inside.example");
    s.recipients[1].fate = FATE_REFUSED;
    s.recipients[1].may_be_duplicate = true;
    s.recipients[1].reply =
        bytes_of("554 5.4.7 no connection could be made to any of the addresses "
                 "of this target");
    assert_int_equal(bounce_world_make(&s), 0);
    see_content(&s, &seen);
    lib_same_text(0, "report", failed_text, seen.at);

    assert_true(address_is_null(&s.report.envelope.from));
    assert_true(s.report.is_report);
    assert_false(s.report.envelope.is_8bit);
    assert_int_equal(s.report.envelope.params.len, 0);
    assert_int_equal(s.report.head.body_bytes, buf_length(&s.content));
    assert_int_equal(s.report.envelope.size_bytes, buf_length(&s.content));
    assert_int_equal(s.report.arrived_ms, 1795318061000);
    assert_string_equal(s.report.envelope.id.text, s.report.head.id.text);
    assert_true(bytes_is(s.report.listener, "mx"));
    bounce_world_close(&s);
    lib_end_rows();
}

static const char delayed_text[] =
    ENVELOPE("Delayed mail") "has not been delivered yet to:\r\n"
                             "\r\n"
                             "<bob@example.org>\r\n"
                             "\r\n"
                             "You need do nothing: it is being tried again.\r\n"
                             "That goes on until Fri, 27 Nov 2026 03:26:40 +0000.\r\n"
                             "The headers of the message are enclosed.\r\n" STATUS
                             "Original-Envelope-Id: QQ+314159\r\n" ABOUT "\r\n"
                             "Original-Recipient: rfc822; Bob+list@example.org\r\n"
                             "Final-Recipient: rfc822; bob@example.org\r\n"
                             "Action: delayed\r\n"
                             "Status: 4.0.0\r\n"
                             "Will-Retry-Until: Fri, 27 Nov 2026 03:26:40 +0000\r\n"
                             "\r\n"
                             "--=_ID_a\r\n"
                             "Content-Type: text/rfc822-headers\r\n"
                             "Content-Description: Headers of the message\r\n"
                             "\r\n"
                             "From: Ann <ann@example.com>\r\n"
                             "Subject: hello\r\n"
                             "\r\n"
                             "--=_ID_a--\r\n";

static void test_delayed_text(void **state)
{
    struct lib_text seen;
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.job.kind = BOUNCE_DELAYED;
    s.job.will_retry_s = 1795750000;
    s.message.envelope.params = bytes_of("SIZE=1000 ENVID=QQ+2B314159 RET=FULL");
    s.recipients[0] = (struct spool_recipient){
        .original = bounce_world_address("bob@example.org"),
        .to = bounce_world_address("bob@example.org"),
        .params = bytes_of("NOTIFY=DELAY ORCPT=rfc822;Bob+2Blist@example.org"),
    };
    assert_int_equal(bounce_world_make(&s), 0);
    see_content(&s, &seen);
    lib_same_text(0, "report", delayed_text, seen.at);
    bounce_world_close(&s);
    lib_end_rows();
}

/* From nobody, of a success, of somebody else's words. */
static void test_other_texts(void **state)
{
    struct bounce_world s;

    (void)state;
    bounce_world_open(&s);
    s.message.envelope.from = bounce_world_address("");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "The message without a sender\r\nof Sun, "));
    assert_true(bounce_world_has(&s, "\r\nTo: <postmaster@mx.example.net>\r\n"));
    assert_false(bounce_world_has(&s, "X-Postern-Sender"));
    bounce_world_close(&s);

    bounce_world_open(&s);
    s.job.kind = BOUNCE_RELAYED;
    s.recipients[0].params = bytes_of("NOTIFY=SUCCESS");
    s.recipients[0].reply = bytes_of("250 2.1.5 fine");
    s.recipients[0].remote = bytes_of("[2001:db8::1]:25");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\nSubject: Relayed mail\r\n"));
    assert_true(bounce_world_has(&s, "\r\nAction: relayed\r\nStatus: 2.1.5\r\n"));
    assert_true(bounce_world_has(&s, "\r\nRemote-MTA: dns; [IPv6:2001:db8::1]\r\n"));
    assert_true(bounce_world_has(&s, "\r\nContent-Type: text/rfc822-headers\r\n"));
    s.recipients[0].remote = bytes_of("unix:/run/x");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\nRemote-MTA: x-postern; unix:/run/x\r\n"));
    s.recipients[0].remote = bytes_of("mx.example.com");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\nRemote-MTA: dns; mx.example.com\r\n"));
    bounce_world_close(&s);

    bounce_world_open(&s);
    s.job.kind = BOUNCE_DELIVERED;
    s.recipients[0].params = bytes_of("NOTIFY=SUCCESS");
    s.recipients[0].reply = bytes_of("250 2.0.0 Ok: delivered");
    s.recipients[0].remote = bytes_of("/var/mail/joe");
    assert_int_equal(bounce_world_make(&s), 0);
    assert_true(bounce_world_has(&s, "\r\nSubject: Delivered mail\r\n"));
    assert_true(bounce_world_has(&s, "\r\nAction: delivered\r\nStatus: 2.0.0\r\n"));
    assert_true(bounce_world_has(&s, "was delivered to the mailbox of:\r\n"));
    assert_false(bounce_world_has(&s, "/var/mail"));
    assert_false(bounce_world_has(&s, "Diagnostic-Code"));
    bounce_world_close(&s);
}

struct status_row {
    enum bounce_kind kind;
    const char *reply;
    const char *expected;
};

static const struct status_row status_rows[] = {
    {BOUNCE_FAILED, "550 5.1.1 no", "5.1.1"},
    {BOUNCE_FAILED, "550 5.1.1", "5.1.1"},
    {BOUNCE_FAILED, "550 5.7.123 no", "5.7.123"},
    {BOUNCE_FAILED, "550 5.7.1234 no", "5.0.0"},
    {BOUNCE_FAILED, "550 55.1.1 no", "5.0.0"},
    {BOUNCE_FAILED, "550 5.1 no", "5.0.0"},
    {BOUNCE_FAILED, "550 5.1.1.1 no", "5.0.0"},
    {BOUNCE_FAILED, "550 5..1 no", "5.0.0"},
    {BOUNCE_FAILED, "550 4.1.1 no", "5.0.0"},
    {BOUNCE_FAILED, "550 no such user", "5.0.0"},
    {BOUNCE_FAILED, "550", "5.0.0"},
    {BOUNCE_FAILED, "550 ", "5.0.0"},
    {BOUNCE_FAILED, "451 4.3.0 later", "5.0.0"},
    {BOUNCE_FAILED, "", "5.0.0"},
    {BOUNCE_FAILED, "5", "5.0.0"},
    {BOUNCE_DELAYED, "451 4.3.0 later", "4.3.0"},
    {BOUNCE_DELAYED, "451 later", "4.0.0"},
    {BOUNCE_DELAYED, "", "4.0.0"},
    {BOUNCE_RELAYED, "250 2.0.0 ok", "2.0.0"},
    {BOUNCE_RELAYED, "250 ok", "2.0.0"},
    {BOUNCE_RELAYED, "250 2.1.5 ok", "2.1.5"},
    {BOUNCE_RELAYED, "", "2.0.0"},
};

static void test_status(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(status_rows); i++) {
        struct bounce_world s;
        char expected[40] = "\r\nStatus: ";

        bounce_world_open(&s);
        s.job.kind = status_rows[i].kind;
        s.recipients[0].reply = bytes_of(status_rows[i].reply);
        s.recipients[0].params = bytes_of("NOTIFY=SUCCESS,FAILURE,DELAY");
        assert_int_equal(bounce_world_make(&s), 0);
        strcat(strcat(expected, status_rows[i].expected), "\r\n");
        lib_is_true(i, status_rows[i].expected, bounce_world_has(&s, expected));
        bounce_world_close(&s);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_text),
        cmocka_unit_test(test_delayed_text),
        cmocka_unit_test(test_other_texts),
        cmocka_unit_test(test_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
