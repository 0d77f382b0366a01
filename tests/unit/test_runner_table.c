/* SPDX-License-Identifier: BSD-2-Clause */
/* Many messages that are known: each is found, walks meet each once, and no turn of the loop is
 * long. */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/id.h"
#include "proxy/base/mem.h"
#include "spool/runner_private.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define MESSAGES 20000
#define TURN_MAX 2000 /* so many are looked at by one turn, at most */

/* ---- a runner that delivers nothing, and what it knows ---- */

struct scene {
    struct sim *sim;
    struct loop *loop;
    struct log *log;
    struct store *store;
    struct runner *runner;
    struct id_source ids;
    struct id known[MESSAGES];
    size_t count;
    struct loop_post post; /* of the test's next step */
    struct loop_post tick;
    unsigned turns; /* of the loop, so far */
    bool ticks;
};

static const uint64_t retry_ms[] = {300000};
static const struct target_queue target_queue = {
    .retry_ms = retry_ms, .retry_count = 1, .expire_ms = 86400000, .connections_max = 8};
static const struct target_ops target_ops = {.probe = NULL};
static struct target target = {.ops = &target_ops, .queue = &target_queue};

static struct target *find_target(void *owner, struct bytes name)
{
    (void)owner;
    target.name = name;
    return &target;
}

static struct bytes find_queue(void *owner, struct bytes name, uint64_t mailbox)
{
    (void)owner;
    (void)mailbox;
    return name;
}

static struct id next_id(void *owner)
{
    struct scene *s = owner;
    return id_next(&s->ids, 1700000000000);
}

static void on_stopped(void *owner)
{
    struct scene *s = owner;

    s->ticks = false;
    store_close(s->store);
    loop_unpost(s->loop, &s->tick);
    loop_stop(s->loop);
}

static void begin(struct scene *s)
{
    struct log_sink sink = {.kind = LOG_TO_STDERR};
    int error = 0;

    s->sim = sim_new(1);
    s->ids.process = 77;
    s->loop = loop_new();
    s->log = log_new(s->loop, &sink, 1, false, &error);
    assert_int_equal(error, 0);
    s->store = store_open(s->loop, bytes_of("/spool"), NULL, &error);
    assert_int_equal(error, 0);
    s->runner = runner_new(&(struct runner_host){.owner = s,
                                                 .loop = s->loop,
                                                 .log = s->log,
                                                 .log_sinks = 1,
                                                 .store = s->store,
                                                 .is_cold = true,
                                                 .find_target = find_target,
                                                 .find_queue = find_queue,
                                                 .next_id = next_id});
}

static void end(struct scene *s)
{
    runner_free(&s->runner);
    store_free(&s->store);
    log_free(&s->log);
    loop_free(&s->loop);
    sim_free(&s->sim);
    free(s);
}

static void add(struct scene *s)
{
    struct id id = next_id(s);
    struct store_place place = {.id = id, .directory = 1, .folder = STORE_QUEUE};
    struct spool_recipient recipient = {.target = bytes_of("a"),
                                        .original.domain = bytes_of("a.test"),
                                        .to.domain = bytes_of("a.test")};
    struct spool_message message = {.head.id = id,
                                    .arrived_ms = sim_wall_ms(s->sim),
                                    .recipients = &recipient,
                                    .recipient_count = 1};

    assert_true(runner_learn(s->runner, &place, &message));
    s->known[s->count++] = id;
}

static void on_tick(void *owner)
{
    struct scene *s = owner;

    s->turns++;
    if (s->ticks)
        loop_post(s->loop, &s->tick, on_tick, s);
}

static void run(struct scene *s, void (*step)(void *owner))
{
    s->ticks = true;
    loop_post(s->loop, &s->tick, on_tick, s);
    loop_post(s->loop, &s->post, step, s);
    assert_int_equal(loop_run(s->loop), 0);
}

/* ---- each is found ---- */

static void is_found_while_it_grows(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    (void)state;
    begin(s);
    for (size_t i = 0; i < MESSAGES; i++) {
        add(s);
        if (i % 997 != 0)
            continue;
        for (size_t k = 0; k <= i; k++)
            assert_non_null(runner_find(s->runner, &s->known[k]));
    }
    for (size_t i = 0; i < MESSAGES; i += 3)
        runner_forget(s->runner, runner_find(s->runner, &s->known[i]));
    for (size_t i = 0; i < MESSAGES; i++)
        assert_true((runner_find(s->runner, &s->known[i]) == NULL) == (i % 3 == 0));
    runner_stop(s->runner, on_stopped);
    assert_int_equal(loop_run(s->loop), 0);
    end(s);
}

