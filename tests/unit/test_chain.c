/* SPDX-License-Identifier: BSD-2-Clause */
/* A chain of filters: whom it asks when, what it waits for, whose word counts, whom it spares. */
/* needs: filters/chain.c filters/chain_content.c filters/chain_edit.c sim */
/* needs: tests/unit/edit_words.c filters/filter_conf.c */
/* needs: proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c */
#include "filters/chain.h"

#include <stdio.h>
#include <stdlib.h>

#include "filters/filter_conf.h"
#include "tests/sim/sim.h"
#include "tests/unit/edit_words.h"
#include "tests/unit/lib.h"

#define FILTERS 3

/* A filter that does as the play says. */
struct actor {
    struct filter filter;
    struct filter_common common;
    struct filter_exempt exempt;
    struct filter_seat *seat;  /* the latest that it was shown something by */
    struct filter_seat *asked; /* NULL: nothing */
    const char *ahead;         /* its next answer, at once; NULL: it thinks */
    const char *edits;         /* given before its next answer at END */
    bool is_full;              /* it takes no content */
};

struct play {
    struct actor actors[FILTERS];
    struct filter *filters[FILTERS];
    struct chain chain;
    struct chain_walk *walk;
    struct identity client;
    struct transaction tx;
    struct recipient rcpt;
    struct copy_limits limits;
    struct copy *copy;
    enum session_stage stage; /* in question */
    struct lib_text seen;
};

static struct play play;

static const struct {
    const char *word;
    enum session_stage stage;
} stages[] = {
    {"connect", SESSION_STAGE_CONNECT}, {"helo", SESSION_STAGE_HELO}, {"mail", SESSION_STAGE_MAIL},
    {"rcpt", SESSION_STAGE_RCPT},       {"data", SESSION_STAGE_DATA}, {"end", SESSION_STAGE_END},
};

/* ---- filters ---- */

static struct actor *actor_of(struct filter *filter)
{
    return CONTAINER_OF(filter, struct actor, filter);
}

static int number_of(const struct actor *a)
{
    return (int)(a - play.actors) + 1;
}

static void give_edits(struct filter_seat *seat)
{
    struct actor *a = actor_of(seat->filter);

    if (a->edits == NULL || play.stage != SESSION_STAGE_END)
        return;
    assert_true(edit_words_give(seat, a->edits));
    a->edits = NULL;
}

static void say(struct filter_seat *seat, const char *words)
{
    char wire[128];
    struct filter_verdict verdict = {.opinion = FILTER_CONTINUE};

    give_edits(seat);
    snprintf(wire, sizeof(wire), "%s\r\n", words);
    if (strcmp(words, "accept") == 0)
        verdict.opinion = FILTER_ACCEPT;
    else if (strcmp(words, "failed") == 0)
        verdict.opinion = FILTER_FAILED;
    else if (strcmp(words, "discard") == 0)
        verdict.opinion = FILTER_DISCARD;
    else if (atoi(words) != 0)
        verdict.opinion = FILTER_REPLY;
    else if (strncmp(words, "X-", 2) == 0)
        verdict.lines = bytes_of(wire);
    verdict.reply = (struct reply){.code = (uint16_t)atoi(words), .wire = bytes_of(wire)};
    filter_answer(seat, &verdict);
}

static void ask(struct filter_seat *seat, const struct filter_question *question)
{
    struct actor *a = actor_of(seat->filter);
    size_t i = 0;

    while (stages[i].stage != question->stage)
        i++;
    lib_put(&play.seen, "%d? %s\n", number_of(a), stages[i].word);
    if (a->ahead != NULL)
        say(seat, a->ahead);
    else
        a->asked = seat;
}

static void forget(struct filter_seat *seat)
{
    struct actor *a = actor_of(seat->filter);

    lib_put(&play.seen, "%d forgets\n", number_of(a));
    a->asked = NULL;
}

static bool see(struct filter_seat *seat, const char *kind, struct bytes part)
{
    struct actor *a = actor_of(seat->filter);

    a->seat = seat;
    if (a->is_full)
        return false;
    lib_put(&play.seen, "%d %s %.*s\n", number_of(a), kind, (int)part.len - 2,
            (const char *)part.at);
    return true;
}

