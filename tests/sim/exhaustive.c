/* SPDX-License-Identifier: BSD-2-Clause */
/* All ways through an operation: where it ends, what is left of it, and what the next process makes
 * of that. */
#include "tests/sim/exhaustive.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/stage.h"

#define DIGITS_MAX       64
#define COMBINATIONS_MAX 20000 /* of one cut point */

/* ---- all combinations of what can be chosen ---- */

/* Counts them: the nth choice of a way is its nth digit. */
struct odometer {
    uint8_t digit[DIGITS_MAX], ways[DIGITS_MAX];
    unsigned count, at;
};

static unsigned turn(void *owner, unsigned ways)
{
    struct odometer *o = owner;

    if (o->at == DIGITS_MAX)
        sim_fault("too much to choose");
    if (o->at == o->count) {
        o->digit[o->count] = 0;
        o->ways[o->count++] = (uint8_t)ways;
    }
    return o->digit[o->at++];
}

/* False: that was the last combination. */
static bool turn_on(struct odometer *o)
{
    o->at = 0;
    while (o->count > 0) {
        if (++o->digit[o->count - 1] < o->ways[o->count - 1])
            return true;
        o->count--;
    }
    return false;
}

static unsigned keep(void *owner, unsigned ways)
{
    (void)owner;
    (void)ways;
    return 0;
}

/* ---- states that were seen ---- */

struct states {
    uint64_t *at; /* 0: free */
    size_t count, capacity;
};

static bool put_state(struct states *s, uint64_t key)
{
    size_t slot = (size_t)(key & (s->capacity - 1));

    while (s->at[slot] != 0 && s->at[slot] != key)
        slot = (slot + 1) & (s->capacity - 1);
    if (s->at[slot] == key)
        return false;
    s->at[slot] = key;
    s->count++;
    return true;
}

/* False: it is known. */
static bool is_new_state(struct states *s, uint64_t key)
{
    struct states old = *s;

    if (old.count * 2 >= old.capacity) {
        s->capacity = old.capacity == 0 ? 1024 : 2 * old.capacity;
        s->count = 0;
        s->at = sim_alloc(s->capacity * sizeof(*s->at));
        for (size_t i = 0; i < old.capacity; i++)
            if (old.at[i] != 0)
                put_state(s, old.at[i]);
        free(old.at);
    }
    return put_state(s, key | 1);
}

/* ---- one way ---- */

struct way {
    const struct operation *operation;
    const struct exhaustive_part *part;
    struct exhaustive_counts *counts;
    struct config *config;
    struct sim_moment *before; /* the operation */
    struct book book;
    struct states states;
    enum { CALL_NEVER_COMES, CALL_FAILS, CALL_HANGS } what;
    uint64_t call; /* the first that never comes; or the one that fails or hangs */
    int error;     /* it fails with that */
    struct odometer syncs, cut;
};

static void print_digits(const char *what, const struct odometer *o)
{
    printf("%s", what);
    for (unsigned i = 0; i < o->count; i++)
        printf(" %u/%u", o->digit[i], o->ways[i]);
}

static void tell(struct way *y, const struct book *book, const char *what, struct sim *w)
{
    struct bytes log = sim_log(w);
    const char *const words[] = {[CALL_NEVER_COMES] = "never comes",
                                 [CALL_FAILS] = strerror(-y->error),
                                 [CALL_HANGS] = "hangs while another process lives"};

    y->counts->failed++;
    printf("%s: call %llu %s, %s", y->operation->name, (unsigned long long)y->call, words[y->what],
           what);
    if (y->syncs.count > 0)
        print_digits(", failed syncs", &y->syncs);
    if (y->cut.count > 0)
        print_digits(", left", &y->cut);
    printf(": %s\n", book->problem);
    if (y->part->is_loud)
        printf("%.*s", (int)log.len, (const char *)log.at);
}

static bool is_enough(const struct way *y)
{
    return y->part->stops && y->counts->failed > 0;
}

static const struct life kind_life = {.seconds = 1, .targets = TARGETS_KIND};
static const struct life strict_life = {.seconds = 3, .targets = TARGETS_STRICT};

static unsigned lose(void *owner, unsigned ways)
{
    (void)owner;
    (void)ways;
    return 1;
}

/* The next process finds what is there, and targets that take everything. */
static void end_well(struct way *y, struct sim *w, struct book *book, const char *what)
{
    if (book->problem[0] == '\0' && !play_life(w, y->config, y->operation, &kind_life, book))
        book_fail(book, "the next process does not end");
    if (book->problem[0] == '\0')
        book_close(book, w, y->operation);
    if (book->problem[0] != '\0')
        tell(y, book, what, w);
}

