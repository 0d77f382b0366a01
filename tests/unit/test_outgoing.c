/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch gives to its target, by what filters put in front, by its view, and by where the
 * copy has it. */
/* needs: tests/unit/copy_world.c proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
/* needs: route/outgoing.c */
#include "route/outgoing.h"

#include "proxy/base/error.h"
#include "proxy/smtp/event.h"
#include "tests/unit/copy_world.h"

struct target {
    char unused;
};

static struct target targets[2];

struct scene {
    struct pool pool;
    struct arena arena;
    struct identity client;
    struct transaction t;
};

static void add_recipient(struct scene *s, struct target *target)
{
    const struct address to = {.local = bytes_of("r"), .domain = bytes_of("to.test")};
    struct routed_leg leg = {.target = target, .to = to, .may_spool = true};
    struct routed routed = {.legs = &leg, .leg_count = 1};
    struct recipient *r = transaction_add(&s->t, &to);

    assert_non_null(r);
    transaction_feed(&s->t, &(struct event){.kind = EV_ROUTED, .rcpt = r, .routed = &routed});
}

static void begin(struct scene *s)
{
    static const struct envelope envelope;

    pool_init(&s->pool, 4096, 4);
    arena_init(&s->arena, &s->pool, SIZE_MAX);
    s->client = (struct identity){.is_esmtp = true};
    transaction_init(&s->t, &s->arena, &envelope, &s->client);
    s->t.splits = true;
    add_recipient(s, &targets[0]);
    add_recipient(s, &targets[1]);
}

static void end(struct scene *s)
{
    arena_reset(&s->arena);
    pool_done(&s->pool);
}

static const struct branch *branch_at(const struct scene *s, const struct target *target)
{
    LIST_EACH (link, &s->t.branches)
        if (LIST_ENTRY(link, struct branch, in_transaction)->target == target)
            return LIST_ENTRY(link, struct branch, in_transaction);
    fail();
    return NULL;
}

static void on_more(struct reader *reader)
{
    (void)reader; /* give() lets the world settle and looks again */
}

static char given[MILLION];

/* All of it, in pieces of up to `most` octets. */
static void give(struct copy_world *f, struct outgoing *out, size_t most)
{
    struct bytes piece;
    size_t len = 0;

    while (!outgoing_begin(out))
        copy_world_settle(f);
    while (outgoing_left(out) != 0) {
        while (outgoing_pieces(out, &piece, 1) == 0)
            copy_world_settle(f);
        piece = bytes_first(piece, most);
        assert_true(len + piece.len < sizeof(given));
        memcpy(given + len, piece.at, piece.len);
        len += piece.len;
        outgoing_advance(out, piece.len);
    }
    given[len] = '\0';
}

/* ---- which octets ---- */

#define CONTENT "a: 1\r\n\r\nold\r\n"
#define OTHER   "\r\nnew\r\n" /* a body in place of that */
#define OWN     "R: r\r\n"

struct shown {
    const char *lines; /* NULL: nothing was shown */
    size_t above;
    uint64_t at, end;
};

struct row {
    const char *content, *in_front, *in_front_of_first;
    struct shown to_all, to_first;
    const char *first, *second; /* what targets get */
};

/* clang-format off */
static const struct row rows[] = {
    {CONTENT, "", "", {0}, {0}, OWN CONTENT, OWN CONTENT},
    {"", "P: p\r\n", "", {0}, {0}, "P: p\r\n" OWN, "P: p\r\n" OWN},
    {" no header\r\n", "", "", {0}, {0}, OWN "\r\n no header\r\n", OWN "\r\n no header\r\n"},
    {CONTENT, "P: p\r\n", "Q: q\r\n", {0}, {0}, "Q: q\r\nP: p\r\n" OWN CONTENT,
     "P: p\r\n" OWN CONTENT},
    {CONTENT, "P: p\r\n", "Q: q\r\n", {"b: 2\r\n", 0, 6, VIEW_TO_END}, {0},
     "Q: q\r\n" OWN "b: 2\r\n\r\nold\r\n", OWN "b: 2\r\n\r\nold\r\n"},
    {CONTENT, "P: p\r\n", "Q: q\r\n", {0}, {"b: 2\r\n", 0, 6, VIEW_TO_END},
     OWN "b: 2\r\n\r\nold\r\n", "P: p\r\n" OWN CONTENT},
    {CONTENT, "", "", {"n: 1\r\nb: 2\r\n", 6, 6, VIEW_TO_END}, {0},
     "n: 1\r\n" OWN "b: 2\r\n\r\nold\r\n", "n: 1\r\n" OWN "b: 2\r\n\r\nold\r\n"},
    {CONTENT, "", "", {"a: 1\r\n", 0, 13, 20}, {0}, OWN "a: 1\r\n" OTHER, OWN "a: 1\r\n" OTHER},
    {CONTENT, "", "", {0}, {"a: 1\r\n", 0, 13, 20}, OWN "a: 1\r\n" OTHER, OWN CONTENT},
    {CONTENT, "", "", {"a: 1\r\n", 0, 13, 20}, {"", 0, 0, VIEW_TO_END}, OWN CONTENT,
     OWN "a: 1\r\n" OTHER},
    {CONTENT, "", "", {"a: 1\r\n", 6, 8, 8}, {0}, "a: 1\r\n" OWN, "a: 1\r\n" OWN},
};
/* clang-format on */

