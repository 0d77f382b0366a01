/* SPDX-License-Identifier: BSD-2-Clause */
/* How many steps a message takes from its first RCPT to its outcome: the machine is compiled in
 * here with a count of all turns of its loops, so that no clock is asked. */
#include "proxy/base/error.h"
#include "proxy/smtp/event.h"
#include "proxy/smtp/outcome.h"
#include "proxy/smtp/transaction_private.h"
#include "tests/unit/lib.h"

static unsigned long steps;

/* NOLINTBEGIN */
/* clang-format off */
#define for(...)   for (__VA_ARGS__) if (steps++, false) {} else
#define while(...) while (steps++, __VA_ARGS__)
/* clang-format on */
#include "proxy/smtp/outcome.c"
#include "proxy/smtp/transaction.c"
#include "proxy/smtp/transaction_targets.c"
#include "proxy/smtp/transaction_end.c"
#undef for
#undef while
/* NOLINTEND */

#define MANY 1000

struct target {
    char unused;
};

static struct target targets[MANY];

struct row {
    const char *name;
    bool is_list;     /* one RCPT for all, or one for each */
    bool is_apart;    /* a target for each, or one for all */
    bool is_undoable; /* maildirs, but for the first */
    bool may_spool;   /* what a relay does not take */
    bool splits;
    unsigned code; /* the answer to RCPT, but for the first */
    bool breaks;   /* the branches break in the content */
};

static const struct row rows[] = {
    {"list of relays", true, true, false, true, true, 250, false},
    {"list of maildirs", true, true, true, true, true, 250, false},
    {"all or nothing", true, true, true, false, true, 250, false},
    {"all or nothing, refused", true, true, true, false, true, 550, false},
    {"list at one target", true, false, false, true, true, 250, false},
    {"list that is refused", true, true, false, true, true, 550, false},
    {"list that breaks", true, true, false, true, true, 250, true},
    {"relays", false, true, false, true, true, 250, false},
    {"relays that refuse", false, true, false, true, true, 550, false},
    {"relays that break", false, true, false, true, true, 250, true},
    {"maildirs", false, true, true, true, true, 250, false},
    {"one relay", false, false, false, true, false, 250, false},
    {"one relay that refuses", false, false, false, true, false, 550, false},
    {"one relay, all or nothing", false, false, false, false, false, 550, false},
};

struct world {
    const struct row *row;
    struct pool pool;
    struct arena arena;
    struct identity client;
    struct transaction t;
    bool is_settled;
};

static struct routed_leg leg_to(const struct row *row, unsigned i)
{
    bool is_first = i == 0 || !row->is_apart;

    return (struct routed_leg){.target = &targets[row->is_apart ? i : 0],
                               .can_prepare = !is_first && row->is_undoable,
                               .may_spool = row->may_spool};
}

static void feed(struct world *w, struct event ev)
{
    transaction_feed(&w->t, &ev);
}

/* As targets and disks do it, one after another. */
static void drain(struct world *w)
{
    struct action todo;

    while (transaction_next(&w->t, &todo)) {
        struct event ev = {.branch = todo.branch};
        if (todo.kind == ACT_SETTLED)
            w->is_settled = true;
        if (todo.kind == ACT_END)
            ev.kind = EV_FINAL;
        else if (todo.kind == ACT_PREPARE || todo.kind == ACT_PREPARE_SPOOL)
            ev.kind = EV_PREPARED;
        else if (todo.kind == ACT_COMMIT || todo.kind == ACT_COMMIT_SPOOL)
            ev.kind = EV_COMMITTED;
        else
            continue;
        ev.fate = FATE_ACCEPTED;
        ev.reply = reply_own(REPLY_OK);
        feed(w, ev);
    }
}

static void address(struct world *w, unsigned count)
{
    static struct routed_leg legs[MANY];
    const struct address to = {.local = bytes_of("joe"), .domain = bytes_of("x.test")};

    for (unsigned i = 0; i < count; i++)
        legs[i] = leg_to(w->row, i);
    for (unsigned i = 0; i < (w->row->is_list ? 1 : count); i++) {
        struct routed routed = {.legs = &legs[i], .leg_count = w->row->is_list ? (int)count : 1};
        struct recipient *r = transaction_add(&w->t, &to);
        assert_non_null(r);
        feed(w, (struct event){.kind = EV_ROUTED, .rcpt = r, .routed = &routed});
        drain(w);
    }
}

/* The last first. As a session does, each time it is asked whether there is an answer to tell, and
 * whether 354 may be told. */
static void answer_all(struct world *w)
{
    unsigned left = 0;

    LIST_EACH (link, &w->t.recipients)
        left++;
    for (struct list *at = w->t.recipients.prev; at != &w->t.recipients; at = at->prev) {
        struct recipient *r = LIST_ENTRY(at, struct recipient, in_transaction);
        unsigned code = --left == 0 ? 250 : w->row->code;
        if (w->t.state == TX_GOING)
            transaction_go(&w->t);
        feed(w, (struct event){.kind = EV_ANSWER,
                               .branch = r->branch,
                               .rcpt = r,
                               .fate = outcome_of_code(code),
                               .reply = {.code = (uint16_t)code}});
        outcome_of_envelope(r->head);
        drain(w);
    }
}

static void break_all(struct world *w)
{
    LIST_EACH (link, &w->t.branches)
        feed(w, (struct event){.kind = EV_BROKEN,
                               .branch = LIST_ENTRY(link, struct branch, in_transaction),
                               .reply = reply_own(REPLY_TARGET_LOST)});
}

/* As for the log line and the spool's records. */
static void tell_all(struct world *w)
{
    LIST_EACH (link, &w->t.recipients)
        outcome_disposition(&w->t, LIST_ENTRY(link, struct recipient, in_transaction));
}

static unsigned long steps_for(const struct row *row, unsigned count)
{
    struct world w = {.row = row};
    struct envelope envelope = {.id = {.text = "0123456789BCDFGH"}};

    pool_init(&w.pool, 4096, 4);
    arena_init(&w.arena, &w.pool, SIZE_MAX);
    transaction_init(&w.t, &w.arena, &envelope, &w.client);
    w.t.splits = row->splits;
    steps = 0;
    address(&w, count);
    transaction_data(&w.t);
    drain(&w);
    answer_all(&w);
    if (w.t.state == TX_GOING && transaction_go(&w.t) == TRANSACTION_GO_AHEAD) {
        if (row->breaks)
            break_all(&w);
        transaction_end(&w.t);
        drain(&w);
        tell_all(&w);
        assert_true(w.is_settled);
    }
    unsigned long taken = steps;
    arena_reset(&w.arena);
    pool_done(&w.pool);
    return taken;
}

static void test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        unsigned long taken = steps_for(&rows[i], MANY);
        lib_is_true(i, rows[i].name, taken >= MANY && taken <= 100 * MANY);
    }
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
