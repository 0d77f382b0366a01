/* SPDX-License-Identifier: BSD-2-Clause */
/* The simulator's processes side by side, and their jobs: what interleaves, hangs, and dies. */
/* needs: sim */
#include <errno.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/io/channel.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"
#include "tests/sim/sim.h"
#include "tests/unit/lib.h"

#define JOBS  12
#define SEEDS 50
#define CALLS 4

/* What a job does, call by call, in the order of all that happens. */
struct book {
    char text[JOBS * CALLS + 1];
    size_t len;
};

struct task {
    struct work work;
    struct player *player;
    char letter;
};

struct player {
    struct sim_process *process;
    struct loop *loop;
    struct book *book;
    struct task tasks[JOBS];
    unsigned count, done;
    pid_t pid;
    bool has_ended;
    struct sim_process_end end;
};

static void run_task(struct work *w)
{
    struct task *t = CONTAINER_OF(w, struct task, work);
    struct disk_facts facts;

    for (int i = 0; i < CALLS; i++) {
        disk_facts_of_path("/d", &facts);
        t->player->book->text[t->player->book->len++] = t->letter;
    }
}

static void task_done(struct work *w)
{
    struct task *t = CONTAINER_OF(w, struct task, work);

    if (++t->player->done == t->player->count)
        loop_stop(t->player->loop);
}

static int play(void *owner)
{
    struct player *p = owner;

    p->pid = getpid();
    p->loop = loop_new();
    assert_non_null(p->loop);
    for (unsigned i = 0; i < p->count; i++) {
        p->tasks[i] = (struct task){.work = {.run = run_task, .done = task_done},
                                    .player = p,
                                    .letter = (char)(p->tasks[i].letter + (char)i)};
        assert_int_equal(work_run(p->loop, &p->tasks[i].work), 0);
    }
    assert_int_equal(loop_run(p->loop), 0);
    loop_free(&p->loop);
    return 0;
}

static void on_end(void *owner, const struct sim_process_end *end)
{
    struct player *p = owner;

    assert_ptr_equal(p->process, end->process);
    p->has_ended = true;
    p->end = *end;
    sim_stop(sim_current());
}

static void start(struct sim *w, struct player *p, struct book *book, unsigned count, char letter)
{
    *p = (struct player){.book = book, .count = count};
    for (unsigned i = 0; i < count; i++)
        p->tasks[i].letter = letter;
    p->process = sim_process_start(w, play, p, on_end);
}

static int prepare(void *owner)
{
    (void)owner;
    return disk_make_directories("/d");
}

static struct sim *world_of(uint64_t seed, bool interleaves)
{
    struct sim_ways ways = {.shuffles = true, .interleaves = interleaves, .slow_ms = 5};
    struct sim *w = sim_new(seed);
    int code;

    assert_true(sim_process(w, prepare, NULL, &code));
    sim_set_ways(w, &ways);
    return w;
}

/* ---- jobs ---- */

/* How often another one goes on. */
static unsigned turns_of(const struct book *b)
{
    unsigned turns = 0;

    for (size_t i = 1; i < b->len; i++)
        turns += b->text[i] != b->text[i - 1];
    return turns;
}

static void interleaves_call_by_call(void **state)
{
    unsigned most = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim *w = world_of(seed, true);
        struct book book = {.len = 0};
        struct player p;
        start(w, &p, &book, 2, 'a');
        sim_run(w);
        assert_true(p.has_ended && !p.end.is_killed);
        assert_int_equal(book.len, 2 * CALLS);
        most = turns_of(&book) > most ? turns_of(&book) : most;
        sim_free(&w);
    }
    assert_true(most > 3);
}

static void runs_through_without_that(void **state)
{
    struct sim *w = world_of(1, false);
    struct book book = {.len = 0};
    struct player p;

    (void)state;
    start(w, &p, &book, JOBS, 'a');
    sim_run(w);
    assert_int_equal(book.len, JOBS * CALLS);
    assert_int_equal(turns_of(&book), JOBS - 1);
    sim_free(&w);
}

/* ---- processes ---- */

static void run_side_by_side(void **state)
{
    struct sim *w = world_of(1, true);
    struct book book = {.len = 0};
    struct player one, other;

    (void)state;
    start(w, &one, &book, JOBS / 2, 'a');
    start(w, &other, &book, JOBS / 2, 'A');
    while (!one.has_ended || !other.has_ended)
        sim_run(w);
    assert_true(one.pid != other.pid);
    assert_int_equal(book.len, JOBS * CALLS);
    assert_true(turns_of(&book) > JOBS);
    sim_free(&w);
}

static void hangs_in_the_way_of_others(void **state)
{
    struct sim *w = world_of(1, false);
    struct book book = {.len = 0};
    struct player p;

    (void)state;
    assert_false(sim_disk_hang(w, "/nothing"));
    assert_true(sim_disk_hang(w, "/d"));
    start(w, &p, &book, JOBS, 'a');
    sim_run_for(w, 1000);
    assert_int_equal(p.done, 0);
    sim_disk_go_on(w);
    sim_run(w);
    assert_int_equal(p.done, JOBS);
    sim_free(&w);
}

/* The other one has all that is its own. */
static void dies_alone(void **state)
{
    struct sim *w = world_of(1, true);
    struct book book = {.len = 0};
    struct player one, other;

    (void)state;
    sim_disk_hang(w, "/d");
    start(w, &one, &book, JOBS / 2, 'a');
    start(w, &other, &book, JOBS / 2, 'A');
    sim_process_kill(one.process);
    sim_disk_go_on(w);
    while (!one.has_ended || !other.has_ended)
        sim_run(w);
    assert_true(one.end.is_killed);
    assert_false(other.end.is_killed);
    assert_int_equal(one.done, 0);
    assert_int_equal(other.done, JOBS / 2);
    sim_free(&w);
}

struct locker {
    bool holds, has_ended;
    int code;
};

static int lock_it(void *owner)
{
    const struct locker *l = owner;
    int fd = disk_create("/d/f"), error;

    if (fd < 0)
        fd = disk_open_append("/d/f");
    assert_true(fd >= 0);
    error = disk_lock(fd);
    while (error == 0 && l->holds)
        disk_sync(fd);
    disk_close(fd);
    return -error;
}

static void locker_ended(void *owner, const struct sim_process_end *end)
{
    struct locker *l = owner;

    l->has_ended = true;
    l->code = end->code;
    sim_stop(sim_current());
}

static void exclude_each_other(void **state)
{
    struct sim *w = world_of(1, true);
    struct locker one = {.holds = true}, other = {.holds = false};

    (void)state;
    sim_process_start(w, lock_it, &one, locker_ended);
    sim_run_for(w, 200);
    sim_process_start(w, lock_it, &other, locker_ended);
    sim_run(w);
    assert_true(other.has_ended && !one.has_ended);
    assert_int_equal(other.code, EAGAIN);
    one.holds = false;
    sim_run(w);
    assert_int_equal(one.code, 0);
    sim_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interleaves_call_by_call),
        cmocka_unit_test(runs_through_without_that),
        cmocka_unit_test(run_side_by_side),
        cmocka_unit_test(hangs_in_the_way_of_others),
        cmocka_unit_test(dies_alone),
        cmocka_unit_test(exclude_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
