/* SPDX-License-Identifier: BSD-2-Clause */
/* One command from its request to its last line. Steps are taken as the answer is read. */
#include "proxy/control/control_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"

#define ANSWER_STEP_BYTES 32768        /* steps are taken until there are as many */
#define ANSWER_MAX_BYTES  (256U << 20) /* one step may put the whole envelope of a message */
#define ARENA_MAX_BYTES   (64 * 1024)  /* of the words of a request */
#define LOOK_MS           10           /* between two looks whether the queue was read */
#define TEXT_MAX          256

/* ---- the request ---- */

static const struct control_command *find_command(struct bytes name)
{
    for (const struct control_command *command = control_commands; command->name != NULL; command++)
        if (bytes_is(name, command->name))
            return command;
    return NULL;
}

/* NULL or what is wrong. */
static const char *parse(struct bytes request, struct arena *arena,
                         struct control_request *asked_out)
{
    struct control_request asked = {.word_count = 0};
    struct bytes format = text_word(&request);
    struct bytes name = text_word(&request);

    asked.is_json = bytes_is(format, "json");
    if (!asked.is_json && !bytes_is(format, "text"))
        return "not a request";
    asked.command = find_command(name);
    asked.words[0] = name;
    if (asked.command == NULL) {
        *asked_out = asked;
        return "unknown command";
    }
    for (struct bytes word = text_word(&request); word.len != 0; word = text_word(&request)) {
        if (asked.word_count == CONTROL_WORDS_MAX)
            return "too many arguments";
        int error = text_from_xtext(word, arena, &asked.words[asked.word_count++]);
        if (error != 0)
            return error == ERR_MEMORY ? "out of memory" : "not xtext";
    }
    *asked_out = asked;
    if (asked.word_count < asked.command->words_min)
        return "too few arguments";
    if (asked.word_count > asked.command->words_max)
        return "too many arguments";
    return asked.command->check == NULL ? NULL
                                        : asked.command->check(asked.words, asked.word_count);
}

static void put_problem(struct buf *out, const struct control_request *asked, const char *problem)
{
    buf_text(out, problem);
    buf_text(out, ": ");
    if (asked->command != NULL) {
        buf_cat(out, "posternctl ", asked->command->name, " ", asked->command->arguments, NULL);
        return;
    }
    text_put_neutral(out, bytes_first(asked->words[0], TEXT_MAX), byte_is_printable);
    buf_text(out, ", see --help");
}

int control_check(struct bytes request, struct buf *problem)
{
    struct control_request asked = {.command = NULL};
    struct pool pool;
    struct arena arena;

    pool_init(&pool, 1024, 4);
    arena_init(&arena, &pool, ARENA_MAX_BYTES);
    const char *wrong = parse(request, &arena, &asked);
    if (wrong != NULL)
        put_problem(problem, &asked, wrong);
    arena_reset(&arena);
    pool_done(&pool);
    return wrong == NULL ? 0 : EX_USAGE;
}

/* ---- the last line ---- */

static void put_end(struct control_run *run, int code)
{
    if (run->out.has_failed) { /* the lines before this did not fit */
        buf_reset(&run->out);
        code = EX_OSERR;
    }
    run->is_done = true;
    buf_byte(&run->out, '.');
    buf_decimal(&run->out, (uint64_t)code);
}

void control_finish(struct control_run *run, int code, const char *text)
{
    put_end(run, code);
    if (text != NULL)
        buf_cat(&run->out, " ", text, NULL);
    buf_byte(&run->out, '\n');
}

void control_finish_with(struct control_run *run, int code, struct bytes name, const char *text)
{
    put_end(run, code);
    buf_byte(&run->out, ' ');
    text_put_neutral(&run->out, bytes_first(name, TEXT_MAX), byte_is_printable);
    buf_cat(&run->out, ": ", text, "\n", NULL);
}

void control_finish_error(struct control_run *run, struct bytes name, int error)
{
    const char *text = error_text(error);

    switch (error) {
    case -ENOENT:
        control_finish_with(run, EX_NOINPUT, name, "no such message");
        return;
    case -EAGAIN:
        control_finish_with(run, EX_TEMPFAIL, name, "is being delivered, try again");
        return;
    case -EHOSTUNREACH:
        control_finish_with(run, EX_UNAVAILABLE, name, "the tables lead to no target");
        return;
    case -EADDRNOTAVAIL:
        control_finish_with(run, EX_UNAVAILABLE, name, "there is nobody who could be told");
        return;
    }
    if (store_is_damaged(error)) {
        control_finish_with(run, EX_DATAERR, name, store_damage(error));
        return;
    }
    control_finish_with(run, error == -EACCES || error == -EPERM ? EX_NOPERM : EX_OSERR, name,
                        text != NULL ? text : strerror(-error));
}

/* ---- life ---- */

static void free_run(struct control_run *run)
{
    deadline_clear(run->services->loop, &run->deadline);
    mem_free(run->content.at);
    mem_free(run->ids.at);
    mem_free(run->oldest.at);
    mem_free(run->shape.at);
    buf_done(&run->out);
    arena_reset(&run->arena);
    mem_free(run);
}

static void tell_news(void *owner)
{
    struct control_run *run = owner;
    run->reader.news(run->reader.owner);
}

void control_news(struct control_run *run)
{
    if (!run->is_orphan)
        loop_post(run->services->loop, &run->reader.post, tell_news, run);
}

