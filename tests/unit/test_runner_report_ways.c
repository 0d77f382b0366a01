/* SPDX-License-Identifier: BSD-2-Clause */
/* Where reports go: to a relay, else to the postmaster, else to nobody. */
/* needs: tests/unit/report_world.c spool/runner_report.c spool/store.c spool/store_list.c */
/* needs: spool/store_message.c spool/store_commit.c spool/store_draft.c spool/store_rewrite.c */
/* needs: spool/runner_shown.c spool/spool_index.c sim */
/* needs: spool/store_own.c spool/store_path.c */
#include "proxy/io/disk.h"
#include "route/target_kind.h"
#include "spool/runner_report.h"
#include "tests/sim/sim.h"
#include "tests/unit/report_world.h"

/* ---- which relay ---- */

/* Of relay2 nothing is known. */
static struct capability capabilities(struct target *t)
{
    bool is_known = bytes_is(t->name, "relay1");
    return (struct capability){.keywords = is_known ? CAPABILITY_8BITMIME | CAPABILITY_SIZE : 0};
}

static const struct target_ops ops = {.capabilities = capabilities};
static const struct target_kind relay_kind = {.is_relay = true};
static const struct target_kind maildir_kind = {.is_relay = false};
static struct target targets[] = {
    {.kind = &relay_kind, .ops = &ops, .name = {(const uint8_t *)"relay1", 6}},
    {.kind = &relay_kind, .ops = &ops, .name = {(const uint8_t *)"relay2", 6}},
    {.kind = &maildir_kind, .ops = &ops, .name = {(const uint8_t *)"store", 5}},
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

static void check_postmaster(struct report_world *w, const struct store_place *place)
{
    struct spool_message report;

    disk_close(report_world_take(w, place, &report));
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
    struct report_world w;

    report_world_begin(&w);
    w.conf.postmaster = bytes_of(row->postmaster);
    w.conf.to = row->to;
    report_world_put(&w, &cause);
    int fd = report_world_take(&w, &cause, &message);
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
    report_world_end(&w);
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
