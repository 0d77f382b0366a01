/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages between postern and its evaluator of SPF: what is written reads back the same, and
 * what is cut, stretched or wrong anywhere is no message. */
#include "filters/spf/spf_wire.h"

#include "tests/unit/lib.h"

static struct pool pool;
static struct buf out;
static struct spf_request request;

static int set_up(void **state)
{
    (void)state;
    pool_init(&pool, 512, 4);
    buf_init(&out, &pool, SPF_REQUEST_MAX);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_done(&out);
    pool_done(&pool);
    return 0;
}

static const struct spf_answer answers[] = {
    {.type = SPF_TYPE_TXT,
     .status = SPF_FOUND,
     .name = {(const uint8_t *)"d.test", 6},
     .count = 2,
     .records = {(const uint8_t *)"\0\3a\0b\0\0", 7}},
    {.type = SPF_TYPE_A,
     .status = SPF_FOUND,
     .name = {(const uint8_t *)"a.test", 6},
     .count = 1,
     .records = {(const uint8_t *)"\0\4\300\0\2\1", 6}},
    {.type = SPF_TYPE_MX, .status = SPF_ABSENT, .name = {(const uint8_t *)"m.test", 6}},
    {.type = SPF_TYPE_PTR, .status = SPF_TEMPORARY, .name = {NULL, 0}},
};

static void put_request(void)
{
    struct spf_subject subject = {.helo = bytes_of("helo"),
                                  .local = bytes_of("local"),
                                  .sender_domain = bytes_of("sender.test"),
                                  .domain = bytes_of("d.test"),
                                  .receiver = bytes_of("us.test"),
                                  .wall_s = 0x123456789a};

    assert_int_equal(netaddr_parse(bytes_of("2001:db8::1"), &subject.client), 0);
    spf_wire_put_head(&out, 0x87654321, &subject, true);
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++)
        spf_wire_put_answer(&out, &answers[i]);
    assert_false(out.has_failed);
}

static void test_request(void **state)
{
    const struct spf_subject *s = &request.subject;
    struct netaddr client;

    (void)state;
    put_request();
    assert_true(spf_wire_read_request(buf_bytes(&out), &request));
    assert_int_equal(request.number, 0x87654321);
    assert_true(request.wants_explanation);
    assert_int_equal(netaddr_parse(bytes_of("2001:db8::1"), &client), 0);
    assert_true(netaddr_equal(&s->client, &client));
    assert_true(bytes_is(s->helo, "helo") && bytes_is(s->local, "local"));
    assert_true(bytes_is(s->sender_domain, "sender.test") && bytes_is(s->domain, "d.test"));
    assert_true(bytes_is(s->receiver, "us.test") && s->wall_s == 0x123456789a);
    assert_int_equal(request.answer_count, ARRAY_LENGTH(answers));
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        lib_same_number(i, "type", answers[i].type, request.answers[i].type);
        lib_same_number(i, "status", answers[i].status, request.answers[i].status);
        lib_same_number(i, "count", answers[i].count, request.answers[i].count);
        lib_same_bytes(i, "name", answers[i].name, request.answers[i].name);
        lib_same_bytes(i, "records", answers[i].records, request.answers[i].records);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        buf_reset(&out);
        spf_wire_put_answer(&out, &answers[i]);
        lib_same_number(i, "size", (int64_t)buf_length(&out), (int64_t)spf_wire_size(&answers[i]));
    }
    lib_end_rows();
}

static void test_records(void **state)
{
    struct bytes records = answers[0].records;

    (void)state;
    assert_true(bytes_equal(spf_wire_next_record(&records), bytes_make("a\0b", 3)));
    assert_int_equal(spf_wire_next_record(&records).len, 0);
    assert_int_equal(records.len, 0);
}