/* The next process goes on with the same targets as before, and then nothing stays that it has not
 * synced. */
static void try_again(struct way *y, const struct sim_moment *m, const struct book *found,
                      const char *what)
{
    struct sim *w = sim_new_at(m);
    struct book book = *found;
    struct sim_moment *later;

    if (!play_life(w, y->config, y->operation, &strict_life, &book))
        book_fail(&book, "the next process does not end");
    book_death(&book, w, true);
    sim_set_choice(w, lose, NULL);
    sim_power_cut(w);
    sim_set_choice(w, NULL, NULL);
    later = sim_moment_of(w);
    sim_free(&w);
    w = sim_new_at(later);
    sim_moment_free(&later);
    end_well(y, w, &book, what);
    sim_free(&w);
}

/* What is there is given to two processes, each of which is the next. */
static void recover(struct way *y, struct sim *w, struct book *book, const char *what)
{
    struct sim_moment *m = sim_moment_of(w);
    struct book found;

    book_look(book, w, y->operation);
    found = *book;
    y->counts->states++;
    end_well(y, w, book, what);
    if (book->problem[0] == '\0')
        try_again(y, m, &found, what);
    sim_moment_free(&m);
}

/* The process alone is no more. */
static void leave(struct way *y, const struct sim_moment *m, const struct book *told)
{
    struct sim *w = sim_new_at(m);
    struct book book = *told;

    y->cut.count = 0;
    book_death(&book, w, false);
    recover(y, w, &book, "the process dies");
    sim_free(&w);
}

/* One subset of what was not synced. */
static void cut_once(struct way *y, const struct sim_moment *m, const struct book *told)
{
    struct sim *w = sim_new_at(m);
    struct book book = *told;

    book_death(&book, w, true);
    sim_set_choice(w, turn, &y->cut);
    sim_power_cut(w);
    sim_set_choice(w, NULL, NULL);
    y->counts->combinations++;
    if (is_new_state(&y->states, sim_disk_hash(w) ^ book_hash(&book) * 3))
        recover(y, w, &book, "the power fails");
    sim_free(&w);
}

static void cut(struct way *y, const struct sim_moment *m, const struct book *told)
{
    uint64_t first = y->counts->combinations;

    y->cut = (struct odometer){.count = 0};
    do {
        cut_once(y, m, told);
    } while (turn_on(&y->cut) && !is_enough(y) &&
             y->counts->combinations - first < COMBINATIONS_MAX);
    y->counts->limited += y->counts->combinations - first == COMBINATIONS_MAX;
}

/* ---- where it ends ---- */

/* Plays the operation up to there, and leaves it in all ways. False: that call never comes. */
static bool play_once(struct way *y)
{
    struct sim *w = sim_new_at(y->before);
    struct book book = y->book;
    struct sim_moment *m;
    bool has_ended, has_failed;

    if (y->what == CALL_NEVER_COMES)
        sim_kill_at_call(w, y->call);
    else if (y->what == CALL_FAILS)
        sim_disk_fail_call(w, y->call, y->error);
    else
        sim_hang_at_call(w, y->call);
    sim_set_choice(w, turn, &y->syncs);
    has_ended = play_life(w, y->config, y->operation, &y->operation->life, &book);
    has_failed = sim_disk_failures(w) > 0;
    if (book.problem[0] != '\0')
        tell(y, &book, "it goes on", w);
    sim_disk_fail_call(w, 0, 0);
    m = sim_moment_of(w);
    sim_free(&w);
    if (book.problem[0] == '\0' && (y->what != CALL_FAILS || has_failed)) {
        leave(y, m, &book);
        if (y->what != CALL_HANGS)
            cut(y, m, &book);
    }
    sim_moment_free(&m);
    return y->what == CALL_FAILS ? has_failed : !has_ended;
}

static bool is_part(const struct way *y)
{
    return y->call % y->part->one_of == y->part->first % y->part->one_of;
}

static void play_deaths(struct way *y)
{
    bool goes_on = true;

    y->what = CALL_NEVER_COMES;
    for (y->call = 1; goes_on && !is_enough(y); y->call++) {
        y->syncs = (struct odometer){.count = 0};
        if (is_part(y)) {
            y->counts->deaths++;
            goes_on = play_once(y);
        }
    }
}

