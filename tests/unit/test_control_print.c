/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines for people and for programs: columns, escapes, ages, times. */
/* needs: proxy/control/control_print.c */
#include "proxy/control/control_print.h"

#include "tests/unit/lib.h"

#define OUT_MAX 4096

struct writing {
    struct pool pool;
    struct buf out;
};

static void begin(struct writing *w)
{
    pool_init(&w->pool, 256, 1);
    buf_init(&w->out, &w->pool, OUT_MAX);
}

static void end(struct writing *w, size_t row, const char *expected)
{
    static char text[OUT_MAX + 1];
    struct bytes out = buf_bytes(&w->out);

    if (out.len != 0)
        memcpy(text, out.at, out.len);
    text[out.len] = '\0';
    lib_same_text(row, "output", expected, text);
    buf_done(&w->out);
    pool_done(&w->pool);
}

static void put_all(struct writing *w, bool is_json, enum control_style text)
{
    static const char odd[] = "a \"b\"\\\n\x1b[m\xc3\xa4";
    struct control_row row;

    control_row_begin(&row, &w->out, is_json, text);
    control_put_text(&row, "text", 6, "ab");
    control_put_number(&row, "number", -4, 7);
    control_put_number(&row, "hidden", CONTROL_JSON_ONLY, 8);
    control_put_text(&row, "long", 2, "abc");
    control_put_text(&row, "none", 2, "");
    control_put_bool(&row, "so", 2, true);
    control_put_bool(&row, "not", 3, false);
    control_put(&row, "odd", CONTROL_REST, bytes_make(odd, sizeof(odd) - 1));
    control_row_end(&row);
}

static void test_styles(void **state)
{
    struct writing w;

    (void)state;
    begin(&w);
    put_all(&w, false, CONTROL_ROW);
    end(&w, 0, " ab         7  abc  -   so  -    a \"b\"\\\\x0a\\x1b[m\\xc3\\xa4\n");
    begin(&w);
    put_all(&w, false, CONTROL_LIST);
    end(&w, 1,
        " text:       ab\n number:     7\n long:       abc\n none:       -\n so:         yes\n"
        " odd:        a \"b\"\\\\x0a\\x1b[m\\xc3\\xa4\n");
    begin(&w);
    put_all(&w, true, CONTROL_ROW);
    end(&w, 2,
        " {\"text\":\"ab\",\"number\":7,\"hidden\":8,\"long\":\"abc\",\"none\":\"\",\"so\":true,"
        "\"not\":false,\"odd\":\"a \\u0022b\\u0022\\u005c\\u000a\\u001b[m\\u00c3\\u00a4\"}\n");
    lib_end_rows();
}

static void put_nested(struct writing *w, bool is_json)
{
    struct control_row row;

    control_row_begin(&row, &w->out, is_json, CONTROL_LIST);
    control_put_text(&row, "id", CONTROL_REST, "x");
    control_open_array(&row, "parts");
    for (unsigned i = 1; i <= 2; i++) {
        control_open_object(&row, CONTROL_ROW);
        control_put_number(&row, "n", -2, i);
        control_put_text(&row, "t", CONTROL_REST, "y");
        control_close_object(&row);
    }
    control_close_array(&row);
    control_put_text(&row, "end", CONTROL_REST, "z");
    control_row_end(&row);
}

static void test_arrays(void **state)
{
    struct writing w;

    (void)state;
    begin(&w);
    put_nested(&w, false);
    end(&w, 0, " id:         x\n  1  y\n  2  y\n end:        z\n");
    begin(&w);
    put_nested(&w, true);
    end(&w, 1,
        " {\"id\":\"x\",\"parts\":[{\"n\":1,\"t\":\"y\"},{\"n\":2,\"t\":\"y\"}],\"end\":\"z\"}\n");
    lib_end_rows();
}

static const struct {
    int64_t seconds;
    const char *text, *json;
} ages[] = {
    {0, " 0s\n", " {\"a\":0}\n"},
    {119, " 119s\n", " {\"a\":119}\n"},
    {120, " 2m\n", " {\"a\":120}\n"},
    {7199, " 119m\n", " {\"a\":7199}\n"},
    {7200, " 2h\n", " {\"a\":7200}\n"},
    {172799, " 47h\n", " {\"a\":172799}\n"},
    {172800, " 2d\n", " {\"a\":172800}\n"},
    {-5, " 0s\n", " {\"a\":0}\n"},
    {CONTROL_NO_AGE, " -\n", " {\"a\":null}\n"},
};

static void test_ages(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(ages); i++) {
        for (int is_json = 0; is_json < 2; is_json++) {
            struct control_row row;
            struct writing w;

            begin(&w);
            control_row_begin(&row, &w.out, is_json, CONTROL_ROW);
            control_put_age(&row, "a", CONTROL_REST, ages[i].seconds);
            control_row_end(&row);
            end(&w, i, is_json ? ages[i].json : ages[i].text);
        }
    }
    lib_end_rows();
}

static void test_times(void **state)
{
    struct control_row row;
    struct writing w;

    (void)state;
    begin(&w);
    control_row_begin(&row, &w.out, true, CONTROL_ROW);
    control_put_time(&row, "t", CONTROL_REST, 1795331400);
    control_put_time(&row, "never", CONTROL_REST, 0);
    control_put_time(&row, "absurd", CONTROL_REST, INT64_MAX);
    control_row_end(&row);
    end(&w, 0, " {\"t\":\"2026-11-22T07:10:00Z\",\"never\":null,\"absurd\":null}\n");
    lib_end_rows();
}

static bool put_failing(void *given)
{
    struct writing w;

    (void)given;
    begin(&w);
    put_all(&w, true, CONTROL_ROW);
    bool is_whole = !w.out.has_failed;
    buf_done(&w.out);
    pool_done(&w.pool);
    return is_whole;
}

static void test_failing_allocations(void **state)
{
    (void)state;
    assert_true(lib_fail_each_allocation(put_failing, NULL) >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_arrays),
        cmocka_unit_test(test_ages),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_failing_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
