/* SPDX-License-Identifier: BSD-2-Clause */
/* Where reports go: to a relay, else to the postmaster, else to nobody. */
/* needs: spool/runner_report.c spool/store.c spool/store_list.c spool/store_message.c */
/* needs: spool/store_commit.c spool/store_draft.c spool/store_rewrite.c spool/spool_index.c sim */
#include "tests/unit/lib.h"

#include "proxy/io/disk.h"
#include "route/relay_conf.h"
#include "spool/runner_report.h"
#include "tests/sim/sim.h"

static const char content[] =
    "From: Ann <ann@example.com>\r\nSubject: hello\r\n\r\nHow are you?\r\n";

/* ---- a spool with one message ---- */

struct world {
    struct pool pool;
    struct arena arena;
    struct loop *loop;
    struct store *store;
    struct bounce_conf conf;
};

static void begin(struct world *w)
{
    int error = 0;

    *w = (struct world){
        .conf = {.hostname = bytes_of("mx.example.net"), .postmaster = bytes_of("postmaster")}};
    pool_init(&w->pool, 4096, 4);
    arena_init(&w->arena, &w->pool, 1 << 20);
    w->loop = loop_new();
    w->store = store_open(w->loop, bytes_of("/spool"), NULL, &error);
    assert_int_equal(error, 0);
}

static int end(struct world *w)
{
    store_close(w->store);
    store_free(&w->store);
    arena_reset(&w->arena);
    pool_done(&w->pool);
    loop_free(&w->loop);
    return 0;
}

static struct address joe(void)
{
    return (struct address){.local = bytes_of("joe"), .domain = bytes_of("example.org")};
}

static void put_cause(struct world *w, struct store_place *place_out)
{
    struct id id = {.text = "06H4TZ0BC00F3X04"};
    struct bytes body = bytes_of(content);
    struct copy_image image = {.fd = -1,
                               .length = body.len,
                               .pieces = &body,
                               .piece_count = 1,
                               .drafts = store_drafts(w->store)};
    struct spool_message m = {.envelope.from.local = bytes_of("ann"), .recipient_count = 1};
    struct spool_recipient r = {.original = joe(),
                                .to = joe(),
                                .target = bytes_of("home"),
                                .fate = FATE_REFUSED,
                                .reply = bytes_of("550 5.1.1 no")};
    struct spool_writer writer = {.id = id};
    struct buf records;

    buf_init(&records, &w->pool, 1 << 20);
    writer.out = &records;
    writer.at = spool_records_at(&(struct spool_head){.body_bytes = body.len});
    m.envelope.id = id;
    spool_put_message(&writer, &m);
    spool_put_recipient(&writer, &r);
    *place_out = store_next_place(w->store, &id);
    assert_int_equal(store_commit(w->store, &image, place_out, buf_bytes(&records)), 0);
    draft_close(image.drafts, image.fd);
    buf_done(&records);
}

static int take(struct world *w, const struct store_place *place, struct spool_message *message_out)
{
    int fd;

    assert_int_equal(store_take(w->store, place, &fd), 0);
    assert_int_equal(store_read(fd, &place->id, &w->arena, message_out), 0);
    return fd;
}

/* ---- which relay ---- */

/* Of relay2 nothing is known. */
static uint32_t capabilities(struct target *t)
{
    return bytes_is(t->name, "relay1") ? CAPABILITY_8BITMIME | CAPABILITY_SIZE : 0;
}

static const struct target_ops relay_ops = {.kind = "relay", .capabilities = capabilities};
static const struct target_ops maildir_ops = {.kind = "maildir"};
static struct target targets[] = {
    {.ops = &relay_ops, .name = {(const uint8_t *)"relay1", 6}},
    {.ops = &relay_ops, .name = {(const uint8_t *)"relay2", 6}},
    {.ops = &maildir_ops, .name = {(const uint8_t *)"store", 5}},
};

static struct target *find_target(void *owner, struct bytes name)
{
    (void)owner;
    for (size_t i = 0; i < ARRAY_LENGTH(targets); i++)
        if (bytes_equal(targets[i].name, name))
            return &targets[i];
    return NULL;
}

/* The local part is where it leads to; all of a name's mail goes into the Maildir, too. */
static void route(void *owner, struct bytes listener, const struct address *to, struct arena *arena,
                  struct routed *routed_out)
{
    struct routed_leg *legs = arena_alloc(arena, 2 * sizeof(*legs));

    assert_true(bytes_is(listener, "mx"));
    assert_non_null(legs);
    if (bytes_is(to->local, "nobody")) {
        *routed_out = (struct routed){.reply.code = 550};
        return;
    }
    legs[0] = (struct routed_leg){.target = find_target(owner, bytes_of("store")), .to = *to};
    legs[1] = (struct routed_leg){.target = find_target(owner, to->local), .to = *to};
    *routed_out = (struct routed){.legs = legs, .leg_count = legs[1].target == NULL ? 1 : 2};
}

struct relay_row {
    const char *bounce_relay, *sender;
    const char *targets[3]; /* of the recipients, of which the first is not due */
    const char *expected;
};

