/* SPDX-License-Identifier: BSD-2-Clause */
/* A target's connections over several processes: the limit, the runner's half, who makes way. */
/* needs: route/relay/relay_share.c sim */
#include "proxy/base/mem.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_stock.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define LIMIT 4

/* What all processes have together. */
static uint32_t sums[RELAY_SHARE_COUNTS];
static unsigned ways_made, yielded;

static void *join(void *owner, struct bytes target)
{
    (void)target;
    return owner;
}

static void leave(void *counts)
{
    (void)counts;
}

static void add(void *counts, enum relay_share_count what, int32_t change)
{
    (void)counts;
    sums[what] += (uint32_t)change;
}

static uint32_t sum(const void *counts, enum relay_share_count what)
{
    (void)counts;
    return sums[what];
}

void relay_stock_make_way(struct relay *r)
{
    (void)r;
    ways_made++;
}

void relay_stock_thin_out(struct relay *r, unsigned count)
{
    assert_in_range(count, 0, r->stock.idle_count);
    r->stock.idle_count -= count;
}

static void on_others_wait(struct relay *r, unsigned waiting)
{
    (void)r;
    yielded += waiting;
}

static unsigned looks;

static void on_starving(struct relay *r)
{
    (void)r;
    looks++;
}

static const struct relay_share_ops share_ops = {.others_wait = on_others_wait,
                                                 .starving = on_starving};

/* ---- some processes, each with its relay ---- */

struct process {
    struct relay_sharing sharing;
    struct relay_service service;
    struct relay_conf conf;
    struct relay relay;
};

static struct relay *process_new(struct process *p, struct loop *l, bool is_queue)
{
    *p = (struct process){
        .sharing = {.join = join,
                    .leave = leave,
                    .add = add,
                    .sum = sum,
                    .owner = sums,
                    .is_queue = is_queue},
    };
    p->service = (struct relay_service){.loop = l, .sharing = &p->sharing};
    p->conf.limits.max_connections = LIMIT;
    p->relay.service = &p->service;
    p->relay.conf = &p->conf;
    relay_share_join(&p->relay, &share_ops);
    return &p->relay;
}

/* As the pool does it. */
static bool dial(struct relay *r)
{
    bool is_begun = relay_share_reserve(r);

    r->link_count += is_begun;
    relay_share_tell(r);
    return is_begun;
}

static unsigned dial_all(struct relay *r)
{
    unsigned count = 0;

    while (dial(r))
        count++;
    return count;
}

static void close_one(struct relay *r)
{
    r->link_count--;
    relay_share_tell(r);
}

struct world {
    struct sim *sim;
    struct loop *loop;
    struct process live, other, runner;
    struct relay *a, *b, *queue;
};

static int set_up(void **state)
{
    static struct world w;

    memset(sums, 0, sizeof(sums));
    ways_made = yielded = 0;
    w.sim = sim_new(1);
    w.loop = loop_new();
    w.a = process_new(&w.live, w.loop, false);
    w.b = process_new(&w.other, w.loop, false);
    w.queue = process_new(&w.runner, w.loop, true);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct relay *relays[] = {w->a, w->b, w->queue};

    for (size_t i = 0; i < ARRAY_LENGTH(relays); i++) {
        relays[i]->is_closing = true;
        relays[i]->link_count = 0;
        relay_share_tell(relays[i]);
        relay_share_stop(relays[i]);
        relay_share_leave(relays[i]);
    }
    for (size_t i = 0; i < RELAY_SHARE_COUNTS; i++)
        assert_int_equal(sums[i], 0);
    loop_free(&w->loop);
    sim_free(&w->sim);
    return 0;
}

/* ---- the limit ---- */

static void test_limit_of_all(void **state)
{
    struct world *w = *state;

    assert_true(dial(w->a));
    assert_true(dial(w->a));
    assert_false(relay_share_is_full(w->b));
    assert_int_equal(dial_all(w->b), 2);
    assert_true(relay_share_is_full(w->a));
    assert_false(dial(w->a));
    assert_int_equal(sums[RELAY_SHARE_CONNECTIONS], LIMIT);
    close_one(w->b);
    assert_false(relay_share_is_full(w->a));
    assert_int_equal(dial_all(w->a), 1);
}