/* ---- walks ---- */

struct walker {
    struct runner_walk walk;
    struct scene *scene;
    uint8_t met[MESSAGES];
    size_t in_turn, most_in_turn; /* messages of one turn */
    unsigned turn;
};

static size_t number_of(const struct scene *s, const struct id *id)
{
    size_t first = 0, last = s->count; /* ids go up */

    while (first + 1 < last) {
        size_t middle = (first + last) / 2;
        if (memcmp(s->known[middle].text, id->text, ID_LENGTH) <= 0)
            first = middle;
        else
            last = middle;
    }
    return first;
}

static void meet(struct runner_walk *walk, const struct list *entries)
{
    struct walker *w = CONTAINER_OF(walk, struct walker, walk);
    const struct schedule_entry *e = LIST_ENTRY(entries->next, struct schedule_entry, in_message);

    if (w->turn != w->scene->turns)
        w->in_turn = 0;
    w->turn = w->scene->turns;
    if (++w->in_turn > w->most_in_turn)
        w->most_in_turn = w->in_turn;
    w->met[number_of(w->scene, &e->id)]++;
    if (w->scene->count < MESSAGES) /* it grows meanwhile */
        add(w->scene);
}

static void on_walked(struct runner_walk *walk)
{
    struct walker *w = CONTAINER_OF(walk, struct walker, walk);
    runner_stop(w->scene->runner, on_stopped);
}

static struct walker *walker;

static void start_walk(void *owner)
{
    struct scene *s = owner;

    walker->scene = s;
    walker->walk = (struct runner_walk){.meet = meet, .done = on_walked};
    runner_walk(s->runner, &walker->walk);
}

static void meets_each_once(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    (void)state;
    walker = calloc(1, sizeof(*walker));
    begin(s);
    while (s->count < MESSAGES / 2)
        add(s);
    run(s, start_walk);
    for (size_t i = 0; i < s->count; i++)
        assert_in_range(walker->met[i], i < MESSAGES / 2 ? 1 : 0, 1);
    assert_in_range(walker->most_in_turn, 1, TURN_MAX);
    free(walker);
    end(s);
}

/* ---- flush ---- */

struct flusher {
    struct runner_flush flush;
    struct scene *scene;
    unsigned began;
};

static struct flusher flusher;

static void on_flushed(struct runner_flush *f)
{
    assert_int_equal(f->waiting, MESSAGES);
    assert_in_range(flusher.scene->turns - flusher.began, MESSAGES / TURN_MAX, MESSAGES);
    runner_stop(flusher.scene->runner, on_stopped);
}

static void start_flush(void *owner)
{
    flusher.scene = owner;
    flusher.began = flusher.scene->turns;
    flusher.flush = (struct runner_flush){
        .which = {.by = RUNNER_DOMAIN, .text = bytes_of("a.test")}, .done = on_flushed};
    runner_flush(flusher.scene->runner, &flusher.flush);
}

static void flushes_in_many_turns(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    (void)state;
    begin(s);
    while (s->count < MESSAGES)
        add(s);
    run(s, start_flush);
    end(s);
}

/* What was listed and is known already. */
static void look_through(void *owner)
{
    struct scene *s = owner;
    struct runner_load *load = &s->runner->load;

    if (!load->is_loaded || load->is_listing) {
        loop_post(s->loop, &s->post, look_through, s);
        return;
    }
    load->found.at = mem_alloc(MESSAGES * sizeof(*load->found.at));
    load->found.count = load->found.capacity = MESSAGES;
    for (size_t i = 0; i < MESSAGES; i++)
        load->found.at[i] = runner_find(s->runner, &s->known[i])->place;
    runner_load_pump(s->runner);
    assert_true(load->found.count - load->found.first >= MESSAGES / 2);
    runner_stop(s->runner, on_stopped);
}

static void looks_through_a_listing_in_many_turns(void **state)
{
    struct scene *s = calloc(1, sizeof(*s));

    (void)state;
    begin(s);
    while (s->count < MESSAGES)
        add(s);
    run(s, look_through);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_found_while_it_grows),
        cmocka_unit_test(meets_each_once),
        cmocka_unit_test(flushes_in_many_turns),
        cmocka_unit_test(looks_through_a_listing_in_many_turns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
