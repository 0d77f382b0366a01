/* SPDX-License-Identifier: BSD-2-Clause */
/* The spool file of a transaction: what each recipient is to get, whatever targets got of it. */
/* needs: tests/unit/copy_world.c sim proxy/takeover.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c spool/store.c spool/store_commit.c */
/* needs: spool/store_draft.c spool/store_list.c spool/store_message.c spool/store_own.c */
/* needs: spool/store_path.c */
#include "proxy/takeover.h"

#include <errno.h>
#include <stdio.h>

#include "proxy/bridge.h"
#include "proxy/queue.h"
#include "proxy/services.h"
#include "proxy/smtpd.h"
#include "route/target.h"
#include "tests/unit/copy_world.h"

#define TARGETS 3

struct scene {
    struct copy_world f;
    struct services services;
    struct smtpd_conf conf;
    struct smtpd smtpd;
    struct bridge b;
    struct pool pool;
    struct arena arena;
    struct identity client;
    struct transaction t;
    struct target targets[TARGETS];
    const char *told; /* what the client would hear */
};

static unsigned arrivals;

/* In place of the queue's. */
void queue_arrived(struct queue *q, const struct store_place *place, uint64_t body_bytes,
                   struct bytes records)
{
    (void)q;
    (void)place;
    (void)body_bytes;
    (void)records;
    arrivals++;
}

struct id services_next_id(struct services *s)
{
    (void)s;
    return (struct id){"237B000000000001"};
}

/* ---- a transaction without a client ---- */

static struct scene *scene_of(struct carrier *carrier)
{
    return CONTAINER_OF(CONTAINER_OF(carrier, struct bridge, carrier), struct scene, b);
}

static void on_feed(struct carrier *carrier, const struct event *ev)
{
    transaction_feed(&scene_of(carrier)->t, ev);
}

static void on_prepare_spool(struct carrier *carrier)
{
    takeover_prepare(&scene_of(carrier)->b);
}

static void on_commit_spool(struct carrier *carrier)
{
    takeover_commit(&scene_of(carrier)->b);
}

static void on_settled(struct carrier *carrier)
{
    struct scene *s = scene_of(carrier);
    static char told[300];

    snprintf(told, sizeof(told), "%.*s", (int)s->t.outcome.wire.len,
             (const char *)s->t.outcome.wire.at);
    s->told = told;
}

static void on_perform_all(struct carrier *carrier)
{
    struct action todo;

    while (transaction_next(&scene_of(carrier)->t, &todo))
        carrier_perform(carrier, &todo);
}

static const struct carrier_ops carrier_ops = {.feed = on_feed,
                                               .perform_all = on_perform_all,
                                               .prepare_spool = on_prepare_spool,
                                               .commit_spool = on_commit_spool,
                                               .settled = on_settled};

/* ---- targets that take the recipients, and are lost ---- */

static void open_branch(struct carrier *carrier, struct branch *branch)
{
    (void)carrier;
    branch->shell = branch;
}

static void take_rcpt(struct branch *branch, struct recipient *rcpt)
{
    (void)branch;
    (void)rcpt; /* the test answers */
}

static void do_nothing(struct branch *branch)
{
    (void)branch;
}

static void drop(struct branch *branch)
{
    branch->shell = NULL;
}

static const struct target_ops target_ops = {.open = open_branch,
                                             .rcpt = take_rcpt,
                                             .go = do_nothing,
                                             .end = do_nothing,
                                             .drop = drop,
                                             .flush = do_nothing};

/* ---- life ---- */

static void begin(struct scene *s)
{
    static const char id[] = "237B000000000000";
    static const char *const names[TARGETS] = {"a", "b", "c"};
    struct envelope envelope = {.from = {.local = bytes_of("s")}};
    struct log_sink sink = {.kind = LOG_TO_STDERR};
    int error = 0;

    *s = (struct scene){.conf = {.section = bytes_of("mx.test")}};
    arrivals = 0;
    copy_world_begin(&s->f, 1);
    s->services.loop = s->f.loop;
    s->services.log = log_new(s->f.loop, &sink, 1, false, &error);
    s->services.store = store_open(s->f.loop, bytes_of("/spool"), NULL, &error);
    assert_non_null(s->services.store);
    s->f.limits.drafts = store_drafts(s->services.store);
    s->f.limits.head_bytes = SPOOL_HEAD_BYTES;
    assert_true(copy_world_new(&s->f, 0));
    s->smtpd = (struct smtpd){.services = &s->services, .conf = &s->conf, .log_sinks = 1};
    pool_init(&s->pool, 4096, 4);
    arena_init(&s->arena, &s->pool, SIZE_MAX);
    s->b.smtpd = &s->smtpd;
    s->b.id.text[0] = 'S';
    carrier_init(&s->b.carrier, &carrier_ops, s->f.loop, &s->client);
    memcpy(envelope.id.text, id, sizeof(id));
    transaction_init(&s->t, &s->arena, &envelope, &s->client);
    s->t.splits = true;
    s->b.carrier.transaction = &s->t;
    s->b.carrier.copy = s->f.owners[0].copy;
    for (size_t i = 0; i < TARGETS; i++)
        s->targets[i] =
            (struct target){.ops = &target_ops, .name = bytes_of(names[i]), .may_spool = true};
}

