/* SPDX-License-Identifier: BSD-2-Clause */
/* What stands in a spool file: written and read again, cut at every octet, damaged at every octet,
 * and made by somebody who means harm. */
#include "spool/spool_format.h"

#include "proxy/base/error.h"
#include "spool/spool_format_private.h"
#include "tests/unit/lib.h"

#define STEPS_MAX 16

/* A file's records, and what a reader must know behind each of them. */
struct fixture {
    struct pool pool;
    struct arena arena;
    struct buf out;
    struct spool_head head;
    struct spool_recipient recipients[2];
    struct spool_message message;
    struct spool_writer writer;
    size_t first; /* octets of MESSAGE and both RECIPIENTs */
    size_t ends[STEPS_MAX];
    char expected[STEPS_MAX][2048]; /* the message as text, behind the record that ends there */
    int steps;
};

static void put_address(struct lib_text *t, const char *what, const struct address *a)
{
    lib_put(t, " %s=", what);
    lib_put_bytes(t, a->local);
    lib_put(t, "@");
    lib_put_bytes(t, a->domain);
    lib_put(t, "%s%s", a->is_literal ? "!" : "", a->keeps_case ? "^" : "");
}

static void put_field(struct lib_text *t, const char *what, struct bytes text)
{
    lib_put(t, " %s=", what);
    lib_put_bytes(t, text);
}

static void put_netaddr(struct lib_text *t, const struct netaddr *a)
{
    char text[NETADDR_TEXT_MAX];
    lib_put(t, " %s", netaddr_text_with_port(a, text));
}

static void put_recipient(struct lib_text *t, const struct spool_recipient *r)
{
    lib_put(t, "\nrecipient");
    put_address(t, "original", &r->original);
    put_address(t, "to", &r->to);
    put_field(t, "target", r->target);
    put_field(t, "params", r->params);
    lib_put(t, " %s fate=%d%s%s%s%s%s", r->is_unverified ? "unverified" : "", (int)r->fate,
            r->may_be_duplicate ? " duplicate" : "", r->is_relayed ? " relayed" : "",
            r->is_delivered ? " delivered" : "", r->is_reported ? " reported" : "",
            r->is_warned ? " warned" : "");
    put_field(t, "reply", r->reply);
    put_field(t, "remote", r->remote);
    lib_put(t, " tries=%u tried=%lld identity=%u", (unsigned)r->tries, (long long)r->tried_ms,
            r->identity);
}

static void put_message(struct lib_text *t, const struct spool_message *m)
{
    t->len = 0;
    t->at[0] = '\0';
    lib_put(t, "%s %s %s %llu %llx", m->head.id.text, m->envelope.id.text, m->envelope.session.text,
            (unsigned long long)m->head.body_bytes, (unsigned long long)m->head.body_sum);
    put_address(t, "from", &m->envelope.from);
    put_field(t, "params", m->envelope.params);
    lib_put(t, " %s %s size=%llu\nclient", m->envelope.is_8bit ? "8bit" : "",
            m->envelope.is_dsn ? "dsn" : "", (unsigned long long)m->envelope.size_bytes);
    put_netaddr(t, &m->client.client);
    put_netaddr(t, &m->client.local);
    lib_put(t, " %d %d", (int)m->client.name_state, m->client.is_esmtp);
    put_field(t, "name", m->client.name);
    put_field(t, "reverse", m->client.reverse_name);
    put_field(t, "helo", m->client.helo);
    put_field(t, "login", m->client.login);
    put_field(t, "reference", m->client.reference);
    lib_put(t, " hops=%u", m->client.hops_left);
    lib_put(t, m->has_origin ? "\norigin" : "\nno origin");
    put_netaddr(t, &m->origin.client);
    put_field(t, "name", m->origin.name);
    put_field(t, "helo", m->origin.helo);
    put_field(t, "reference", m->origin.reference);
    put_field(t, "protocol", m->origin.protocol);
    lib_put(t, " %d %d", (int)m->origin.name_state, m->origin.is_local);
    put_field(t, "\nlistener", m->listener);
    put_field(t, "hostname", m->hostname);
    lib_put(t, " arrived=%lld%s%s", (long long)m->arrived_ms, m->is_held ? " held" : "",
            m->is_report ? " report" : "");
    for (uint32_t i = 0; i < m->recipient_count; i++)
        put_recipient(t, &m->recipients[i]);
}