static void test_limit_when_alone(void **state)
{
    struct relay_service service = {0};
    struct relay_conf conf = {.limits.max_connections = LIMIT};
    struct relay r = {.service = &service, .conf = &conf};

    (void)state;
    relay_share_join(&r, &share_ops);
    assert_int_equal(dial_all(&r), LIMIT);
    assert_true(relay_share_is_full(&r));
    assert_false(relay_share_is_over(&r, 1));
    relay_share_wait(&r, true);
    relay_share_leave(&r);
}

static void test_half_for_the_runner(void **state)
{
    struct world *w = *state;

    assert_int_equal(dial_all(w->queue), LIMIT); /* nobody else wants one */
    for (int i = 0; i < LIMIT; i++)
        close_one(w->queue);
    relay_share_wait(w->a, true);
    assert_int_equal(dial_all(w->queue), LIMIT / 2);
    relay_share_wait(w->queue, true); /* this halves nobody */
    assert_int_equal(dial_all(w->a), LIMIT - LIMIT / 2);
    relay_share_wait(w->queue, false);
}

/* ---- who makes way ---- */

static void look(struct relay *r)
{
    r->share.looking.use->reached(&r->share.looking);
}

static void test_shares(void **state)
{
    struct world *w = *state;

    assert_int_equal(dial_all(w->a), LIMIT);
    relay_share_wait(w->b, true);
    assert_false(relay_share_is_over(w->a, 0)); /* it has not looked yet */
    look(w->a);
    assert_int_equal(ways_made, 1);
    assert_int_equal(yielded, 1);
    assert_true(relay_share_is_over(w->a, 0)); /* its share is a half now */
    close_one(w->a);
    assert_true(relay_share_is_over(w->a, 0));
    close_one(w->a);
    assert_false(relay_share_is_over(w->a, 0));
    assert_true(relay_share_is_over(w->a, 1));
    w->a->share.has_turn = true; /* all look at the same time: who comes first */
    assert_false(relay_share_is_over(w->a, 1));
    w->a->share.has_turn = false;
    relay_share_wait(w->b, false);
    look(w->a);
    assert_int_equal(ways_made, 1);
    assert_false(relay_share_is_over(w->a, 1));
}

/* Waiting ourselves makes us give nothing up. */
static void test_own_waiting(void **state)
{
    struct world *w = *state;

    assert_int_equal(dial_all(w->a), LIMIT);
    relay_share_wait(w->a, true);
    relay_share_wait(w->a, true);
    assert_int_equal(sums[RELAY_SHARE_LIVE_WAITS], 1);
    look(w->a);
    assert_int_equal(ways_made + yielded, 0);
    assert_false(relay_share_is_over(w->a, 0));
}

/* Who waits at the limit has it looked at, and others who come meanwhile do not put that off. */
static void test_starving(void **state)
{
    struct world *w = *state;

    looks = 0;
    relay_share_look_later(w->a);
    relay_share_look_later(w->a);
    assert_true(w->a->share.is_starving);
    w->a->share.starving.use->reached(&w->a->share.starving);
    assert_int_equal(looks, 1);
    assert_false(w->a->share.is_starving);
}

static void test_idle_ones_of_all(void **state)
{
    struct world *w = *state;

    w->live.conf.limits.idle_connections = 3;
    w->other.conf.limits.idle_connections = 3;
    w->a->stock.idle_count = 3;
    look(w->a);
    assert_int_equal(w->a->stock.idle_count, 3);
    w->b->stock.idle_count = 3;
    look(w->b);
    assert_int_equal(w->b->stock.idle_count, 1); /* half of them, as all are twice too many */
    look(w->a);
    look(w->a);
    assert_int_equal(w->a->stock.idle_count + w->b->stock.idle_count, 3);
    assert_int_equal(sums[RELAY_SHARE_IDLE], 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_limit_of_all),     TEST(test_limit_when_alone), TEST(test_half_for_the_runner),
        TEST(test_idle_ones_of_all), TEST(test_shares),           TEST(test_own_waiting),
        TEST(test_starving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