static bool look(struct filter_seat *seat, struct bytes field)
{
    return see(seat, "field", field);
}

static bool look_at_body(struct filter_seat *seat, struct bytes piece)
{
    return see(seat, "body", piece);
}

static void end_message(struct filter_seat *seat)
{
    lib_put(&play.seen, "%d message over\n", number_of(actor_of(seat->filter)));
}

static void end_session(struct filter_seat *seat)
{
    lib_put(&play.seen, "%d session over\n", number_of(actor_of(seat->filter)));
}

static const struct filter_ops ops = {
    .ask = ask, .forget = forget, .message_ended = end_message, .session_ended = end_session};
static const struct filter_ops reading_ops = {
    .ask = ask, .forget = forget, .field = look, .body = look_at_body};

/* ---- the play ---- */

static void on_answered(void *owner, const struct reply *reply)
{
    (void)owner;
    if (reply->code == 0)
        lib_put(&play.seen, "go on\n");
    else
        lib_put(&play.seen, "%.*s\n", (int)reply->wire.len - 2, (const char *)reply->wire.at);
}

static const struct chain_walk_use use = {.answered = on_answered};

struct play_world {
    struct sim *sim;
    struct loop *loop;
    struct log *log;
};

static bool on_quiet(void *owner)
{
    struct play_world *w = owner;

    loop_stop(w->loop);
    return true;
}

static void play_begin(struct play_world *w)
{
    static const struct log_sink sink = {.kind = LOG_TO_STDERR};
    int error;

    memset(&play, 0, sizeof(play));
    netaddr_parse(bytes_of("192.0.2.9"), &play.client.client);
    w->sim = sim_new(1);
    w->loop = loop_new();
    sim_on_quiet(w->sim, on_quiet, w);
    w->log = log_new(w->loop, &sink, 1, false, &error);
    assert_non_null(w->log);
    play.limits = (struct copy_limits){.memory_max_bytes = 1 << 20, .memory_each_bytes = 1 << 20};
    assert_int_equal(copy_limits_init(&play.limits, w->loop), 0);
}

static void on_room(void *owner)
{
    (void)owner;
}

static void on_copy_trouble(void *owner)
{
    (void)owner;
    fail();
}

static void on_unkept(void *owner, int error)
{
    (void)error;
    on_copy_trouble(owner);
}

static bool is_ending(void *owner)
{
    (void)owner;
    return true;
}

static const struct copy_use copy_use = {.room = on_room,
                                         .unkept = on_unkept,
                                         .failed = on_copy_trouble,
                                         .refused = on_copy_trouble,
                                         .is_ending = is_ending};

static void append(struct play_world *w, const char *text)
{
    const struct view view = view_whole();

    if (play.copy == NULL) {
        play.copy = copy_new(w->loop, &play.limits, copy_net_of(&play.limits, NULL), &copy_use, w);
        assert_non_null(play.copy);
        chain_show(play.walk, play.copy, &view, 0);
    }
    assert_int_equal(copy_append(play.copy, bytes_of(text)), 0);
    chain_flush(play.walk);
}

/* Its lines, those above our own Received in brackets, and its range of the copy. */
static void put_view(void)
{
    const struct view *view = chain_view(play.walk);
    struct bytes above = view_above(view), below = view_below(view), piece;
    struct reader reader;

    lib_put(&play.seen, "[%.*s]%.*s", (int)above.len, (const char *)above.at, (int)below.len,
            (const char *)below.at);
    reader_open(&reader, play.copy, NULL);
    reader_set_range(&reader, view->at, view->end);
    while (reader_pieces(&reader, &piece, 1) == 1) {
        lib_put(&play.seen, "%.*s", (int)piece.len, (const char *)piece.at);
        reader_advance(&reader, piece.len);
    }
    reader_close(&reader);
}

/* What it shuts down is no part of the play. */
static void play_end(struct play_world *w)
{
    chain_walk_end(&play.walk);
    copy_free(&play.copy);
    copy_limits_done(&play.limits);
    log_free(&w->log);
    loop_free(&w->loop);
    sim_free(&w->sim);
}