static void show(struct scene *s, const struct target *target, const struct shown *shown)
{
    if (shown->lines == NULL)
        return;
    const struct view view = {
        .lines = bytes_of(shown->lines), .above = shown->above, .at = shown->at, .end = shown->end};
    assert_int_equal(transaction_show(&s->t, target, &view), 0);
}

static void look(size_t row, struct copy_world *f, const struct scene *s, unsigned target,
                 const char *expected)
{
    struct outgoing out;

    outgoing_open(&out, branch_at(s, &targets[target]), f->owners[0].copy, on_more);
    for (size_t most = 1; most < 4; most++) {
        outgoing_rewind(&out, bytes_of(OWN));
        give(f, &out, most == 3 ? SIZE_MAX : most);
        lib_same_text(row, target == 0 ? "first" : "second", expected, given);
    }
    outgoing_close(&out);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        const struct row *row = &rows[i];
        struct copy_world f;
        struct scene s;
        copy_world_begin(&f, 1);
        begin(&s);
        assert_true(copy_world_new(&f, 0));
        struct copy *copy = f.owners[0].copy;
        assert_int_equal(transaction_prepend(&s.t, NULL, bytes_of(row->in_front)), 0);
        assert_int_equal(transaction_prepend(&s.t, &targets[0], bytes_of(row->in_front_of_first)),
                         0);
        assert_int_equal(copy_append(copy, bytes_of(row->content)), 0);
        copy_end_message(copy);
        assert_int_equal(copy_append(copy, bytes_of(OTHER)), 0);
        copy_finish(copy);
        assert_int_equal(copy_message_length(copy), strlen(row->content));
        show(&s, NULL, &row->to_all);
        show(&s, &targets[0], &row->to_first);
        look(i, &f, &s, 0, row->first);
        look(i, &f, &s, 1, row->second);
        copy_world_end(&f);
        end(&s);
    }
    lib_end_rows();
}

/* ---- where they lie ---- */

/* The range begins in the copy's file, and its first octets are to be read back. */
static void test_file(void **state)
{
    static const char fields[] = "b: 2\r\n";
    const size_t start = 70000, count = 3 * CHUNK;
    struct copy_world f;
    struct scene s;
    struct outgoing out;

    (void)state;
    copy_world_begin(&f, 2);
    begin(&s);
    assert_true(copy_world_new(&f, 0));
    assert_true(copy_world_append_all(&f.owners[0], 8 * CHUNK));
    copy_finish(f.owners[0].copy);
    show(&s, NULL, &(struct shown){fields, 0, start, start + count});
    outgoing_open(&out, branch_at(&s, &targets[0]), f.owners[0].copy, on_more);
    for (int again = 0; again < 2; again++) {
        outgoing_rewind(&out, bytes_of(""));
        assert_false(outgoing_begin(&out));
        give(&f, &out, 50000);
        assert_memory_equal(given, fields, strlen(fields));
        for (size_t i = 0; i < count; i++)
            assert_int_equal((uint8_t)given[strlen(fields) + i], octet(start + i));
        assert_int_equal(given[strlen(fields) + count], 0);
    }
    outgoing_close(&out);
    copy_world_end(&f);
    end(&s);
}

/* ---- how much ---- */

static void test_limits(void **state)
{
    static uint8_t much[VIEW_LINES_MAX + 1];
    struct view view = view_whole();
    struct scene s;

    (void)state;
    begin(&s);
    assert_int_equal(transaction_prepend(&s.t, NULL, bytes_make(much, TRANSACTION_LINES_MAX + 1)),
                     ERR_TOO_LONG);
    view.lines = bytes_make(much, VIEW_LINES_MAX + 1);
    assert_int_equal(transaction_show(&s.t, NULL, &view), ERR_TOO_LONG);
    view.lines.len = VIEW_LINES_MAX - 10;
    assert_int_equal(transaction_prepend(&s.t, &targets[0], bytes_make(much, 10)), 0);
    assert_int_equal(transaction_show(&s.t, NULL, &view), 0);
    assert_int_equal(transaction_show(&s.t, NULL, &view), 0);
    view.lines.len = 11;
    assert_int_equal(transaction_show(&s.t, &targets[1], &view), ERR_TOO_LONG);
    view.lines.len = 10; /* in place of what was in front there */
    assert_int_equal(transaction_show(&s.t, &targets[0], &view), 0);
    assert_int_equal(s.t.counts.lines_bytes, VIEW_LINES_MAX);
    view.lines.len = 1;
    assert_int_equal(transaction_show(&s.t, &targets[1], &view), ERR_TOO_LONG);
    assert_int_equal(branch_at(&s, &targets[1])->destination->has_view, false);
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
