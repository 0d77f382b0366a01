/* SPDX-License-Identifier: BSD-2-Clause */
/* The schedule: who is tried when, told as small scripts. */
#include "spool/spool_schedule.h"

#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "tests/unit/lib.h"

#define BEGIN_S 1000000
#define NAMES   26
#define SLOTS   400

/* A schedule, its time, and its entries by their letters. */
struct scene {
    struct schedule *schedule;
    struct schedule_target *target;
    struct schedule_entry *entries[NAMES];
    int64_t now_s;
    struct lib_text seen;
};

static const uint64_t retry_ms[] = {300000, 600000, 3600000};
static const struct schedule_policy policy = {
    .retry_ms = retry_ms, .retry_count = 3, .expire_ms = 86400000, .connections_max = 8};

static struct scene *open_scene(void)
{
    struct scene *s = calloc(1, sizeof(*s));

    s->schedule = schedule_new((struct hash_key){{1, 2}}, SLOTS);
    s->target = schedule_target_of(s->schedule, bytes_of("t"));
    schedule_set_policy(s->target, &policy);
    s->now_s = BEGIN_S;
    return s;
}

static void close_scene(struct scene *s)
{
    schedule_free(&s->schedule);
    free(s);
}

static struct schedule_entry **slot(struct scene *s, char name)
{
    return &s->entries[name - 'a'];
}

static void add(struct scene *s, char name, char sender, bool is_held)
{
    struct schedule_entry e = {
        .sender = (uint32_t)sender,
        .arrived_s = s->now_s,
        .look_s = INT64_MAX,
        .expires_s = INT64_MAX,
        .recipient_count = 1,
        .is_held = is_held,
    };

    e.id.text[0] = name;
    *slot(s, name) = schedule_add(s->target, &e);
}

static bool take(struct scene *s)
{
    struct schedule_entry *e = schedule_take(s->schedule, s->now_s);

    if (e == NULL)
        return false;
    lib_put(&s->seen, "%s%c", e->is_look ? "*" : "", e->id.text[0]);
    return true;
}

static void report(struct scene *s, char name, enum schedule_result result)
{
    schedule_report(*slot(s, name), result, s->now_s);
    if (result != SCHEDULE_DONE)
        return;
    schedule_remove(*slot(s, name));
    *slot(s, name) = NULL;
}

/* As the runner does where a message was moved to hold/, or out of it. */
static void again(struct scene *s, char name, bool is_held)
{
    struct schedule_entry e = **slot(s, name);

    e.is_held = is_held;
    schedule_remove(*slot(s, name));
    *slot(s, name) = schedule_add(s->target, &e);
}

static void put_counts(struct scene *s)
{
    struct schedule_counts c = schedule_count(s->target);

    lib_put(&s->seen, "[%d/%d/%d c%d%s]", (int)c.messages, (int)c.running, (int)c.held,
            (int)c.concurrency, schedule_is_down(s->target) ? " down" : "");
}

static void put_wake(struct scene *s)
{
    int64_t wake_s = schedule_wake_s(s->schedule);

    if (wake_s == INT64_MAX)
        lib_put(&s->seen, "(never)");
    else
        lib_put(&s->seen, "(%d)", (int)(wake_s - s->now_s));
}

/* 'd' and the like: what became of the entry. */
static bool tell(struct scene *s, const char *at)
{
    static const struct {
        char letter;
        enum schedule_result result;
    } results[] = {{'d', SCHEDULE_DONE},        {'4', SCHEDULE_DEFERRED},
                   {'u', SCHEDULE_UNKNOWN},     {'n', SCHEDULE_NO_TARGET},
                   {'f', SCHEDULE_FAILED_HERE}, {'p', SCHEDULE_PUT_BACK}};

    for (size_t i = 0; i < ARRAY_LENGTH(results); i++) {
        if (results[i].letter != at[0])
            continue;
        report(s, at[1], results[i].result);
        return true;
    }
    return false;
}

/* +aS  a new message "a" of the sender S        .  all that can be taken    1  one
 * da   it is done       4a  deferred   ua  unknown    na  no target         pa  put back
 * fa   it failed here
 * !a   hurry, by id     ?a  hurry, one of many  ^  the target is up
 * ha   hold             ra  release             la  it is to be looked at a minute from now
 * xa   ... and expires then
 * >N   N seconds pass   w   when it wants to be called again                =  counts */