/* "1 at mail rcpt": stages; "1 = words": all its answers, at once; "1 thinks"; "1: words": its
 * answer now; "1 spares @DOMAIN | login | ADDR", "1 is shadow", "1 passes", "1 reads"; a stage: it
 * is asked about; "wait SECONDS"; "over"; "forget"; "content TEXT"; "lines", "words"; "from
 * DOMAIN", "login NAME"; "1 edits WORDS": at END; "1 is full", "1 has room"; "view"; "1 wants
 * name", "named". */
static void set_up(struct actor *a, const char *rest)
{
    if (strncmp(rest, "at ", 3) == 0) {
        for (size_t i = 0; i < ARRAY_LENGTH(stages); i++)
            if (strstr(rest, stages[i].word) != NULL)
                a->filter.stages |= 1U << stages[i].stage;
    } else if (strncmp(rest, "= ", 2) == 0) {
        a->ahead = rest + 2;
    } else if (strcmp(rest, "thinks") == 0) {
        a->ahead = NULL;
    } else if (strncmp(rest, "spares ", 7) == 0) {
        a->common.exempts = (struct filter_exempts){.at = &a->exempt, .count = 1};
        assert_int_equal(filter_exempt_type.parse(bytes_of(rest + 7), NULL, &a->exempt), 0);
    } else if (strcmp(rest, "is shadow") == 0) {
        a->common.shadow = true;
    } else if (strcmp(rest, "passes") == 0) {
        a->common.on_error = FILTER_ON_ERROR_PASS;
    } else if (strncmp(rest, "edits ", 6) == 0) {
        a->edits = rest + 6;
        a->filter.edits = FILTER_EDITS_ALL;
    } else if (strcmp(rest, "wants name") == 0) {
        a->filter.wants_name = true;
        play.client.name_state = IDENTITY_NAME_PENDING;
    } else if (strcmp(rest, "is full") == 0) {
        a->is_full = true;
    } else if (strcmp(rest, "reads") == 0) {
        a->filter.ops = &reading_ops;
    } else {
        fail_msg("not understood: %s", rest);
    }
}

static bool ask_about(const char *step)
{
    for (size_t i = 0; i < ARRAY_LENGTH(stages); i++) {
        if (strcmp(step, stages[i].word) != 0)
            continue;
        play.stage = stages[i].stage;
        if (play.stage == SESSION_STAGE_END && play.copy != NULL) {
            copy_end_message(play.copy);
            chain_whole(play.walk);
        }
        chain_ask(play.walk,
                  &(struct session_question){
                      .stage = stages[i].stage,
                      .transaction = stages[i].stage >= SESSION_STAGE_MAIL ? &play.tx : NULL,
                      .rcpt = stages[i].stage == SESSION_STAGE_RCPT ? &play.rcpt : NULL});
        return true;
    }
    return false;
}

static void begin_walk(struct play_world *w)
{
    static const struct id id = {"0123456789BCDFGH"};
    const struct chain_log log = {.log = w->log, .session = &id};

    if (play.walk != NULL)
        return;
    const struct chain_client about = {
        .client = &play.client, .origin = &play.client, .edits = FILTER_EDITS_ALL};

    chain_init(&play.chain, play.filters, FILTERS);
    play.walk = chain_walk_new(&play.chain, w->loop, &about, &log, &use, NULL);
    assert_non_null(play.walk);
}

static void put(struct play_world *w, void (*put_words)(const struct chain_walk *, struct buf *))
{
    struct buf out;

    buf_init(&out, &loop_pools(w->loop)->medium, 4096);
    put_words(play.walk, &out);
    lib_put(&play.seen, "%.*s\n", (int)buf_length(&out), (const char *)buf_bytes(&out).at);
    buf_done(&out);
}

static void wait_for(struct play_world *w, uint64_t ms)
{
    sim_wait(w->sim, ms);
    assert_int_equal(loop_run(w->loop), 0);
}

static void name_client(struct play_world *w)
{
    play.client.name_state = IDENTITY_NAME_CONFIRMED;
    chain_named(play.walk);
    wait_for(w, 0);
}