static void end(struct scene *s)
{
    store_close(s->services.store);
    copy_free(&s->f.owners[0].copy);
    copy_world_settle(&s->f);
    store_free(&s->services.store);
    log_free(&s->services.log);
    arena_reset(&s->arena);
    pool_done(&s->pool);
    copy_world_end(&s->f);
}

/* ---- steps ---- */

static void add_recipient(struct scene *s, const char *local, unsigned target)
{
    const struct address to = {.local = bytes_of(local), .domain = bytes_of("to.test")};
    struct routed_leg leg = {.target = &s->targets[target], .to = to, .may_spool = true};
    struct routed routed = {.legs = &leg, .leg_count = 1};
    struct recipient *r = transaction_add(&s->t, &to);

    assert_non_null(r);
    transaction_feed(&s->t, &(struct event){.kind = EV_ROUTED, .rcpt = r, .routed = &routed});
    carrier_drain(&s->b.carrier);
    transaction_feed(&s->t, &(struct event){.kind = EV_ANSWER,
                                            .branch = r->branch,
                                            .rcpt = r,
                                            .fate = FATE_ACCEPTED,
                                            .reply = reply_own(REPLY_RECIPIENT_OK)});
}

static struct branch *branch_at(struct scene *s, unsigned target)
{
    LIST_EACH (link, &s->t.branches)
        if (LIST_ENTRY(link, struct branch, in_transaction)->target == &s->targets[target])
            return LIST_ENTRY(link, struct branch, in_transaction);
    return NULL;
}

static void lose(struct scene *s, unsigned target)
{
    branch_at(s, target)->shell = NULL;
    transaction_feed(&s->t, &(struct event){.kind = EV_BROKEN,
                                            .branch = branch_at(s, target),
                                            .reply = reply_own(REPLY_TARGET_LOST)});
}

#define HEADER "a: 1\r\n"
#define BODY   "\r\nold\r\n"
#define OTHER  "\r\nnew\r\n"

static void append(struct scene *s, const char *text)
{
    assert_int_equal(copy_append(s->b.carrier.copy, bytes_of(text)), 0);
}

static void bring_content(struct scene *s)
{
    transaction_data(&s->t);
    assert_int_equal(transaction_go(&s->t), TRANSACTION_GO_AHEAD);
    carrier_drain(&s->b.carrier);
    append(s, HEADER BODY);
}

static void show(struct scene *s, int target, const char *lines, uint64_t at, uint64_t to)
{
    const struct view view = {.lines = bytes_of(lines), .at = at, .end = to};

    assert_int_equal(transaction_show(&s->t, target < 0 ? NULL : &s->targets[target], &view), 0);
}

static void finish(struct scene *s)
{
    copy_finish(s->b.carrier.copy);
    transaction_end(&s->t);
    carrier_drain(&s->b.carrier);
    copy_world_settle(&s->f);
}

/* ---- what lies in the spool ---- */

static void put_bytes(struct lib_text *seen, struct bytes octets)
{
    for (size_t i = 0; i < octets.len; i++)
        if (octets.at[i] != '\r')
            lib_put(seen, "%c", octets.at[i] == '\n' ? '/' : octets.at[i]);
}

/* "joe@a: what joe gets, with / for the end of a line" for each recipient of each file below that
 * folder. */