void control_wake(struct control_run *run)
{
    run->is_waiting = false;
    if (run->is_orphan)
        free_run(run);
    else
        control_news(run);
}

static bool is_read(const struct control_run *run)
{
    return runner_is_loaded(run->runner) && runner_knows(run->runner, run->arrivals);
}

static void look_whether_read(struct control_run *run)
{
    if (is_read(run))
        control_wake(run);
    else
        deadline_set(run->services->loop, &run->deadline,
                     loop_now_ms(run->services->loop) + LOOK_MS);
}

static void on_deadline(struct deadline *deadline)
{
    look_whether_read(CONTAINER_OF(deadline, struct control_run, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static void begin(struct control_run *run, struct bytes request)
{
    struct control_request asked = {.command = NULL};
    int error = arena_copy(&run->arena, request, &request); /* the words point into it */
    const char *wrong = error != 0 ? "out of memory" : parse(request, &run->arena, &asked);

    if (wrong != NULL) {
        put_end(run, EX_USAGE);
        buf_byte(&run->out, ' ');
        put_problem(&run->out, &asked, wrong);
        buf_byte(&run->out, '\n');
        return;
    }
    run->asked = asked;
    run->runner = run->services->runner;
    if (run->runner == NULL) {
        control_finish(run, EX_UNAVAILABLE, "there is no queue here");
        return;
    }
    run->arrivals = runner_arrivals(run->runner);
    if (run->asked.command->needs == CONTROL_NEEDS_QUEUE && !is_read(run)) {
        run->is_waiting = true;
        look_whether_read(run);
    }
}

/* ---- the ids of the queue ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct id));
}

/* On a pool thread, since a million ids take their time. */
static void sort_ids(struct work *work)
{
    struct control_ids *ids = CONTAINER_OF(work, struct control_ids, work);

    if (ids->count != 0)
        qsort(ids->at, ids->count, sizeof(*ids->at), compare_ids);
}

static void on_sorted(struct work *work)
{
    control_wake(CONTAINER_OF(work, struct control_run, ids.work));
}

static bool is_meant(const struct runner *r, const struct control_ids *ids,
                     const struct list *entries)
{
    LIST_EACH (link, entries) {
        const struct schedule_entry *entry = LIST_ENTRY(link, struct schedule_entry, in_message);
        if (ids->target.len == 0 || runner_is_at(r, entry, ids->target))
            return true;
    }
    return false;
}

static void collect(struct runner_walk *walk, const struct list *entries)
{
    struct control_ids *ids = CONTAINER_OF(walk, struct control_ids, walk);

    if (ids->has_failed || !is_meant(walk->runner, ids, entries))
        return;
    struct id *grown = mem_make_room(ids->at, ids->count, &ids->capacity, sizeof(*grown));
    ids->has_failed = grown == NULL;
    if (grown == NULL)
        return;
    ids->at = grown;
    ids->at[ids->count++] = LIST_ENTRY(entries->next, struct schedule_entry, in_message)->id;
}

static void on_collected(struct runner_walk *walk)
{
    struct control_run *run = CONTAINER_OF(walk, struct control_run, ids.walk);

    run->ids.work = (struct work){.run = sort_ids, .done = on_sorted};
    if (!run->ids.has_failed && work_run(run->services->loop, &run->ids.work) == 0)
        return;
    control_finish(run, EX_OSERR, "out of memory");
    control_wake(run);
}

void control_collect(struct control_run *run, struct bytes target)
{
    run->ids.target = target;
    run->ids.walk = (struct runner_walk){.meet = collect, .done = on_collected};
    run->is_waiting = true;
    runner_walk(run->runner, &run->ids.walk);
}

struct schedule_target *control_find_queue(const struct control_run *run, struct bytes name)
{
    struct schedule *schedule = runner_schedule(run->runner);
    struct schedule_target *target = schedule == NULL ? NULL : schedule_next_target(schedule, NULL);

    while (target != NULL && !bytes_equal(schedule_target_name(target), name))
        target = schedule_next_target(schedule, target);
    return target;
}

/* ---- for the caller ---- */

struct control_run *control_begin(struct services *services, struct bytes request,
                                  void (*news)(void *owner), void *owner)
{
    struct control_run *run = mem_zalloc(sizeof(*run));

    if (run == NULL)
        return NULL;
    run->services = services;
    run->reader = (struct control_reader){.news = news, .owner = owner};
    arena_init(&run->arena, &loop_pools(services->loop)->small, ARENA_MAX_BYTES);
    buf_init(&run->out, &loop_pools(services->loop)->medium, ANSWER_MAX_BYTES);
    deadline_init(&run->deadline, &deadline_use);
    begin(run, request);
    return run;
}

struct bytes control_answer(struct control_run *run)
{
    while (!run->is_done && !run->is_waiting && buf_length(&run->out) < ANSWER_STEP_BYTES &&
           !run->out.has_failed)
        run->asked.command->step(run);
    if (run->out.has_failed)
        control_finish(run, EX_OSERR, "out of memory");
    return buf_bytes(&run->out);
}

void control_told(struct control_run *run, size_t octets)
{
    buf_consume(&run->out, octets);
}

bool control_is_over(const struct control_run *run)
{
    return run->is_done && buf_length(&run->out) == 0;
}

void control_end(struct control_run **run)
{
    struct control_run *ended = *run;

    *run = NULL;
    loop_unpost(ended->services->loop, &ended->reader.post);
    if (ended->is_waiting && ended->has_begun)
        ended->is_orphan = true;
    else
        free_run(ended);
}