static void walk_on(struct play_world *w, const char *step)
{
    begin_walk(w);
    if (ask_about(step))
        return;
    if (strncmp(step, "wait ", 5) == 0)
        wait_for(w, (uint64_t)atoi(step + 5) * 1000);
    else if (strncmp(step, "content ", 8) == 0)
        append(w, step + 8);
    else if (strcmp(step, "forget") == 0)
        chain_forget(play.walk);
    else if (strcmp(step, "over") == 0)
        chain_message_ended(play.walk);
    else if (strcmp(step, "view") == 0)
        put_view();
    else if (strcmp(step, "named") == 0)
        name_client(w);
    else if (strcmp(step, "lines") == 0)
        put(w, chain_put_lines);
    else if (strcmp(step, "words") == 0)
        put(w, chain_put_words);
    else
        fail_msg("not understood: %s", step);
}

static void answer_now(struct actor *a, const char *words)
{
    struct filter_seat *seat = a->asked;

    assert_non_null(seat);
    a->asked = NULL;
    say(seat, words);
}

static void take_more(struct actor *a)
{
    a->is_full = false;
    filter_more(a->seat);
}

static void step_on(struct play_world *w, const char *step)
{
    bool is_of_actor = step[0] >= '1' && step[0] <= '3';
    struct actor *a = &play.actors[is_of_actor ? step[0] - '1' : 0];

    if (strncmp(step, "from ", 5) == 0)
        play.tx.envelope.from.domain = bytes_of(step + 5);
    else if (strncmp(step, "login ", 6) == 0)
        play.client.login = bytes_of(step + 6);
    else if (is_of_actor && step[1] == ':')
        answer_now(a, step + 3);
    else if (is_of_actor && strcmp(step + 2, "has room") == 0)
        take_more(a);
    else if (is_of_actor)
        set_up(a, step + 2);
    else
        walk_on(w, step);
}

/* ---- plays ---- */

#define STEPS_MAX 24