/* A request may end behind each of its answers, and nowhere else. */
static void test_cut_request(void **state)
{
    size_t whole = 0;

    (void)state;
    put_request();
    for (size_t len = 0; len < buf_length(&out); len++) {
        struct lib_guard guard = lib_guard_copy(bytes_first(buf_bytes(&out), len));

        whole += spf_wire_read_request(guard.bytes, &request);
        lib_guard_free(&guard);
    }
    assert_int_equal(whole, ARRAY_LENGTH(answers));
}

static void test_wrong_answers(void **state)
{
    static const struct spf_answer wrong[] = {
        {.type = SPF_TYPE_A, .status = SPF_FOUND}, /* found, but no record */
        {.type = SPF_TYPE_A,
         .status = SPF_FOUND,
         .count = 1,
         .records = {(const uint8_t *)"\0\3abc", 5}}, /* no address */
        {.type = SPF_TYPE_AAAA,
         .status = SPF_FOUND,
         .count = 1,
         .records = {(const uint8_t *)"\0\4abcd", 6}},
        {.type = SPF_TYPE_MX,
         .status = SPF_ABSENT,
         .count = 1,
         .records = {(const uint8_t *)"\0\0", 2}}, /* absent, and a record */
        {.type = SPF_TYPE_TXT, .status = SPF_FOUND, .count = 1},
        {.type = (enum spf_type)2, .status = SPF_ABSENT},
        {.type = SPF_TYPE_A, .status = (enum spf_status)3},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        buf_reset(&out);
        put_request();
        spf_wire_put_answer(&out, &wrong[i]);
        lib_is_true(i, "refused", !spf_wire_read_request(buf_bytes(&out), &request));
    }
    lib_end_rows();
}

static void test_too_many_answers(void **state)
{
    (void)state;
    put_request();
    for (size_t i = ARRAY_LENGTH(answers); i < SPF_ANSWERS_MAX; i++)
        spf_wire_put_answer(&out, &answers[2]);
    assert_true(spf_wire_read_request(buf_bytes(&out), &request));
    spf_wire_put_answer(&out, &answers[2]);
    assert_false(spf_wire_read_request(buf_bytes(&out), &request));
}

static void test_replies(void **state)
{
    const struct spf_reply replies[] = {
        {.number = 9, .is_need = true, .type = SPF_TYPE_AAAA, .name = bytes_of("a.test")},
        {.number = UINT32_MAX,
         .result = SPF_FAIL,
         .explanation = bytes_of("no"),
         .mechanism = bytes_of("-all"),
         .problem = bytes_of("")},
        {.result = SPF_PERMERROR, .problem = bytes_of("why")},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(replies); i++) {
        const struct spf_reply *sent = &replies[i];
        struct spf_reply got = {0};

        buf_reset(&out);
        spf_wire_put_reply(&out, sent);
        for (size_t len = 0; len < buf_length(&out); len++)
            lib_is_true(i, "cut", !spf_wire_read_reply(bytes_first(buf_bytes(&out), len), &got));
        lib_is_true(i, "read", spf_wire_read_reply(buf_bytes(&out), &got));
        lib_same_number(i, "number", sent->number, got.number);
        lib_same_number(i, "need", sent->is_need, got.is_need);
        lib_same_number(i, "type", sent->type, got.type);
        lib_same_number(i, "result", sent->result, got.result);
        lib_same_bytes(i, "name", sent->name, got.name);
        lib_same_bytes(i, "explanation", sent->explanation, got.explanation);
        lib_same_bytes(i, "mechanism", sent->mechanism, got.mechanism);
        lib_same_bytes(i, "problem", sent->problem, got.problem);
        buf_byte(&out, 0);
        lib_is_true(i, "stretched", !spf_wire_read_reply(buf_bytes(&out), &got));
    }
    lib_end_rows();
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {CASE(test_request),          CASE(test_records),
                                       CASE(test_cut_request),      CASE(test_wrong_answers),
                                       CASE(test_too_many_answers), CASE(test_replies)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