/* ---- the file ---- */

static struct address address(const char *local, const char *domain)
{
    return (struct address){.local = bytes_of(local), .domain = bytes_of(domain)};
}

static void make_message(struct fixture *f)
{
    struct spool_message *m = &f->message;

    f->head = (struct spool_head){
        .id = {"0123456789BCDFGH"}, .body_bytes = 1001, .body_sum = 0x123456789abcdef0};
    f->recipients[0] = (struct spool_recipient){.original = address("a b", "example.com"),
                                                .to = address("ab", "[192.0.2.1]"),
                                                .target = bytes_of("exchange"),
                                                .params = bytes_of("NOTIFY=NEVER"),
                                                .identity = 5,
                                                .is_unverified = true};
    f->recipients[0].to.is_literal = true;
    f->recipients[0].original.keeps_case = true;
    f->recipients[1] = (struct spool_recipient){.original = address("postmaster", ""),
                                                .to = address("root", "example.net"),
                                                .target = bytes_of("list"),
                                                .fate = FATE_REFUSED,
                                                .reply = bytes_of("550 5.1.1 no such user"),
                                                .remote = bytes_of("192.0.2.9:25"),
                                                .tries = 1,
                                                .tried_ms = 1700000000123};
    *m = (struct spool_message){.head = f->head,
                                .view = view_whole(),
                                .listener = bytes_of("in"),
                                .hostname = bytes_of("mx.example.com"),
                                .arrived_ms = 1700000000000,
                                .is_report = true,
                                .recipients = f->recipients,
                                .recipient_count = 2};
    m->envelope = (struct envelope){.from = address("sender", "example.org"),
                                    .params = bytes_of("BODY=8BITMIME RET=HDRS"),
                                    .is_8bit = true,
                                    .is_dsn = true,
                                    .size_bytes = 123456789012,
                                    .id = {"ZZZZZZZZZZZZZZZ0"}};
    m->client = (struct identity){.name_state = IDENTITY_NAME_CONFIRMED,
                                  .name = bytes_of("client.example.org"),
                                  .reverse_name = bytes_of("ptr.example.org"),
                                  .helo = bytes_of("[x]"),
                                  .login = bytes_of("joe"),
                                  .reference = bytes_of("ref"),
                                  .hops_left = 7,
                                  .is_esmtp = true};
    assert_int_equal(netaddr_parse_with_port(bytes_of("[2001:db8::1]:1234"), 25, &m->client.client),
                     0);
    assert_int_equal(netaddr_parse_with_port(bytes_of("192.0.2.7"), 25, &m->client.local), 0);
    m->has_origin = true;
    m->origin = (struct identity){.client = m->client.local,
                                  .name_state = IDENTITY_NAME_UNAVAILABLE,
                                  .helo = bytes_of("far"),
                                  .reference = bytes_of("4XYZ"),
                                  .protocol = bytes_of("ESMTPSA"),
                                  .is_local = true};
}

/* What was written so far is what a reader must see. */
static void mark(struct fixture *f)
{
    static struct lib_text text;

    put_message(&text, &f->message);
    assert_true(text.len < sizeof(f->expected[0]));
    memcpy(f->expected[f->steps], text.at, text.len + 1);
    f->ends[f->steps++] = buf_length(&f->out);
}