static const struct play_row {
    const char *title;
    const char *steps[STEPS_MAX];
    const char *seen;
} rows[] = {
    {"nobody waits before RCPT",
     {"1 at connect mail", "2 at helo", "connect", "helo", "mail", "rcpt", "1: x", "2: x"},
     "1? connect\ngo on\n2? helo\ngo on\ngo on\n1? mail\n"},
    {"who wants the client's name is asked when it is known",
     {"1 at connect mail", "1 wants name", "2 at connect", "2 = x", "connect", "mail", "rcpt",
      "named", "1: x", "1: x", "rcpt"},
     "2? connect\ngo on\ngo on\n1? connect\n1? mail\ngo on\ngo on\n"},
    {"a name that comes when nothing is asked",
     {"1 at connect", "1 wants name", "1 = x", "connect", "named", "rcpt", "named"},
     "go on\n1? connect\ngo on\n"},
    {"all is due at RCPT",
     {"1 at connect rcpt", "2 at mail", "connect", "mail", "rcpt", "1: x", "1: x", "2: x"},
     "1? connect\ngo on\n2? mail\ngo on\n1? rcpt\ngo on\n"},
    {"the first in order has the word",
     {"1 at rcpt", "2 at rcpt", "rcpt", "2: 550 5.7.1 two", "1: 451 4.7.1 one"},
     "1? rcpt\n2? rcpt\n451 4.7.1 one\n"},
    {"who comes behind it is not waited for",
     {"1 at rcpt", "2 at rcpt", "rcpt", "1: 550 5.7.1 one", "over"},
     "1? rcpt\n2? rcpt\n550 5.7.1 one\n1 message over\n2 forgets\n2 message over\n3 message "
     "over\n"},
    {"a refusal of the session is for every recipient",
     {"1 at connect", "connect", "rcpt", "1: 554 5.7.1 no", "rcpt", "over", "mail", "rcpt"},
     "1? connect\ngo on\n554 5.7.1 no\n554 5.7.1 no\n1 message over\n2 message over\n3 message "
     "over\n"
     "554 5.7.1 no\n554 5.7.1 no\n"},
    {"one of a message ends with it",
     {"1 at mail", "1 = 550 5.7.1 no", "mail", "1 = x", "over", "mail", "rcpt"},
     "1? mail\n550 5.7.1 no\n1 message over\n2 message over\n3 message over\n1? mail\ngo on\ngo "
     "on\n"},
    {"one of a recipient is for him alone, of whom later filters hear nothing",
     {"1 at rcpt end", "2 at rcpt data", "2 = x", "1 = x", "rcpt", "1 = 550 5.7.1 no", "rcpt",
      "1 = x", "data", "end"},
     "1? rcpt\n2? rcpt\ngo on\n1? rcpt\n550 5.7.1 no\n2? data\ngo on\n1? end\ngo on\n"},
    {"who accepts is asked no more",
     {"1 at mail rcpt end", "1 = accept", "mail", "rcpt", "end", "over", "mail"},
     "1? mail\ngo on\ngo on\ngo on\n1 message over\n2 message over\n3 message over\n1? mail\ngo "
     "on\n"},
    {"who cannot judge defers",
     {"1 at end", "1 = failed", "end"},
     "1? end\n451 4.7.1 A filter cannot judge now, try again later\n"},
    {"or lets pass", {"1 at end", "1 passes", "1 = failed", "end"}, "1? end\ngo on\n"},
    {"who is late cannot judge",
     {"1 at end", "end", "wait 61"},
     "1? end\n1 forgets\n451 4.7.1 A filter cannot judge now, try again later\n"},
    {"a shadow does nothing",
     {"1 at mail end", "1 is shadow", "1 = X-A: b", "mail", "1 = 550 5.7.1 no", "end", "lines",
      "words"},
     "1? mail\ngo on\n1? end\ngo on\n\none:reject:shadow\n\n"},
    {"a net is spared",
     {"1 at connect end", "1 spares 192.0.2.0/24", "connect", "end", "words"},
     "go on\ngo on\none:exempt\n\n"},
    {"a sender is spared, who is not known at once",
     {"1 at connect end", "1 spares @good.test", "1 = 554 5.7.1 no", "connect", "from good.test",
      "mail", "rcpt", "end", "over", "from bad.test", "mail"},
     "1? connect\ngo on\ngo on\ngo on\ngo on\n1 message over\n2 message over\n3 message over\n"
     "554 5.7.1 no\n"},
    {"a login is spared", {"1 at end", "1 spares authenticated", "login joe", "end"}, "go on\n"},
    {"the lines of a later filter stand above",
     {"1 at mail", "2 at mail", "mail", "2: X-B: 2", "1: X-A: 1", "rcpt", "lines", "words"},
     "1? mail\n2? mail\ngo on\ngo on\nX-B: 2\r\nX-A: 1\r\n\none:ok\ntwo:ok\n\n"},
    {"lines end with the message",
     {"1 at mail", "1 = X-A: 1", "mail", "over", "mail", "lines"},
     "1? mail\ngo on\n1 message over\n2 message over\n3 message over\n1? mail\ngo on\nX-A: "
     "1\r\n\n"},
    {"who reads sees fields and body",
     {"1 at end", "1 reads", "1 = x", "rcpt", "content A: b\r\n c\r\nD", "content : e\r\n\r\nf\r\n",
      "end"},
     "go on\n1 field A: b\r\n c\n1 field D: e\n1 body f\n1? end\ngo on\n"},
    {"a header alone is seen at the end",
     {"1 at end", "1 reads", "1 = x", "rcpt", "content A: b\r\n", "end"},
     "go on\n1 field A: b\n1? end\ngo on\n"},
    {"who has no room is shown the rest later",
     {"1 at end", "1 reads", "1 = x", "rcpt", "1 is full", "content A: b\r\nC: d\r\n\r\nf\r\n",
      "end", "1 has room"},
     "go on\n1 field A: b\n1 field C: d\n1 body f\n1? end\ngo on\n"},
    {"an edit is seen by those behind it",
     {"1 at end", "1 reads", "1 edits add X 1", "1 = x", "2 at end", "2 reads", "2 = x", "rcpt",
      "content A: b\r\n\r\nf\r\n", "end", "view"},
     "go on\n1 field A: b\n1 body f\n1? end\n2 field A: b\n2 field X: 1\n2 body f\n2? end\n"
     "go on\n[]A: b\r\nX: 1\r\n\r\nf\r\n"},
    {"those that only judge are asked beside it",
     {"1 at end", "2 at end", "2 reads", "2 edits body g", "2 = x", "3 at end", "3 = x", "rcpt",
      "content A: b\r\n\r\nf\r\n", "end", "1: x", "view"},
     "go on\n2 field A: b\n2 body f\n1? end\n2? end\n3? end\ngo on\n"
     "[]A: b\r\n\r\ng\r\n"},
    {"lines of those before it are among what it edits",
     {"1 at mail", "1 = X-A: 1", "2 at end", "2 reads", "2 edits insert 1 B 2|insert 0 C 3",
      "2 = x", "3 at mail", "3 = X-D: 4", "mail", "rcpt", "content A: b\r\n\r\nf\r\n", "end",
      "view"},
     "1? mail\n3? mail\ngo on\ngo on\n2 field X-A: 1\n2 field A: b\n2 body f\n2? end\ngo on\n"
     "[X-D: 4\r\nC: 3\r\nB: 2\r\nX-A: 1\r\n]A: b\r\n\r\nf\r\n"},
    {"who refuses has changed nothing",
     {"1 at end", "1 passes", "1 edits add X 1", "1 = failed", "2 at end", "2 reads", "2 = x",
      "rcpt", "content A: b\r\n\r\nf\r\n", "end", "view"},
     "go on\n1? end\n2 field A: b\n2 body f\n2? end\ngo on\n[]A: b\r\n\r\nf\r\n"},
    {"nor has a shadow",
     {"1 at end", "1 is shadow", "1 edits add X 1|body g", "1 = x", "rcpt",
      "content A: b\r\n\r\nf\r\n", "end", "view"},
     "go on\n1? end\ngo on\n[]A: b\r\n\r\nf\r\n"},
    {"a message without a header gets one",
     {"1 at end", "1 reads", "1 edits add X 1", "1 = x", "2 at mail", "2 = X-A: 1", "mail", "rcpt",
      "content \r\nf\r\n", "end", "view"},
     "2? mail\ngo on\ngo on\n1 body f\n1? end\ngo on\n[X-A: 1\r\n]X: 1\r\n\r\nf\r\n"},
    {"who throws it away is asked no more",
     {"1 at rcpt end", "1 = discard", "rcpt", "end", "words"},
     "1? rcpt\ngo on\ngo on\none:discard\n\n"},
    {"what is not waited for goes on",
     {"1 at rcpt end", "rcpt", "forget", "1: 550 5.7.1 no", "1 = x", "rcpt"},
     "1? rcpt\n1? rcpt\ngo on\n"},
};

