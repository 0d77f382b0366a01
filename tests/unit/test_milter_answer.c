/* SPDX-License-Identifier: BSD-2-Clause */
/* Answers of milters: every octet that is one too many, missing or wrong. */
/* needs: tests/unit/milter_play.c */
#include "filters/milter/milter_answer.h"

#include "proxy/base/error.h"
#include "tests/unit/lib.h"
#include "tests/unit/milter_play.h"

static struct pool small, medium;
static struct milter_texts texts;

static int set_up(void **state)
{
    (void)state;
    pool_init(&small, 1024, 4);
    pool_init(&medium, 4096, 4);
    milter_texts_init(&texts, &small, &medium);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    milter_texts_done(&texts);
    pool_done(&small);
    pool_done(&medium);
    return 0;
}

/* What is wrong with an answer, or what it is. */
static const struct {
    const char *says, *seen;
} rows[] = {
    /* Octets behind an answer that takes none. */
    {"cx", "octets behind an answer that takes none"},
    {"r|", "octets behind an answer that takes none"},
    /* Unknown answers. */
    {"x", "unknown answer"},
    {"lx", "unknown answer"},
    /* Replies that are none. */
    {"y550 5.7.1 no", "reply without its NUL, or with several"},
    {"y550 5.7.1 n|o|", "reply without its NUL, or with several"},
    {"y|", "malformed reply"},
    {"y55|", "malformed reply"},
    {"y550|", "malformed reply"},
    {"y250 2.0.0 ok|", "malformed reply"},
    {"y650 no|", "malformed reply"},
    {"y5x0 no|", "malformed reply"},
    {"y550 4.7.1 no|", "malformed reply"},
    {"y550-5.7.1 a~^550-5.7.1 b|", "malformed reply"},
    {"y550 5.7.1 a~^550 5.7.1 b|", "malformed reply"},
    {"y550-5.7.1 a~^551 5.7.1 b|", "malformed reply"},
    {"y550-a^550 b|", "malformed reply"},
    {"y550-a~550 b|", "malformed reply"},
    {"y550 a~^|", "malformed reply"},
    {"y550 a~|", "malformed reply"},
    {"y550-a~^^550 b|", "malformed reply"},
    /* Replies. */
    {"y550 |", "550 ~^"},
    {"y421 4.7.0 bye|", "421 4.7.0 bye~^"},
    {"y550 no class|", "550 no class~^"},
    {"y550 5.7 odd|", "550 5.7 odd~^"},
    {"y550-5.7.1 \001tab\there\177\351~^550 5.7.1 100%|",
     "550-5.7.1 ?tab\\09here?\\e9~^550 5.7.1 100~^"},
    {"y451 4.7.1 100%% %d%%%|", "451 4.7.1 100% d%~^"},
    /* Changes that are none. */
    {"hX|v", "field that is not a name and a value"},
    {"hX|v|w|", "field that is not a name and a value"},
    {"h|v|", "field with a bad name"},
    {"hX Y|v|", "field with a bad name"},
    {"hX:|v|", "field with a bad name"},
    {"hX|a~b|", "field with a carriage return"},
    {"hX|a~|", "field with a carriage return"},
    {"i|||X|v|", "field with a bad name"},
    {"i", "field without its index"},
    {"i\177\377\377\377X|v|", "insert-field index=2147483647 name=X value= v"},
    {"i\200|||X|v|", "field with a bad index"},
    {"ex@y", "address without its NUL"},
    {"ex@y|A=B|C=D|", "address with something behind it"},
    {"ex y@z|", "bad address"},
    {"ex@y|A=^|", "bad parameters"},
    {"+|", "empty address"},
    {"+<a@b|", "bad address"},
    {"2a@b|NOTIFY=NEVER", "parameters without their NUL"},
    {"-a@b|x|", "address with something behind it"},
    {"qwhy", "reason without its NUL, or with several"},
    {"qw|y|", "reason without its NUL, or with several"},
};

static const char *look(const struct milter_packet *packet, struct lib_text *seen)
{
    struct milter_answer answer;
    const char *problem = milter_answer_read(&texts, packet, false, &answer);

    if (problem != NULL)
        return problem;
    seen->len = 0;
    milter_play_put_answer(seen, &answer);
    return seen->at;
}

static void test_rows(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct bytes octets = milter_play_octets(rows[i].says);
        struct lib_guard guard = lib_guard_copy(bytes_skip(octets, MILTER_LEN_BYTES + 1));
        struct milter_packet packet = {(uint8_t)rows[i].says[0], guard.bytes};

        lib_same_text(i, "answer", rows[i].seen, look(&packet, &seen));
        lib_guard_free(&guard);
    }
    lib_end_rows();
}

/* Lists of macros are as long as they may be, or longer. */
static void test_long_lists(void **state)
{
    static const struct milter_terms offer = {6, SMFI_CURR_ACTS, SMFI_CURR_PROT, {{NULL, 0}}};
    static uint8_t data[MILTER_OPTLEN + MILTER_LEN_BYTES + MILTER_LIST_MAX + 2];
    struct milter_packet packet = {SMFIC_OPTNEG, {data, sizeof(data) - 1}};
    struct milter_terms terms;
    uint32_t beyond;

    (void)state;
    data[3] = 6;
    memset(data + MILTER_OPTLEN + MILTER_LEN_BYTES, 'i', MILTER_LIST_MAX + 1);
    data[sizeof(data) - 2] = '\0';
    assert_null(milter_terms_read(&packet, &offer, &terms, &beyond));
    assert_int_equal(terms.lists[0].len, MILTER_LIST_MAX);
    data[sizeof(data) - 2] = 'i';
    packet.data.len++;
    assert_non_null(milter_terms_read(&packet, &offer, &terms, &beyond));
}

/* A reply that is as long as a packet, of lines that are as long as possible. */
static void test_long_reply(void **state)
{
    static uint8_t data[MILTER_MAX_DATA_SIZE];
    struct milter_packet packet = {SMFIR_REPLYCODE, {data, sizeof(data)}};
    struct milter_answer answer;

    (void)state;
    memset(data, '%', sizeof(data) - 1);
    memcpy(data, "550 ", 4);
    assert_string_equal(milter_answer_read(&texts, &packet, false, &answer),
                        "reply that is too long");
    packet.data = bytes_make(data + sizeof(data) - 1000, 1000);
    memcpy(data + sizeof(data) - 1000, "550 ", 4);
    assert_null(milter_answer_read(&texts, &packet, false, &answer));
    assert_int_equal(answer.reply.code, 550);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_rows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_lists, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_reply, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