/* Gives the record that begins at `start` of `out` a sum, as if it had been written like that. */
static void sign(struct fixture *f, size_t start)
{
    uint8_t *at = f->out.block + f->out.start + start;
    size_t len = buf_length(&f->out) - start;

    spool_store_number(at, spool_record_sum(&f->head.id, f->writer.at + start, bytes_make(at, len)),
                       8);
}

/* The last record, which begins at `start`, is written when all before it is durable. */
static void write_later(struct fixture *f, size_t start)
{
    spool_store_number(f->out.block + f->out.start + start + RECORD_FOLLOWS, 0, 2);
    sign(f, start);
}

static void mark_later(struct fixture *f)
{
    write_later(f, f->ends[f->steps - 1]);
    mark(f);
}

static void put_later_records(struct fixture *f)
{
    struct spool_recipient *first = &f->recipients[0], *second = &f->recipients[1];

    first->fate = FATE_UNKNOWN;
    first->may_be_duplicate = true;
    first->is_unverified = true;
    first->reply = bytes_of("451 4.4.2 lost");
    first->remote = bytes_of("");
    first->tries = 7;
    first->tried_ms = 1700000099999;
    spool_put_outcome(&f->writer, 0, first);
    mark_later(f);
    first->is_warned = true;
    spool_put_warned(&f->writer, 0);
    mark_later(f);
    second->is_reported = true;
    spool_put_reported(&f->writer, 1);
    mark_later(f);
    first->to = address("elsewhere", "example.com");
    first->target = bytes_of("other");
    spool_put_rerouted(&f->writer, 0, first);
    mark_later(f);
    f->message.is_held = true;
    spool_put_hold(&f->writer, &f->message);
    mark_later(f);
    f->message.is_held = false;
    spool_put_hold(&f->writer, &f->message);
    mark_later(f);
    first->fate = FATE_ACCEPTED;
    first->is_relayed = true;
    spool_put_outcome(&f->writer, 0, first);
    mark_later(f);
    first->is_relayed = false;
    first->is_delivered = true;
    spool_put_outcome(&f->writer, 0, first);
    mark_later(f);
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){0};
    pool_init(&f->pool, 512, 4);
    arena_init(&f->arena, &f->pool, 1 << 20);
    buf_init(&f->out, &f->pool, 1 << 20);
    make_message(f);
    f->writer =
        (struct spool_writer){.id = f->head.id, .at = spool_records_at(&f->head), .out = &f->out};
    spool_put_message(&f->writer, &f->message);
    for (uint32_t i = 0; i < 2; i++)
        spool_put_recipient(&f->writer, &f->recipients[i]);
    mark(f);
    memcpy(f->message.envelope.session.text, "ZZZZZZZZZZZZZZZ1", ID_LENGTH);
    spool_put_session(&f->writer, &f->message.envelope.session);
    f->first = buf_length(&f->out);
    mark(f);
    put_later_records(f);
    assert_false(f->out.has_failed);
}

static void tear_down(struct fixture *f)
{
    arena_reset(&f->arena);
    buf_done(&f->out);
    pool_done(&f->pool);
}

static bool is_found_damaged(struct fixture *f, struct bytes records, size_t row)
{
    struct spool_message message = {0};
    int error = spool_message_parse(&f->head, records, &f->arena, &message);

    arena_reset(&f->arena);
    return lib_same_number(row, "error of a damaged one", ERR_SYNTAX, error);
}