static const struct relay_row relay_rows[] = {
    {"own", "relay1", {"relay1", "relay2", "relay1"}, "own"},
    {"", "relay1", {"relay1", "relay2", "relay1"}, "relay2"},
    {"", "x", {"relay1", "store", "relay2"}, "relay2"},
    {"", "x", {"relay1", "gone", "relay2"}, "relay2"},
    {"", "relay1", {"x", "store", "gone"}, "relay1"},
    {"", "x", {"relay1", "gone", "store"}, ""},
    {"", "", {"relay1", "gone", "store"}, ""},
};

static void test_relay(void **state)
{
    static const bool is_due[] = {false, true, true};

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(relay_rows); i++) {
        const struct relay_row *row = &relay_rows[i];
        struct runner_host host = {.bounce_relay = bytes_of(row->bounce_relay),
                                   .find_target = find_target,
                                   .route = route};
        struct spool_recipient recipients[3] = {{.tries = 0}};
        struct spool_message message = {.envelope.from.local = bytes_of(row->sender),
                                        .listener = bytes_of("mx"),
                                        .recipients = recipients,
                                        .recipient_count = 3};
        struct bounce_conf conf = {.hostname = bytes_of("mx.example.net"),
                                   .postmaster = bytes_of("postmaster")};
        struct runner_report report = {.conf = &conf, .message = &message, .is_due = is_due};
        struct arena arena;
        struct pool pool;

        pool_init(&pool, 4096, 1);
        arena_init(&arena, &pool, 4096);
        for (size_t k = 0; k < 3; k++)
            recipients[k].target = bytes_of(row->targets[k]);
        runner_report_address(&host, &arena, &report);
        lib_same_bytes(i, "relay", bytes_of(row->expected), report.relay);
        lib_is_true(i, "no relay", report.has_no_relay == (row->expected[0] == '\0'));
        lib_same_number(i, "where the postmaster is", report.has_no_relay ? 1 : 0,
                        report.postmaster.leg_count);
        lib_is_true(i, "7bit", report.is_7bit != bytes_is(report.relay, "relay1"));
        arena_reset(&arena);
        pool_done(&pool);
    }
    lib_end_rows();
}

/* The message was for a Maildir, and no relay is found: not there, but to the postmaster, as the
 * tables have him; where they do not, nobody is told of a failure, and nobody misses a notice. */
struct senderless_row {
    const char *postmaster;
    enum bounce_to to;
    enum bounce_kind kind;
    enum bounce_result expected;
};

static const struct senderless_row senderless_rows[] = {
    {"postmaster", BOUNCE_TO_SENDER, BOUNCE_FAILED, BOUNCE_MADE},
    {"postmaster", BOUNCE_TO_BOTH, BOUNCE_FAILED, BOUNCE_MADE},
    {"postmaster", BOUNCE_TO_NONE, BOUNCE_FAILED, BOUNCE_HELD},
    {"postmaster", BOUNCE_TO_SENDER, BOUNCE_DELAYED, BOUNCE_NOTHING},
    {"nobody", BOUNCE_TO_SENDER, BOUNCE_FAILED, BOUNCE_HELD},
    {"nobody", BOUNCE_TO_SENDER, BOUNCE_DELAYED, BOUNCE_NOTHING},
};

static void check_postmaster(struct world *w, const struct store_place *place)
{
    struct spool_message report;

    disk_close(take(w, place, &report));
    assert_int_equal(report.recipient_count, 1);
    assert_true(bytes_is(report.recipients[0].original.local, "postmaster"));
    assert_true(bytes_is(report.recipients[0].original.domain, "mx.example.net"));
    assert_true(bytes_is(report.recipients[0].target, "store"));
}

static void make_senderless(size_t i, const struct senderless_row *row)
{
    static const bool is_due[] = {true};
    struct sim *sim = sim_new(1);
    struct spool_message message;
    struct store_place cause;
    struct world w;

    begin(&w);
    w.conf.postmaster = bytes_of(row->postmaster);
    w.conf.to = row->to;
    put_cause(&w, &cause);
    int fd = take(&w, &cause, &message);
    message.listener = bytes_of("mx");
    message.recipients[0].target = bytes_of("store");
    struct runner_host host = {.find_target = find_target, .route = route};
    struct runner_report report = {.store = w.store,
                                   .conf = &w.conf,
                                   .message = &message,
                                   .fd = fd,
                                   .kind = row->kind,
                                   .is_due = is_due,
                                   .now_ms = 1795318061000,
                                   .place = cause};
    runner_report_address(&host, &w.arena, &report);
    lib_same_number(i, "foreseen", row->expected, runner_report_foresee(&report));
    assert_int_equal(runner_report_make(&report), 0);
    lib_same_number(i, "made", row->expected, report.result);
    if (report.result == BOUNCE_MADE)
        check_postmaster(&w, &report.place);
    disk_close(fd);
    end(&w);
    sim_free(&sim);
}

static void test_no_relay(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(senderless_rows); i++)
        make_senderless(i, &senderless_rows[i]);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay),
        cmocka_unit_test(test_no_relay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