static void enter_actors(void)
{
    static const char *const names[FILTERS] = {"one", "two", "three"};

    for (size_t k = 0; k < FILTERS; k++) {
        play.actors[k].common.section = bytes_of(names[k]);
        play.actors[k].filter =
            (struct filter){.ops = &ops, .common = &play.actors[k].common, .timeout_ms = 60000};
        play.filters[k] = &play.actors[k].filter;
    }
}

static void plays(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct play_world w;
        play_begin(&w);
        enter_actors();
        for (size_t k = 0; k < STEPS_MAX && rows[i].steps[k] != NULL; k++)
            step_on(&w, rows[i].steps[k]);
        lib_same_text(i, rows[i].title, rows[i].seen, play.seen.at);
        play_end(&w);
    }
    lib_end_rows();
}

/* As large as a milter's packet may be, and each of its octets becomes two. */
static void takes_large_pieces(void **state)
{
    static const char *const steps[] = {"1 at end", "1 edits -", "1 = x", "rcpt",
                                        "content A: b\r\n\r\nf\r\n"};
    static char large[5 + 65535 + 1] = "body ";
    struct play_world w;

    (void)state;
    memset(large + 5, '\n', 65535);
    play_begin(&w);
    enter_actors();
    for (size_t k = 0; k < ARRAY_LENGTH(steps); k++)
        step_on(&w, steps[k]);
    play.actors[0].edits = large;
    step_on(&w, "end");
    assert_string_equal(play.seen.at, "go on\n1? end\ngo on\n");
    assert_int_equal(chain_view(play.walk)->end - chain_view(play.walk)->at, 2 * 65535 + 2);
    play_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plays),
        cmocka_unit_test(takes_large_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