/* Reads; `most`: octets that are whole and right. What stands there must be seen, and no more. */
static bool reads_up_to(struct fixture *f, struct bytes records, size_t most, size_t row)
{
    static struct lib_text text;
    struct spool_message message = {0};
    int step = -1, error = spool_message_parse(&f->head, records, &f->arena, &message);

    while (step + 1 < f->steps && f->ends[step + 1] <= most)
        step++;
    if (step < 0) {
        arena_reset(&f->arena);
        return lib_same_number(row, "error", ERR_SYNTAX, error);
    }
    bool is_same = lib_same_number(row, "error", 0, error);
    if (is_same) {
        put_message(&text, &message);
        is_same = lib_same_text(row, "message", f->expected[step], text.at) &&
                  lib_same_number(row, "records_end",
                                  (int64_t)(spool_records_at(&f->head) + f->ends[step]),
                                  (int64_t)message.records_end) &&
                  lib_same_number(row, "torn", records.len > f->ends[step], message.has_torn_end) &&
                  lib_same_number(row, "changed", step > 1, message.has_later_records);
    }
    arena_reset(&f->arena);
    return is_same;
}

/* ---- the tests ---- */

static void reads_what_was_written(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    assert_int_equal(buf_length(&f.out) % 8, 0);
    assert_int_equal(spool_records_at(&f.head) % 8, 0);
    assert_int_equal(spool_records_at(&f.head), 64 + 1008);
    assert_true(reads_up_to(&f, buf_bytes(&f.out), buf_length(&f.out), 0));
    tear_down(&f);
}

static void ends_where_it_is_torn(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    for (size_t len = 0; len <= buf_length(&f.out); len++) {
        struct lib_guard guard = lib_guard_copy(bytes_first(buf_bytes(&f.out), len));
        bool is_fine = reads_up_to(&f, guard.bytes, len, len);
        lib_guard_free(&guard);
        if (!is_fine)
            break;
    }
    lib_end_rows();
    tear_down(&f);
}

/* Where a record follows that is whole, the one before was whole too once. The last one may have
 * been torn. */
static void tells_damage_from_a_torn_end(void **state)
{
    struct fixture f;
    uint8_t *records;
    size_t len, last;

    (void)state;
    set_up(&f);
    len = buf_length(&f.out);
    last = f.ends[f.steps - 2];
    records = f.out.block + f.out.start;
    for (size_t bit = 0; bit < 8 * len; bit++) {
        struct bytes all = bytes_make(records, len);
        uint8_t mask = (uint8_t)(1U << bit % 8);

        records[bit / 8] ^= mask;
        bool is_fine =
            bit / 8 < last ? is_found_damaged(&f, all, bit) : reads_up_to(&f, all, last, bit);
        records[bit / 8] ^= mask;
        if (!is_fine)
            break;
    }
    lib_end_rows();
    tear_down(&f);
}

/* A crash may leave any part of what was written in one go: the end without the beginning too. */
static void tears_what_was_written_in_one_go(void **state)
{
    struct fixture f;
    size_t before, first;
    uint8_t *records;

    (void)state;
    set_up(&f);
    before = buf_length(&f.out);
    spool_put_warned(&f.writer, 1);
    first = buf_length(&f.out);
    spool_put_hold(&f.writer, &f.message);
    write_later(&f, first);
    records = f.out.block + f.out.start;
    records[before + RECORD_HEAD_BYTES] ^= 1;
    is_found_damaged(&f, buf_bytes(&f.out), 0);
    spool_store_number(records + first + RECORD_FOLLOWS, 1, 2);
    sign(&f, first);
    for (size_t i = before; i < first; i++) {
        records[i] = 0;
        reads_up_to(&f, buf_bytes(&f.out), before, 1 + i);
    }
    lib_end_rows();
    tear_down(&f);
}

/* What looks like records behind a torn one costs no more than so much for each octet. */
static void searches_for_a_while(void **state)
{
    static uint8_t records[4 << 20];
    struct spool_message message;
    struct fixture f;
    size_t at;

    (void)state;
    set_up(&f);
    at = f.first;
    memcpy(records, f.out.block + f.out.start, at);
    assert_int_equal(
        spool_message_parse(&f.head, bytes_make(records, sizeof(records)), &f.arena, &message), 0);
    assert_true(message.has_torn_end);
    for (size_t i = at; i + RECORD_HEAD_BYTES < sizeof(records); i += 8)
        if (i % 16 == 8)
            spool_store_number(records + i, sizeof(records) - i - 1000, 4);
    assert_int_equal(
        spool_message_parse(&f.head, bytes_make(records, sizeof(records)), &f.arena, &message),
        ERR_SYNTAX);
    tear_down(&f);
}

