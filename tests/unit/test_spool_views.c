/* SPDX-License-Identifier: BSD-2-Clause */
/* Views in a spool file: written and read again, those of older files, and those that make no
 * sense.
 */
#include <stdlib.h>

#include "proxy/base/error.h"
#include "spool/spool_format.h"
#include "spool/spool_format_private.h"
#include "tests/unit/lib.h"

#define RECIPIENTS 4
#define VIEWS_MAX  2

struct fixture {
    struct pool pool;
    struct arena arena;
    struct buf out;
    struct spool_head head;
    struct spool_writer writer;
    struct spool_view views[VIEWS_MAX];
    struct spool_message message;
};

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.head = {.id = {"0123456789BCDFGH"}, .body_bytes = 1000}};
    pool_init(&f->pool, 512, 4);
    arena_init(&f->arena, &f->pool, 4U << 20);
    buf_init(&f->out, &f->pool, 4U << 20);
    f->writer =
        (struct spool_writer){.id = f->head.id, .at = spool_records_at(&f->head), .out = &f->out};
    f->message = (struct spool_message){
        .head = f->head, .view = view_whole(), .views = f->views, .recipient_count = RECIPIENTS};
}

static void tear_down(struct fixture *f)
{
    arena_reset(&f->arena);
    buf_done(&f->out);
    pool_done(&f->pool);
}

static struct view make_view(const char *lines, size_t above, uint64_t at, uint64_t end)
{
    return (struct view){.lines = bytes_of(lines), .above = above, .at = at, .end = end};
}

/* `numbers`: a digit for each recipient. */
static void put_all(struct fixture *f, const char *numbers)
{
    spool_put_message(&f->writer, &f->message);
    for (size_t i = 0; i < RECIPIENTS; i++)
        spool_put_recipient(&f->writer,
                            &(struct spool_recipient){.target = bytes_of("t"),
                                                      .view = (uint32_t)(numbers[i] - '0')});
}

static void put_view(struct lib_text *text, const struct view *view)
{
    lib_put(text, "%zu %llu-", view->above, (unsigned long long)view->at);
    if (view->end == VIEW_TO_END)
        lib_put(text, "end");
    else
        lib_put(text, "%llu", (unsigned long long)view->end);
    lib_put(text, "(%.*s)", (int)view->lines.len, (const char *)view->lines.at);
}

/* What a reader sees: the message's view, the others, and the number of each recipient's. */
static void read_again(struct fixture *f, struct lib_text *text)
{
    struct spool_message m;

    text->len = 0;
    text->at[0] = '\0';
    int error = spool_message_parse(&f->head, buf_bytes(&f->out), &f->arena, &m);
    if (error != 0) {
        lib_put(text, "%s", error == ERR_SYNTAX ? "damaged" : "failed");
        return;
    }
    put_view(text, &m.view);
    for (uint32_t i = 0; i < m.view_count; i++) {
        lib_put(text, m.views[i].is_in_front ? " +" : " ");
        put_view(text, &m.views[i].view);
    }
    lib_put(text, " ");
    for (uint32_t i = 0; i < m.recipient_count; i++)
        lib_put(text, "%u", (unsigned)m.recipients[i].view);
    lib_put(text, m.has_torn_end ? " torn" : "");
}

/* ---- written and read ---- */

struct row {
    struct view view;
    struct spool_view views[VIEWS_MAX];
    uint32_t view_count;
    bool is_version_2; /* so that an older postern leaves the file alone */
    const char *numbers, *expected;
};

#define TEXT(t)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(t), sizeof(t) - 1                                                        \
    }
#define WHOLE                                                                                      \
    {                                                                                              \
        .end = VIEW_TO_END                                                                         \
    }