/* A read does not fail for want of room, and a later call may: `calls` is where it ends. */
static void play_failures(struct way *y, int error, uint64_t calls)
{
    y->what = CALL_FAILS;
    y->error = error;
    for (y->call = 1; y->call <= calls && !is_enough(y); y->call++) {
        if (!is_part(y))
            continue;
        y->syncs = (struct odometer){.count = 0};
        do {
            y->counts->failures += y->syncs.count == 0 && play_once(y);
        } while (turn_on(&y->syncs) && !is_enough(y));
    }
}

/* A process that does the same comes before that call, and has ended before it is done. */
static void play_meetings(struct way *y, uint64_t calls)
{
    y->what = CALL_HANGS;
    y->syncs = (struct odometer){.count = 0};
    for (y->call = 1; y->call <= calls && !is_enough(y); y->call++) {
        if (!is_part(y))
            continue;
        y->counts->meetings++;
        play_once(y);
    }
}

/* ---- what comes before ---- */

static struct config *config_of(const struct operation *o)
{
    char text[1000];

    snprintf(text, sizeof(text),
             "copy-memory = 64k\npostmaster = nobody@a.test\n%s"
             "[smtpd \"mx.test\"]\nlisten-port = 192.0.2.1:25\nannounce = DSN\n"
             "[relay \"a\"]\naddress = 198.51.100.1:25\nretry = 1m 1h\nexpire = 6h\n"
             "[relay \"b\"]\naddress = 198.51.100.2:25\nretry = 1m 1h\nexpire = 6h\n"
             "[maildir \"box\"]\npath = /mail/${RCPT_DOMAIN}/${RCPT_LOCAL}\n"
             "[route]\n@a.test a\n@b.test b\n@client.test a\n@box.test box\n",
             o->settings == NULL ? "" : o->settings);
    return stage_config(text);
}

/* All that was done to the disk is durable. */
static struct sim *settle(struct sim *w, const struct life *next)
{
    if (next->touch != NULL)
        next->touch(w);
    sim_set_choice(w, keep, NULL);
    sim_power_cut(w);
    sim_set_choice(w, NULL, NULL);
    return w;
}

static void begin(struct way *y)
{
    struct sim *w = sim_new(1);

    if (y->operation->file_system == FS_WITHOUT_UNNAMED)
        sim_disk_without_unnamed(w);
    sim_disk_set_old(w, y->operation->file_system == FS_WITHOUT_MOVE);
    for (unsigned i = 0; i < OPERATION_BEFORE && y->operation->before[i].seconds > 0; i++) {
        const struct life *life = &y->operation->before[i];
        sim_kill_at_call(settle(w, life), life->killed_at_call);
        play_life(w, y->config, y->operation, life, &y->book);
        book_death(&y->book, w, false);
        y->before = sim_moment_of(w);
        sim_free(&w);
        w = sim_new_at(y->before); /* nobody who was connected is there any more */
        sim_moment_free(&y->before);
    }
    for (unsigned i = 0; i < y->book.message_count; i++)
        if (!y->book.messages[i].is_acknowledged)
            sim_fault("a message was not taken over");
    y->book.is_duty_done = false;
    y->before = sim_moment_of(settle(w, &y->operation->life));
    sim_free(&w);
}

/* How many calls it makes when nothing goes wrong. */
static uint64_t count_calls(struct way *y)
{
    uint64_t calls = 0;
    bool has_ended = false;

    while (!has_ended) {
        struct sim *w = sim_new_at(y->before);
        struct book book = y->book;
        sim_kill_at_call(w, ++calls);
        has_ended = play_life(w, y->config, y->operation, &y->operation->life, &book);
        sim_free(&w);
    }
    return calls - 1;
}

unsigned exhaustive_count(void)
{
    return exhaustive_operation_count;
}

const char *exhaustive_name(unsigned operation)
{
    return exhaustive_operations[operation].name;
}

void exhaustive_run(unsigned operation, const struct exhaustive_part *part,
                    struct exhaustive_counts *counts)
{
    struct way y = {.operation = &exhaustive_operations[operation], .part = part, .counts = counts};

    y.config = config_of(y.operation);
    if (y.config == NULL)
        sim_fault("a configuration has errors");
    begin(&y);
    uint64_t calls = count_calls(&y);
    play_deaths(&y);
    play_failures(&y, -EIO, calls);
    play_failures(&y, -ENOSPC, calls);
    play_meetings(&y, calls);
    sim_moment_free(&y.before);
    free(y.states.at);
    config_free(&y.config);
}