static const char *step(struct scene *s, const char *at)
{
    char name = at[0] == '\0' ? '\0' : at[1];
    char *end;

    if (tell(s, at))
        return at + 2;
    switch (at[0]) {
    case '+':
        add(s, name, at[2], false);
        return at + 3;
    case '.':
        while (take(s))
            ;
        lib_put(&s->seen, ".");
        return at + 1;
    case '1':
        if (!take(s))
            lib_put(&s->seen, "-");
        return at + 1;
    case '!':
    case '?':
        lib_put(&s->seen, "%s", schedule_hurry(*slot(s, name), s->now_s, at[0] == '!') ? "y" : "n");
        return at + 2;
    case '^':
        schedule_up(s->target);
        return at + 1;
    case 'h':
    case 'r':
        again(s, name, at[0] == 'h');
        return at + 2;
    case 'l':
        (*slot(s, name))->look_s = s->now_s + 60;
        return at + 2;
    case 'x':
        (*slot(s, name))->look_s = (*slot(s, name))->expires_s = s->now_s + 60;
        return at + 2;
    case 'w':
        put_wake(s);
        return at + 1;
    case '>':
        s->now_s += strtol(at + 1, &end, 10);
        return end;
    case '=':
        put_counts(s);
        return at + 1;
    default:
        return at + 1;
    }
}

static const struct {
    const char *script, *seen;
} rows[] = {
    /* Senders take turns, whoever sent more. */
    {"+aX +bX +cX +dY .", "adbc."},
    {"+aX +bX +cX +dY +eZ 1 1 1 da 1 1 -", "adebc"},
    /* Four at the same time at first, one more for each that went well, up to the maximum. */
    {"+aX +bX +cX +dX +eX +fX . da . w", "abcd.ef.(never)"},
    {"+aX +bX +cX +dX . = da db dc dd = +eX . de =", "abcd.[4/4/0 c4][0/0/0 c8]e.[0/0/0 c8]"},
    /* Fewer when it does not go well. */
    {"+aX +bX . 4a = ub =", "ab.[2/1/0 c3][2/0/0 c1]"},
    {"+aX . 4a . w >299 . w >1 . 4a . w >600 . 4a . w >3600 . 4a . w",
     "a..(300).(1)a..(600)a..(3600)a..(3600)"},
    /* No connection: what waits keeps its place, one goes out at the pace of retries. */
    {"+aX +bX . nb na . = w >300 . = na . w", "ab..[2/0/0 c1 down](300)a.[2/1/0 c1 down].(600)"},
    {"+aX 1 na . >300 1 na . w >599 . >1 1 na . w", "a.a.(600).a.(3600)"},
    {"+aX 1 na +bY +cZ . w", "a.(300)"},
    /* The probe found it: all at once, also what was deferred. */
    {"+aX +bX +cX . 4a nb nc = ^ . =", "abc.[3/0/0 c1 down]bca.[3/3/0 c4]"},
    {"+aX 1 na >300 1 da = +bX .", "aa[0/0/0 c5]b."},
    {"+aX +bX 1 na >300 1 4a = .", "aa[2/0/0 c3]b."},
    /* Possible duplicates wait, and at least twice as long each time; only their id counts. */
    {"+aX 1 ua . w ?a ^ . >600 . ua . w >1200 . ua . w", "a.(600)n.a..(1200)a..(3600)"},
    {"+aX 1 ua !a .", "aya."},
    {"+aX 1 ua >600 1 4a . w >1200 1 4a . w", "aa.(1200)a.(3600)"},
    /* hurry: what waits; at a target that is down the next try. */
    {"+aX ?a 1 ?a 4a ?a .", "nanya."},
    {"+aX 1 4a !a . w", "aya.(never)"},
    {"+aX +bX . na nb ?b ?a 1 ?a na . w", "ab.ynan.(600)"},
    {"+aX +bX . na nb !b 1", "ab.yb"},
    /* held */
    {"+aX +bX ha . = ra . =", "b.[2/1/1 c4]a.[2/2/0 c4]"},
    {"+aX 1 4a ha >300 . ra .", "a.a."},
    {"+aX ha ^ !a ?a .", "nn."},
    /* looked at though the target is down, and once only */
    {"+aX 1 na la >59 . w >1 . = pa . w", "a.(1)*a.[1/0/0 c1 down].(240)"},
    {"+aX 1 la pa >60 . pa . da .", "a*a.a.."},
    {"+aX 1 4a la >60 . pa +bY 1 4b ^ . da db =", "a*a.bab.[0/0/0 c6]"},
    /* failed here: the pauses of a try that failed, and nothing is learnt of the target */
    {"+aX +bX . fa db = . w >300 . fa = . w", "ab.[1/0/0 c5].(300)a.[1/0/0 c5].(600)"},
    {"+aX 1 na >300 1 fa = . w >300 . na . w", "aa[1/0/0 c1 down].(300)a..(600)"},
    {"+aX 1 na la >60 . fa . w ^ .", "a*a..(240)a."},
    /* its time is over: it is tried first, or the target */
    {"+aX 1 xa 4a >59 . >1 .", "a.a."},
    {"+aX 1 xa pa >600 .", "aa."},
    {"+aX 1 xa ua >60 . >539 . >1 .", "a..a."},
    {"+aX 1 ua >600 1 xa ua >599 . >1 .", "aa.a."},
    {"+aX 1 na xa >59 . >1 . na . >5 . w", "a.a..*a.(never)"},
    {"+aX +bX . na nb xa >60 . na . >5 . w", "ab.a..*a.(595)"},
    {"+aX 1 na xa >60 1 4a . >60 .", "aa.a."},
    /* put back */
    {"+aX 1 pa .", "aa."},
};