/* clang-format off */
static const struct row rows[] = {
    {WHOLE, {{.is_in_front = false}}, 0, false, "0000", "0 0-end() 0000"},
    {{TEXT("a: 1"), 4, 0, VIEW_TO_END}, {{.is_in_front = false}}, 0, false, "0000",
     "4 0-end(a: 1) 0000"},
    {{TEXT("a: 1"), 0, 0, VIEW_TO_END}, {{.is_in_front = false}}, 0, true, "0000",
     "0 0-end(a: 1) 0000"},
    {{TEXT("a: 1"), 0, 40, 1000}, {{.is_in_front = false}}, 0, true, "0000",
     "0 40-1000(a: 1) 0000"},
    {WHOLE, {{{TEXT("b: 2"), 4, 0, 0}, true}, {{TEXT("c: 3"), 1, 900, VIEW_TO_END}, false}}, 2,
     true, "0121", "0 0-end() +4 0-0(b: 2) 1 900-end(c: 3) 0121"},
    {{TEXT("a: 1"), 0, 40, 50}, {{{TEXT(""), 0, 50, 1000}, false}}, 1, true, "1100",
     "0 40-50(a: 1) 0 50-1000() 1100"},
    /* what makes no sense */
    {{TEXT("a: 1"), 5, 40, 50}, {{.is_in_front = false}}, 0, true, "0000", "damaged"},
    {{TEXT(""), 0, 40, 1001}, {{.is_in_front = false}}, 0, true, "0000", "damaged"},
    {{TEXT(""), 0, 50, 40}, {{.is_in_front = false}}, 0, true, "0000", "damaged"},
    {{TEXT(""), 0, 1001, VIEW_TO_END}, {{.is_in_front = false}}, 0, true, "0000", "damaged"},
    {WHOLE, {{{TEXT("b: 2"), 4, 0, 0}, true}}, 1, true, "0020", "damaged"},
};
/* clang-format on */

static void check_version(size_t row, struct fixture *f, bool is_version_2)
{
    struct spool_head again = {.is_version_2 = !is_version_2};
    uint8_t block[SPOOL_HEAD_BYTES];

    f->head.is_version_2 = spool_is_version_2(buf_bytes(&f->out));
    lib_is_true(row, "has views", f->head.is_version_2 == is_version_2);
    spool_head_put(&f->head, block);
    lib_same_number(row, "version", is_version_2 ? 2 : 1, block[HEAD_VERSION]);
    assert_int_equal(spool_head_parse(bytes_make(block, sizeof(block)), &again), 0);
    lib_is_true(row, "still", again.is_version_2 == is_version_2);
}

static void reads_what_was_written(void **state)
{
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct fixture f;
        set_up(&f);
        f.message.view = rows[i].view;
        f.message.view_count = rows[i].view_count;
        memcpy(f.views, rows[i].views, sizeof(f.views));
        put_all(&f, rows[i].numbers);
        read_again(&f, &seen);
        lib_same_text(i, "views", rows[i].expected, seen.at);
        check_version(i, &f, rows[i].is_version_2);
        tear_down(&f);
    }
    lib_end_rows();
}

/* Each view stands in the file once, in its order. */
static void refuses_numbers_out_of_order(void **state)
{
    static const uint32_t numbers[] = {0, 2, 7, UINT32_MAX};
    static struct lib_text seen;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        struct fixture f;
        set_up(&f);
        f.views[0] = (struct spool_view){.view = make_view("b: 2", 4, 0, 0), .is_in_front = true};
        f.message.view.above = 0;
        f.message.view.lines = bytes_of("a: 1");
        f.message.view_count = 1;
        put_all(&f, "0000");
        struct bytes all = buf_bytes(&f.out);
        size_t at = 0;
        for (int record = 0; record < 2; record++) /* the third one is VIEW 1 */
            at += RECORD_HEAD_BYTES +
                  ((size_t)(spool_load_number(all.at + at + RECORD_LENGTH, 4) + 7) & ~(size_t)7);
        uint8_t *view = f.out.block + f.out.start + at;
        size_t whole = RECORD_HEAD_BYTES +
                       ((size_t)(spool_load_number(view + RECORD_LENGTH, 4) + 7) & ~(size_t)7);
        spool_store_number(view + RECORD_HEAD_BYTES, numbers[i], 4);
        spool_store_number(
            view, spool_record_sum(&f.head.id, f.writer.at + at, bytes_make(view, whole)), 8);
        read_again(&f, &seen);
        lib_same_text(i, "views", "damaged", seen.at);
        tear_down(&f);
    }
    lib_end_rows();
}

/* ---- how much ---- */

static void shares_what_is_the_same(void **state)
{
    static char lines[16384];
    struct fixture f;

    (void)state;
    set_up(&f);
    memset(lines, 'x', sizeof(lines) - 1);
    f.views[0] = (struct spool_view){.view = make_view(lines, 0, 0, 0), .is_in_front = true};
    f.message.view_count = 1;
    put_all(&f, "1111");
    assert_true(buf_length(&f.out) < sizeof(lines) + 1000);
    tear_down(&f);
}