static void look_below(struct scene *s, const char *folder, struct lib_text *text)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(s->f.world, folder, i)) != NULL; i++) {
        struct bytes file;
        struct spool_head head;
        struct spool_message m;
        if (!sim_file(s->f.world, path, &file) || file.len == 0)
            continue; /* "owner" */
        assert_int_equal(spool_head_parse(file, &head), 0);
        struct bytes records = bytes_skip(file, (size_t)spool_records_at(&head));
        assert_int_equal(spool_message_parse(&head, records, &s->arena, &m), 0);
        lib_put(text, "v%d ", head.is_version_2 ? 2 : 1);
        if (m.is_held)
            lib_put(text, "%s(%.*s) ", m.hold.by == SPOOL_HELD_BY_FILTER ? "held" : "?",
                    (int)m.hold.reason.len, (const char *)m.hold.reason.at);
        for (uint32_t r = 0; r < m.recipient_count; r++) {
            const struct spool_recipient *to = &m.recipients[r];
            struct spool_message alone = m;
            alone.recipients = &m.recipients[r];
            alone.recipient_count = 1;
            struct spool_shown shown = spool_shown_to_all(&alone);
            lib_put(text, "%.*s@%.*s:", (int)to->to.local.len, (const char *)to->to.local.at,
                    (int)to->target.len, (const char *)to->target.at);
            put_bytes(text, shown.in_front);
            put_bytes(text, shown.view.lines);
            put_bytes(text, bytes_make(file.at + SPOOL_HEAD_BYTES + shown.view.at,
                                       (size_t)(shown.view.end - shown.view.at)));
            lib_put(text, " ");
        }
    }
}

static void look(size_t row, struct scene *s, const char *expected)
{
    static struct lib_text seen;

    seen.len = 0;
    seen.at[0] = '\0';
    look_below(s, "/spool/queue", &seen);
    look_below(s, "/spool/hold", &seen);
    lib_same_text(row, "in the spool", expected, seen.at);
}

/* ---- the tests ---- */

static void test_views(void **state)
{
    enum { OF_ALL = -1, NONE = -2 };
    static const struct {
        int edits; /* whose body is replaced */
        bool prepends, edits_header;
        const char *expected;
    } rows[] = {
        {NONE, false, false, "v1 x@a:a: 1//old/ y@b:a: 1//old/ z@a:a: 1//old/ "},
        {NONE, true, false,
         "v2 x@a:q: 2/p: 1/a: 1//old/ y@b:p: 1/a: 1//old/ "
         "z@a:q: 2/p: 1/a: 1//old/ "},
        {NONE, false, true, "v2 x@a:b: 2//old/ y@b:b: 2//old/ z@a:b: 2//old/ "},
        {OF_ALL, false, false, "v2 x@a:a: 1//new/ y@b:a: 1//new/ z@a:a: 1//new/ "},
        {0, false, false, "v2 x@a:a: 1//new/ y@b:a: 1//old/ z@a:a: 1//new/ "},
        {1, true, false, "v2 x@a:q: 2/p: 1/a: 1//old/ y@b:a: 1//new/ z@a:q: 2/p: 1/a: 1//old/ "},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        static struct scene s;
        begin(&s);
        add_recipient(&s, "x", 0);
        add_recipient(&s, "y", 1);
        add_recipient(&s, "z", 0);
        if (rows[i].prepends) {
            assert_int_equal(transaction_prepend(&s.t, NULL, bytes_of("p: 1\r\n")), 0);
            assert_int_equal(transaction_prepend(&s.t, &s.targets[0], bytes_of("q: 2\r\n")), 0);
        }
        bring_content(&s);
        if (rows[i].edits_header)
            show(&s, OF_ALL, "b: 2\r\n", strlen(HEADER), VIEW_TO_END);
        if (rows[i].edits != NONE) {
            copy_end_message(s.b.carrier.copy);
            append(&s, OTHER);
            show(&s, rows[i].edits, HEADER, strlen(HEADER BODY), strlen(HEADER BODY OTHER));
        }
        lose(&s, 0);
        lose(&s, 1);
        finish(&s);
        lib_same_text(i, "told", "250 2.0.0 Ok: queued as 237B000000000000\r\n", s.told);
        look(i, &s, rows[i].expected);
        lib_same_number(i, "arrivals", 1, arrivals);
        end(&s);
    }
    lib_end_rows();
}

/* ---- quarantine ---- */

static void quarantine(struct scene *s, int target, const char *reason)
{
    const struct target *which = target < 0 ? NULL : &s->targets[target];

    assert_int_equal(transaction_quarantine(&s->t, which, bytes_of(reason)), 0);
    carrier_drain(&s->b.carrier);
}