static void plays(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct scene *s = open_scene();
        const char *at = rows[i].script;
        while (*at != '\0')
            at = step(s, at);
        lib_same_text(i, rows[i].script, rows[i].seen, s->seen.at);
        close_scene(s);
    }
    lib_end_rows();
}

/* Targets of their own: what one has in flight is nothing to the other. */
static void targets_are_apart(void **state)
{
    struct scene *s = open_scene();
    struct schedule_target *other = schedule_target_of(s->schedule, bytes_of("u"));

    (void)state;
    schedule_set_policy(other, &policy);
    add(s, 'a', 'X', false);
    s->target = other;
    add(s, 'b', 'X', false);
    assert_ptr_equal(schedule_target_of(s->schedule, bytes_of("u")), other);
    assert_ptr_not_equal((*slot(s, 'a'))->target, other);
    while (take(s))
        ;
    assert_string_equal(s->seen.at, "ab");
    report(s, 'b', SCHEDULE_NO_TARGET);
    assert_true(schedule_is_down(other));
    assert_false(schedule_is_down((*slot(s, 'a'))->target));
    report(s, 'a', SCHEDULE_DONE);
    add(s, 'c', 'X', false);
    s->target = schedule_next_target(s->schedule, NULL);
    add(s, 'd', 'X', false);
    while (take(s))
        ;
    assert_string_equal(s->seen.at, "abd");
    close_scene(s);
}

/* A hundred targets that are slow, with four at a time each, leave room for one more; when that has
 * gone, the room is theirs again. */
static void slow_targets_leave_room(void **state)
{
    enum { TARGETS = 100, EACH = 8 };
    struct scene *s = open_scene();
    struct schedule_entry *e = NULL, *last = NULL;
    char name[16];
    size_t running = 0;

    (void)state;
    for (int i = 0; i < TARGETS * EACH; i++) {
        snprintf(name, sizeof(name), "slow%d", i % TARGETS);
        s->target = schedule_target_of(s->schedule, bytes_of(name));
        schedule_set_policy(s->target, &policy);
        add(s, 'a', 'X', false);
    }
    for (; (e = schedule_take(s->schedule, s->now_s)) != NULL; running++)
        last = e;
    assert_in_range(running, 3 * TARGETS, SLOTS - 1);
    s->target = schedule_target_of(s->schedule, bytes_of("quick"));
    schedule_set_policy(s->target, &policy);
    add(s, 'b', 'X', false);
    e = schedule_take(s->schedule, s->now_s);
    assert_ptr_equal(e, *slot(s, 'b'));
    assert_null(schedule_take(s->schedule, s->now_s));
    schedule_report(e, SCHEDULE_PUT_BACK, s->now_s);
    schedule_remove(e);
    schedule_report(last, SCHEDULE_DEFERRED, s->now_s);
    assert_non_null(schedule_take(s->schedule, s->now_s));
    close_scene(s);
}