/* However many recipients there are, what must be said of all has room. */
static void leaves_room(void **state)
{
    uint32_t most = SPOOL_FIRST_RECORDS_MAX / 80; /* no recipient needs less */

    (void)state;
    assert_int_equal(spool_reply_max(1), 4096);
    assert_true(spool_reply_max(1000) > 2000);
    for (uint32_t count = 1; count <= most; count += 1 + count / 8) {
        uint64_t bytes = SPOOL_FIRST_RECORDS_MAX +
                         (uint64_t)count * (spool_reply_max(count) + SPOOL_REMOTE_MAX + 8);
        lib_is_true(count, "room", bytes <= SPOOL_RECORDS_MAX);
    }
    lib_end_rows();
}

/* Records of another file, or at another place of this one, say nothing. */
static void believes_records_in_their_place(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    assert_true(reads_up_to(&f, buf_bytes(&f.out), buf_length(&f.out), 0));
    f.head.id.text[15] = 'J';
    assert_true(reads_up_to(&f, buf_bytes(&f.out), 0, 1));
    f.head.id.text[15] = 'H';
    f.head.body_bytes += 8;
    assert_true(reads_up_to(&f, buf_bytes(&f.out), 0, 2));
    lib_end_rows();
    tear_down(&f);
}

/* ---- records whose sums are right ---- */

static void put_record(struct fixture *f, unsigned type, const void *content, size_t octets)
{
    uint8_t head[RECORD_HEAD_BYTES] = {0};
    static const uint8_t nothing[8];
    size_t start = buf_length(&f->out);

    spool_store_number(head + RECORD_LENGTH, octets, 4);
    spool_store_number(head + RECORD_TYPE, type, 2);
    buf_put(&f->out, bytes_make(head, sizeof(head)));
    buf_put(&f->out, bytes_make(content, octets));
    buf_put(&f->out, bytes_make(nothing, (8 - octets % 8) % 8));
    sign(f, start);
}