/* Two recipients at the first target, one at the second, which is lost; the message is edited for
 * the first one alone. `held`: as quarantine() wants it. */
static void begin_quarantined(struct scene *s, int held)
{
    begin(s);
    add_recipient(s, "x", 0);
    add_recipient(s, "y", 1);
    add_recipient(s, "z", 0);
    bring_content(s);
    copy_end_message(s->b.carrier.copy);
    append(s, OTHER);
    show(s, 0, HEADER, strlen(HEADER BODY), strlen(HEADER BODY OTHER));
    lose(s, 1);
    quarantine(s, held, "Eicar \"test\"");
}

static bool has_logged(struct scene *s, const char *text)
{
    struct bytes log = sim_log(s->f.world);

    return log.len != 0 && memmem(log.at, log.len, text, strlen(text)) != NULL;
}

#define X_AND_Z "x@a:a: 1//new/ z@a:a: 1//new/ "
#define REASON  "held(Eicar \"test\") "

static const struct {
    int held;
    const char *in_spool;
    unsigned arrivals;
    const char *logged[2];
} quarantines[] = {
    {-1,
     "v2 " REASON "x@a:a: 1//new/ y@b:a: 1//old/ z@a:a: 1//new/ ",
     1,
     {"quarantined session=S transaction=237B000000000000 targets=a,b nrcpt=3 "
      "reason=\"Eicar \\\"test\\\"\" bytes=13\n",
      ""}},
    {0,
     "v2 y@b:a: 1//old/ v2 " REASON X_AND_Z,
     2,
     {"quarantined session=S transaction=237B000000000000 id=237B000000000001 targets=a nrcpt=2 ",
      "spooled session=S transaction=237B000000000000 targets=b nrcpt=1 "}},
    {1,
     "v2 " X_AND_Z "v2 " REASON "y@b:a: 1//old/ ",
     2,
     {"quarantined session=S transaction=237B000000000000 id=237B000000000001 targets=b nrcpt=1 ",
      "spooled session=S transaction=237B000000000000 targets=a nrcpt=2 "}},
};

static void test_quarantine(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(quarantines); i++) {
        static struct scene s;
        begin_quarantined(&s, quarantines[i].held);
        if (quarantines[i].held == 1)
            lose(&s, 0);
        finish(&s);
        lib_same_text(i, "told", "250 2.0.0 Ok: queued as 237B000000000000\r\n", s.told);
        look(i, &s, quarantines[i].in_spool);
        lib_same_number(i, "arrivals", quarantines[i].arrivals, arrivals);
        for (size_t j = 0; j < 2; j++)
            if (!lib_is_true(i, quarantines[i].logged[j], has_logged(&s, quarantines[i].logged[j])))
                lib_same_bytes(i, "log", bytes_make("", 0), sim_log(s.f.world));
        end(&s);
    }
    lib_end_rows();
}

/* Whichever call on the disk fails: what is to be held is never where a runner would deliver it,
 * and the client hears 250 only if all of it lies there. */
static void test_disk_fails(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(quarantines) - 1; i++) {
        uint64_t failures = 1;
        for (uint64_t nth = 1; failures != 0; nth++) {
            static struct scene s;
            static struct lib_text seen;
            begin_quarantined(&s, quarantines[i].held);
            sim_disk_fail_call(s.f.world, nth, -EIO);
            uint64_t before = sim_disk_failures(s.f.world);
            finish(&s);
            failures = sim_disk_failures(s.f.world) - before;
            sim_disk_fail_call(s.f.world, 0, 0);
            seen.len = 0;
            seen.at[0] = '\0';
            look_below(&s, "/spool/queue", &seen);
            lib_is_true(nth, "not to be delivered", strstr(seen.at, "new") == NULL);
            if (s.told[0] == '2')
                look(nth, &s, quarantines[i].in_spool);
            else
                lib_is_true(nth, "451", strncmp(s.told, "451 ", 4) == 0 && failures != 0);
            bool is_half = s.told[0] != '2' && arrivals != 0;
            lib_is_true(nth, "duplicate",
                        is_half == has_logged(&s, "spool-failed session=S transaction=237B00000000"
                                                  "0000 targets=b nrcpt=1 reason=\"451 4.4.2 "));
            if (is_half)
                lib_is_true(nth, "possible", has_logged(&s, "duplicate=possible error="));
            end(&s);
        }
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_quarantine),
        cmocka_unit_test(test_disk_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