/* ---- older files ---- */

/* As postern wrote a RECIPIENT before it had views. */
static void put_old_recipient(struct fixture *f, const char *lines)
{
    struct spool_recipient none = {.target = bytes_of("t")};
    size_t start = buf_length(&f->out);

    spool_put_recipient(&f->writer, &none);
    size_t content =
        (size_t)spool_load_number(f->out.block + f->out.start + start + RECORD_LENGTH, 4);
    size_t kept = RECORD_HEAD_BYTES + content - 16; /* without its last text and the numbers */
    uint8_t *record = malloc(kept);
    memcpy(record, f->out.block + f->out.start + start, kept);
    struct buf fresh;
    buf_init(&fresh, &f->pool, 1U << 20);
    buf_put(&fresh, bytes_first(buf_bytes(&f->out), start));
    buf_put(&fresh, bytes_make(record, kept));
    free(record);
    spool_add_text(&fresh, bytes_of(lines));
    content = buf_length(&fresh) - start - RECORD_HEAD_BYTES;
    buf_put(&fresh, bytes_make("\0\0\0\0\0\0\0", (8 - content % 8) % 8));
    uint8_t *at = fresh.block + fresh.start + start;
    spool_store_number(at + RECORD_LENGTH, content, 4);
    spool_store_number(at,
                       spool_record_sum(&f->head.id, f->writer.at + start,
                                        bytes_make(at, buf_length(&fresh) - start)),
                       8);
    buf_done(&f->out);
    f->out = fresh;
}

static void reads_older_files(void **state)
{
    static struct lib_text seen;
    struct fixture f;

    (void)state;
    set_up(&f);
    f.message.view.lines = bytes_of("a: 1");
    f.message.view.above = 4;
    spool_put_message(&f.writer, &f.message);
    put_old_recipient(&f, "b: 2");
    put_old_recipient(&f, "");
    put_old_recipient(&f, "c: 3");
    put_old_recipient(&f, "b: 2");
    assert_false(spool_is_version_2(buf_bytes(&f.out)));
    read_again(&f, &seen);
    assert_string_equal(seen.at, "4 0-end(a: 1) +4 0-0(b: 2) +4 0-0(c: 3) 1021");
    tear_down(&f);
}

/* ---- what recipients get ---- */

static void check_shown(size_t row, const char *expected, const struct spool_shown *shown)
{
    static struct lib_text seen;

    seen.len = 0;
    lib_put(&seen, "%.*s|", (int)shown->in_front.len, (const char *)shown->in_front.at);
    put_view(&seen, &shown->view);
    lib_put(&seen, " %llu", (unsigned long long)spool_shown_bytes(shown));
    lib_same_text(row, "shown", expected, seen.at);
}

static void tells_what_is_shown(void **state)
{
    struct spool_recipient recipients[2] = {{.view = 1}, {.view = 1}};
    struct fixture f;

    (void)state;
    set_up(&f);
    f.message.recipients = recipients;
    f.message.recipient_count = 2;
    f.message.view = make_view("a: 1", 4, 0, VIEW_TO_END);
    f.views[0] = (struct spool_view){.view = make_view("b: 2", 4, 0, 0), .is_in_front = true};
    f.views[1] = (struct spool_view){.view = make_view("c: 3", 0, 10, 30)};
    f.message.view_count = 2;
    struct spool_shown shown = spool_shown_to_all(&f.message);
    check_shown(0, "b: 2|4 0-1000(a: 1) 1008", &shown);
    recipients[1].view = 0;
    shown = spool_shown_to_all(&f.message);
    check_shown(1, "|4 0-1000(a: 1) 1004", &shown);
    recipients[0].view = recipients[1].view = 2;
    shown = spool_shown_to_all(&f.message);
    check_shown(2, "|0 10-30(c: 3) 24", &shown);
    lib_end_rows();
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),  cmocka_unit_test(refuses_numbers_out_of_order),
        cmocka_unit_test(shares_what_is_the_same), cmocka_unit_test(reads_older_files),
        cmocka_unit_test(tells_what_is_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