static void makes_sense_or_ends(void **state)
{
    static const struct {
        unsigned type;
        const char *content;
        size_t octets;
        bool is_passed_over;
    } rows[] = {
        {RECORD_VIEW + 1, "what a later version knows", 26, true},
        {60000, "", 0, true},
        {0, "", 0, true},
        {RECORD_WARNED, "\2\0\0\0", 4, false}, /* there is no third recipient */
        {RECORD_WARNED, "\377\377\377\377", 4, false},
        {RECORD_REPORTED, "\0\0\0", 3, false},
        {RECORD_HOLD, "", 0, false},
        {RECORD_MESSAGE, "\1\0\0\0", 4, false},
        {RECORD_RECIPIENT, "", 0, false},
        {RECORD_VIEW, "", 0, false},
        {RECORD_OUTCOME, "\0\0\0\0\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 26, false},
        {RECORD_OUTCOME, "\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\377\377\377\377\0\0\0\0", 26, false},
        {RECORD_OUTCOME, "\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", 26, false},
        {RECORD_REROUTED, "\1\0\0\0\0\0\0\0\0\0\0\0\0\4\0\0\0abc", 20, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct fixture f;
        size_t whole, start;

        set_up(&f);
        whole = buf_length(&f.out);
        put_record(&f, rows[i].type, rows[i].content, rows[i].octets);
        if (rows[i].is_passed_over)
            f.ends[f.steps - 1] = buf_length(&f.out);
        else
            lib_is_true(i, "ends", reads_up_to(&f, buf_bytes(&f.out), whole, i));
        /* What follows counts where it was passed over. */
        f.message.is_held = true;
        start = buf_length(&f.out);
        spool_put_hold(&f.writer, &f.message);
        write_later(&f, start);
        mark(&f);
        if (rows[i].is_passed_over)
            reads_up_to(&f, buf_bytes(&f.out), buf_length(&f.out), i);
        else
            is_found_damaged(&f, buf_bytes(&f.out), i);
        tear_down(&f);
    }
    lib_end_rows();
}

/* Counts and lengths that ask for more memory than there is reason to. */
static void asks_for_no_memory_without_reason(void **state)
{
    static const uint32_t counts[] = {0, 3, 1000, 0x7fffffff, 0xffffffff};
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        struct spool_message message;

        set_up(&f);
        buf_reset(&f.out);
        f.message.recipient_count = counts[i];
        spool_put_message(&f.writer, &f.message);
        for (uint32_t j = 0; j < 2; j++)
            spool_put_recipient(&f.writer, &f.recipients[j]);
        lib_same_number(i, "error", ERR_SYNTAX,
                        spool_message_parse(&f.head, buf_bytes(&f.out), &f.arena, &message));
        lib_is_true(i, "little memory", f.arena.total_bytes < 16384);
        tear_down(&f);
    }
    lib_end_rows();
}

static void reads_the_first_block(void **state)
{
    struct spool_head head = {.id = {"0123456789BCDFGH"}, .body_bytes = 77, .body_sum = 99}, seen;
    uint8_t block[SPOOL_HEAD_BYTES], later[SPOOL_HEAD_BYTES];

    (void)state;
    spool_head_put(&head, block);
    assert_int_equal(spool_head_parse(bytes_make(block, sizeof(block)), &seen), 0);
    assert_memory_equal(&seen, &head, sizeof(head));
    for (size_t len = 0; len < sizeof(block); len++)
        assert_int_equal(spool_head_parse(bytes_make(block, len), &seen), ERR_SYNTAX);
    for (size_t bit = 0; bit < 8 * sizeof(block); bit++) {
        block[bit / 8] ^= (uint8_t)(1U << bit % 8);
        lib_same_number(bit, "error", ERR_SYNTAX,
                        spool_head_parse(bytes_make(block, sizeof(block)), &seen));
        block[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    lib_end_rows();
    memcpy(later, block, sizeof(later));
    later[HEAD_VERSION] = SPOOL_VERSION + 1;
    spool_store_number(later + HEAD_SUM, hash_chain(0, bytes_make(later, HEAD_SUM)), 8);
    assert_int_equal(spool_head_parse(bytes_make(later, sizeof(later)), &seen), ERR_RANGE);
    head.body_bytes = UINT64_MAX - 10;
    spool_head_put(&head, block);
    assert_int_equal(spool_head_parse(bytes_make(block, sizeof(block)), &seen), ERR_SYNTAX);
}

static bool read_all(void *given)
{
    struct fixture *f = given;
    struct spool_message message;
    int error = spool_message_parse(&f->head, buf_bytes(&f->out), &f->arena, &message);

    arena_reset(&f->arena);
    if (error != 0)
        assert_int_equal(error, ERR_MEMORY);
    return error == 0;
}

static void survives_shortage(void **state)
{
    struct fixture f;

    (void)state;
    set_up(&f);
    assert_true(lib_fail_each_allocation(read_all, &f) > 1);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_written),
        cmocka_unit_test(ends_where_it_is_torn),
        cmocka_unit_test(tells_damage_from_a_torn_end),
        cmocka_unit_test(tears_what_was_written_in_one_go),
        cmocka_unit_test(searches_for_a_while),
        cmocka_unit_test(leaves_room),
        cmocka_unit_test(believes_records_in_their_place),
        cmocka_unit_test(makes_sense_or_ends),
        cmocka_unit_test(asks_for_no_memory_without_reason),
        cmocka_unit_test(reads_the_first_block),
        cmocka_unit_test(survives_shortage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