/* More targets than slots: each that has nothing under way gets the next one that is free. */
static void more_targets_than_slots(void **state)
{
    struct scene *s = open_scene();
    struct schedule_entry *e;
    size_t given = 0;
    char name[16];

    (void)state;
    for (int i = 0; i < 2 * SLOTS; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        s->target = schedule_target_of(s->schedule, bytes_of(name));
        schedule_set_policy(s->target, &policy);
        add(s, 'a', 'X', false);
        add(s, 'a', 'X', false);
    }
    struct schedule_entry *running[SLOTS];
    while ((e = schedule_take(s->schedule, s->now_s)) != NULL) {
        assert_true(given < SLOTS);
        running[given++] = e;
    }
    assert_int_equal(given, SLOTS);
    for (size_t i = 0; i < SLOTS; i++) {
        schedule_report(running[i], SCHEDULE_DEFERRED, s->now_s);
        e = schedule_take(s->schedule, s->now_s);
        assert_non_null(e);
        assert_int_equal(schedule_count(e->target).running, 1);
    }
    close_scene(s);
}

/* No policy: nobody knows the target. Its mail waits, and is there when it is asked for. */
static void waits_for_a_missing_target(void **state)
{
    struct scene *s = open_scene();
    size_t count = 0;

    (void)state;
    s->target = schedule_target_of(s->schedule, bytes_of("gone"));
    add(s, 'a', 'X', false);
    add(s, 'b', 'X', true);
    s->now_s += 100000000;
    assert_null(schedule_take(s->schedule, s->now_s));
    for (struct schedule_entry *e = NULL; (e = schedule_next_entry(s->target, e)) != NULL;)
        count++;
    assert_int_equal(count, 2);
    schedule_set_policy(s->target, &policy);
    assert_ptr_equal(schedule_take(s->schedule, s->now_s), *slot(s, 'a'));
    close_scene(s);
}

/* Thousands, in and out in any order: each is given out once, and when it is due. */
static void keeps_order(void **state)
{
    enum { COUNT = 5000 };
    struct scene *s = open_scene();
    int64_t last_s = 0;
    size_t given = 0;

    (void)state;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct schedule_entry e = {.sender = i,
                                   .arrived_s = 0,
                                   .due_s = BEGIN_S + i * 7919 % 1009,
                                   .look_s = INT64_MAX,
                                   .expires_s = INT64_MAX};
        struct schedule_entry *added = schedule_add(s->target, &e);
        assert_non_null(added);
        if (i % 3 == 0)
            schedule_remove(added);
    }
    for (s->now_s = BEGIN_S; s->now_s < BEGIN_S + 1009; s->now_s++) {
        struct schedule_entry *e;
        while ((e = schedule_take(s->schedule, s->now_s)) != NULL) {
            assert_true(e->due_s <= s->now_s && e->due_s >= last_s);
            last_s = e->due_s;
            schedule_report(e, SCHEDULE_DONE, s->now_s);
            schedule_remove(e);
            given++;
        }
    }
    assert_int_equal(given, COUNT - (COUNT + 2) / 3);
    close_scene(s);
}

static void copes_without_memory(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 8; nth++) {
        struct schedule_entry e = {.look_s = INT64_MAX, .expires_s = INT64_MAX};
        mem_fail_nth(nth);
        struct schedule *s = schedule_new((struct hash_key){{1, 2}}, SLOTS);
        struct schedule_target *t = s == NULL ? NULL : schedule_target_of(s, bytes_of("t"));
        if (t != NULL) {
            schedule_set_policy(t, &policy);
            bool has_first = schedule_add(t, &e) != NULL, has_second = schedule_add(t, &e) != NULL;
            assert_int_equal(schedule_count(t).messages, has_first + has_second);
        }
        mem_fail_nth(0);
        schedule_free(&s);
        assert_null(s);
    }
}

/* A million of them may wait. */
static void is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct schedule_entry) <= 160);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plays),
        cmocka_unit_test(targets_are_apart),
        cmocka_unit_test(slow_targets_leave_room),
        cmocka_unit_test(more_targets_than_slots),
        cmocka_unit_test(waits_for_a_missing_target),
        cmocka_unit_test(keeps_order),
        cmocka_unit_test(copes_without_memory),
        cmocka_unit_test(is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
