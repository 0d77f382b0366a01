/* SPDX-License-Identifier: BSD-2-Clause */
/* The filter of a scenario: it answers by chance at every stage, at once, late or never, and every
 * word of it is kept, so that the ledger knows what may have come of each message. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define SAYS_NO    "the filter says no to "
#define IS_AWAY    "A filter cannot judge now"
#define LINES_NAME "X-Found: "
#define BLANK_LINE "\r\n" /* neither field nor body */
#define BIT(stage) (1U << (stage))
#define OF_CLIENT  (BIT(SESSION_STAGE_CONNECT) | BIT(SESSION_STAGE_HELO))
#define PREPENDS   (BIT(SESSION_STAGE_MAIL) | BIT(SESSION_STAGE_RCPT) | BIT(SESSION_STAGE_DATA))

/* What the filter keeps of a seat; in the heap of the process, so that it is known to be given up.
 */
struct note {
    struct deadline deadline;
    struct scenario *scenario;
    struct filter_seat *seat;
    struct loop *loop;
    struct message *message; /* that is asked about; NULL: a client */
    struct filter_word *word;
    enum session_stage stage;
    enum filter_opinion opinion; /* what it will say */
    int code;
    uint64_t asked_ms;
};

/* ... and of a message. */
struct seen {
    unsigned id;
    size_t seen; /* octets */
};

static struct scenario_filter *filter_of(struct filter *filter)
{
    return CONTAINER_OF(filter, struct scenario_filter, filter);
}

/* ---- whom it judges ---- */

static bool is_of_target(const struct scenario *s)
{
    return s->plan.filter.target >= 0;
}

static bool is_spared(const struct scenario *s, const struct message *m)
{
    return s->plan.filter.common.exempts.count > 0 && strstr(m->sender, "@far.test") != NULL;
}

static bool has_effect(const struct scenario *s, const struct message *m)
{
    return s->plan.has_filter && !s->plan.filter.common.shadow && !is_spared(s, m);
}

/* A filter of a target sees the client anew with each message. */
static bool is_about_client(const struct scenario *s, enum session_stage stage)
{
    return !is_of_target(s) && (BIT(stage) & OF_CLIENT) != 0;
}

static struct filter_word *word_at(struct scenario *s, struct message *m, struct story *r,
                                   enum session_stage stage)
{
    if (is_about_client(s, stage))
        return &s->plan.filter.of_clients[m->client][stage];
    return stage == SESSION_STAGE_RCPT ? &r->word : &m->words[stage];
}

static bool refuses(const struct scenario *s, const struct filter_word *word)
{
    return word->kind == WORD_NO ||
           (word->kind == WORD_FAILED && s->plan.filter.common.on_error == FILTER_ON_ERROR_DEFER);
}

static bool is_for_good(const struct filter_word *word)
{
    return word->kind == WORD_NO && word->code / 100 == 5;
}

/* Has it said this of the client or of the message, at whatever stage? */
static bool has_said(struct scenario *s, struct message *m, enum filter_word_kind kind)
{
    for (unsigned i = 0; i < m->recipient_count; i++)
        if (m->recipients[i].word.kind == kind)
            return true;
    for (unsigned stage = SESSION_STAGE_CONNECT; stage <= SESSION_STAGE_END; stage++)
        if (stage != SESSION_STAGE_RCPT &&
            word_at(s, m, NULL, (enum session_stage)stage)->kind == kind)
            return true;
    return false;
}

/* Then it is asked no more. */
static bool is_through(struct scenario *s, struct message *m)
{
    return has_said(s, m, WORD_ACCEPT) || has_said(s, m, WORD_DISCARD);
}

unsigned filter_excuses(struct scenario *s, struct message *m, const struct story *r)
{
    bool is_out = m->edited.is_made && m->edited.excluded == (int)(r - m->recipients);

    if (!has_effect(s, m))
        return 0;
    if (!is_of_target(s))
        return is_out || has_said(s, m, WORD_DISCARD) ? r->legs : 0;
    return (r->ways & 1u << s->plan.filter.target) != 0 && has_said(s, m, WORD_DISCARD);
}

/* `r` NULL: of the message, whoever it is for. */
static const char *objection_to(struct scenario *s, struct message *m, struct story *r)
{
    for (unsigned stage = SESSION_STAGE_CONNECT; stage <= SESSION_STAGE_END; stage++) {
        const struct filter_word *word;
        if ((s->plan.filter.filter.stages & BIT(stage)) == 0 ||
            (r == NULL && stage == SESSION_STAGE_RCPT))
            continue;
        word = word_at(s, m, r, (enum session_stage)stage);
        if (refuses(s, word))
            return "the filter said no";
        if (word->kind == WORD_DUE)
            return "the filter has not answered";
        if (word->kind == WORD_UNASKED && !is_through(s, m))
            return "the filter was not asked";
    }
    return NULL;
}

/* A target's filter that says "not now" behind the recipients says so to all. */
static const char *objection_for_all(struct scenario *s, struct message *m)
{
    const unsigned stages[] = {SESSION_STAGE_DATA, SESSION_STAGE_END};

    if (!is_of_target(s))
        return objection_to(s, m, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(stages); i++)
        if (refuses(s, &m->words[stages[i]]) && !is_for_good(&m->words[stages[i]]))
            return "the filter of a target said not now";
    return NULL;
}

const char *filter_objection(struct scenario *s, struct message *m, struct story *r, int target)
{
    const char *for_all;

    if (!has_effect(s, m))
        return NULL;
    for_all = objection_for_all(s, m);
    if (for_all != NULL)
        return for_all;
    if (is_of_target(s) && (s->plan.filter.target != target || r->was_rerouted))
        return NULL;
    if (filter_excuses(s, m, r) > 0)
        return "the filter has thrown that away";
    return objection_to(s, m, r);
}

bool filter_is_against(struct scenario *s, struct message *m, int target)
{
    return has_effect(s, m) && s->plan.filter.target == target &&
           (is_for_good(&m->words[SESSION_STAGE_DATA]) ||
            is_for_good(&m->words[SESSION_STAGE_END]));
}

/* ---- what it says ---- */

/* Whom it is about, in such words that nobody takes it for another's. */
static void put_subject(struct filter_word *word, const struct message *m, const struct story *r,
                        unsigned client, enum session_stage stage)
{
    if (m == NULL)
        snprintf(word->text, sizeof(word->text), SAYS_NO "client %u at %d.", client, (int)stage);
    else if (r != NULL)
        snprintf(word->text, sizeof(word->text), SAYS_NO "recipient %u.%u.", m->id,
                 (unsigned)(r - m->recipients));
    else
        snprintf(word->text, sizeof(word->text), SAYS_NO "message %u at %d.", m->id, (int)stage);
}

/* The recipients of its target are refused for good: their sender may have to hear that. */
static void note_refused(struct scenario *s, struct message *m, const struct filter_word *word,
                         enum session_stage stage)
{
    for (unsigned i = 0; i < m->recipient_count; i++) {
        struct story *r = &m->recipients[i];
        if ((r->ways & 1U << s->plan.filter.target) != 0 &&
            (stage != SESSION_STAGE_RCPT || word == &r->word))
            r->was_refused = true;
    }
}

static void keep(struct note *n, enum filter_opinion opinion)
{
    static const enum filter_word_kind kinds[] = {[FILTER_CONTINUE] = WORD_GO_ON,
                                                  [FILTER_ACCEPT] = WORD_ACCEPT,
                                                  [FILTER_REPLY] = WORD_NO,
                                                  [FILTER_DISCARD] = WORD_DISCARD,
                                                  [FILTER_FAILED] = WORD_FAILED};
    struct scenario *s = n->scenario;

    n->word->kind = kinds[opinion];
    n->word->code = n->code;
    if (opinion == FILTER_REPLY)
        scenario_count(s, COUNT_FILTERED);
    if (is_of_target(s) && is_for_good(n->word) && has_effect(s, n->message))
        note_refused(s, n->message, n->word, n->stage);
}

/* False: there is no room for all of its edits; it goes on when there is. */
static bool give_edits(struct note *n)
{
    if (n->stage != SESSION_STAGE_END || !n->message->edited.is_planned)
        return true;
    return edit_give(n->seat, n->message);
}

/* The seat may be gone behind this. */
static void say(struct note *n)
{
    struct scenario *s = n->scenario;
    struct message *m = n->message;
    struct filter_verdict verdict = {.opinion = n->opinion};
    char reply[100], lines[60] = "";

    if (!give_edits(n))
        return;
    if (n->stage == SESSION_STAGE_END && m->edited.is_planned && has_effect(s, m))
        m->edited.is_made = n->opinion == FILTER_CONTINUE || n->opinion == FILTER_ACCEPT;
    keep(n, n->opinion);
    snprintf(reply, sizeof(reply), "%d %s\r\n", n->code, n->word->text);
    if (n->opinion == FILTER_REPLY)
        verdict.reply = (struct reply){.code = (uint16_t)n->code, .wire = bytes_of(reply)};
    if ((BIT(n->stage) & PREPENDS) != 0 && scenario_chance(s, 40))
        snprintf(lines, sizeof(lines), LINES_NAME "%u.%u\r\n\tin two lines\r\n", m->id,
                 ++m->lines_found);
    verdict.lines = bytes_of(lines);
    filter_answer(n->seat, &verdict);
}

static void go_on(struct filter_seat *seat)
{
    say(seat->session);
}

static void on_deadline(struct deadline *d)
{
    say(CONTAINER_OF(d, struct note, deadline));
}

/* ---- being asked ---- */

static struct loop *loop_of(const struct scenario *s)
{
    return s->world->processes.running->loop;
}

/* NULL: there is no memory. */
static struct note *note_of(struct scenario *s, struct filter_seat *seat)
{
    static const struct deadline_use use = {.reached = on_deadline};
    struct note *n = seat->session != NULL ? seat->session : mem_zalloc(sizeof(*n));

    if (n == NULL || seat->session != NULL)
        return n;
    n->scenario = s;
    n->seat = seat;
    n->loop = loop_of(s);
    deadline_init(&n->deadline, &use);
    seat->session = n;
    return n;
}

static struct message *message_asked(struct scenario *s, const struct filter_question *question)
{
    const struct address *from = &question->message->envelope.from;
    char text[64];

    snprintf(text, sizeof(text), "%.*s@%.*s", (int)from->local.len, (const char *)from->local.at,
             (int)from->domain.len, (const char *)from->domain.at);
    return message_of_sender(s, bytes_of(text));
}

static struct story *story_asked(struct message *m, const struct filter_question *question)
{
    const struct address *to = &question->rcpt->original;
    char text[64];

    snprintf(text, sizeof(text), "%.*s@%.*s", (int)to->local.len, (const char *)to->local.at,
             (int)to->domain.len, (const char *)to->domain.at);
    return message_story(m, bytes_of(text));
}

/* NULL: there is no memory. */
static struct seen *view_of(struct filter_seat *seat)
{
    if (seat->message == NULL)
        seat->message = mem_zalloc(sizeof(struct seen));
    return seat->message;
}

/* It is told when a message is over, and has seen all of one that is whole. */
static void check_view(struct scenario *s, struct filter_seat *seat, const struct message *m,
                       enum session_stage stage)
{
    struct seen *view = view_of(seat);

    if (view == NULL)
        return;
    if (view->id == 0)
        view->id = m->id;
    if (view->id != m->id)
        scenario_fail(s, "the filter is asked about message %u, and %u is not over", m->id,
                      view->id);
    if (stage == SESSION_STAGE_END && seat->filter->ops->body != NULL &&
        !s->plan.has_memory_trouble && view->seen != m->text.len - strlen(BLANK_LINE))
        scenario_fail(s, "the filter is asked about message %u, and has seen %zu octets of %zu",
                      m->id, view->seen, m->text.len);
}

static void choose(struct note *n)
{
    static const int codes[] = {450, 451, 550, 554};
    struct scenario *s = n->scenario;
    bool is_alone = (BIT(n->stage) & OF_CLIENT) == 0; /* it does not hit all that a client does */
    unsigned chance = (unsigned)scenario_below(s, is_alone ? 100 : 200);

    n->code = 0;
    n->opinion = FILTER_CONTINUE;
    if (chance < 3 && is_alone) {
        n->opinion = FILTER_DISCARD;
    } else if (chance < 5) {
        n->opinion = FILTER_ACCEPT;
    } else if (chance < 20) {
        n->opinion = FILTER_REPLY;
        n->code = codes[scenario_below(s, ARRAY_LENGTH(codes))];
    } else if (chance < 24) {
        n->opinion = FILTER_FAILED;
        n->code = 451;
    }
}

/* Most answers come within ask(). */
static void answer(struct note *n)
{
    struct scenario *s = n->scenario;
    uint64_t timeout_ms = s->plan.filter.filter.timeout_ms;
    uint64_t late_ms = scenario_chance(s, 30) ? scenario_below(s, timeout_ms) : 0;

    if (n->stage == SESSION_STAGE_END && n->seat->edits != 0)
        edit_begin(s, n->message);
    if (scenario_chance(s, 4)) {
        n->code = 451;
        scenario_count(s, COUNT_UNANSWERED);
        if (scenario_chance(s, 50))
            (void)give_edits(n); /* which come to nothing */
    } else if (late_ms == 0) {
        say(n);
    } else {
        scenario_count(s, COUNT_LATE);
        deadline_set(n->loop, &n->deadline, loop_now_ms(n->loop) + late_ms);
    }
}

static void ask(struct filter_seat *seat, const struct filter_question *question)
{
    struct scenario *s = filter_of(seat->filter)->scenario;
    unsigned client = question->client->client.octets[3] - SCENARIO_CLIENT_HOST;
    bool is_of_client = is_about_client(s, question->stage);
    struct message *m = is_of_client ? NULL : message_asked(s, question);
    struct story *r = question->rcpt == NULL ? NULL : story_asked(m, question);
    struct filter_word *word = is_of_client ? &s->plan.filter.of_clients[client][question->stage]
                                            : word_at(s, m, r, question->stage);
    struct note *n = note_of(s, seat);

    if (m != NULL)
        check_view(s, seat, m, question->stage);
    *word = (struct filter_word){.kind = n == NULL ? WORD_FAILED : WORD_DUE};
    put_subject(word, m, r, client, question->stage);
    if (n == NULL) {
        filter_answer(seat, &(struct filter_verdict){.opinion = FILTER_FAILED});
        return;
    }
    n->message = m;
    n->word = word;
    n->stage = question->stage;
    n->asked_ms = loop_now_ms(n->loop);
    choose(n);
    answer(n);
}

/* It is too late, or nobody waits any more. */
static void forget(struct filter_seat *seat)
{
    struct note *n = seat->session;

    deadline_clear(n->loop, &n->deadline);
    if (loop_now_ms(n->loop) - n->asked_ms >= seat->filter->timeout_ms)
        keep(n, FILTER_FAILED);
}

static bool look(struct filter_seat *seat, struct bytes piece)
{
    struct seen *view = view_of(seat);

    if (view != NULL)
        view->seen += piece.len;
    return true;
}

static void end_message(struct filter_seat *seat)
{
    mem_free(seat->message);
    seat->message = NULL;
}

static void end_session(struct filter_seat *seat)
{
    mem_free(seat->session);
    seat->session = NULL;
}

static void agree(struct filter_seat *seat, const struct filter_question *question)
{
    (void)question;
    filter_answer(seat, &(struct filter_verdict){.opinion = FILTER_CONTINUE});
}

static void free_nothing(struct filter *filter)
{
    (void)filter;
}

void filter_plan(struct scenario *s)
{
    static const struct filter_ops blind = {.ask = ask,
                                            .forget = forget,
                                            .message_ended = end_message,
                                            .session_ended = end_session,
                                            .free = free_nothing};
    static const struct filter_ops meek = {.ask = agree, .free = free_nothing};
    static const uint64_t timeouts_ms[] = {2000, 20000, 60000};
    struct scenario_filter *f = &s->plan.filter;

    f->scenario = s;
    f->target = -1;
    if (scenario_chance(s, 35))
        f->target = (int)scenario_below(s, SCENARIO_BOX + s->plan.has_boxes);
    if (f->target == 1 && (s->targets.count < 2 || s->targets.has_group))
        f->target = 0; /* each address of a group would ask it anew */
    if (f->target == SCENARIO_BOX && s->plan.crowds_boxes)
        f->target = -1; /* there are two Maildirs then */
    f->ops = blind;
    if (scenario_chance(s, 50))
        f->ops.field = f->ops.body = look;
    f->ops.go_on = go_on;
    f->exempt =
        (struct filter_exempt){.kind = FILTER_EXEMPT_DOMAIN, .domain = bytes_of("far.test")};
    f->common = (struct filter_common){
        .section = bytes_of("sim"),
        .shadow = scenario_chance(s, 10),
        .on_error = scenario_chance(s, 60) ? FILTER_ON_ERROR_DEFER : FILTER_ON_ERROR_PASS,
        .exempts = {.at = &f->exempt, .count = scenario_chance(s, 20)}};
    f->filter = (struct filter){
        .ops = &f->ops, .common = &f->common, .timeout_ms = timeouts_ms[scenario_below(s, 3)]};
    for (unsigned stage = SESSION_STAGE_CONNECT; stage <= SESSION_STAGE_END; stage++)
        if (scenario_chance(s, 45))
            f->filter.stages |= BIT(stage);
    edit_plan(s);
    f->meek = (struct filter){.ops = &meek, .common = &f->common};
    f->has_meek = s->plan.has_filter && scenario_chance(s, 50);
}

void filter_stage(struct scenario *s)
{
    static const char *const names[] = {"a", "b", "box"};
    struct scenario_filter *f = &s->plan.filter;
    struct filter *filter = s->plan.has_filter ? &f->filter : NULL;

    stage_filter(s->config, !is_of_target(s) ? filter : f->has_meek ? &f->meek : NULL);
    stage_target_filter(s->config, is_of_target(s) ? filter : NULL,
                        bytes_of(is_of_target(s) ? names[f->target] : ""));
}

/* ---- what others hear of it ---- */

static bool is_about(struct bytes reply, const struct filter_word *word)
{
    return word->kind == WORD_NO && scenario_search(reply, word->text) != NULL;
}

/* One of those that were said of this client, message or recipient. */
static bool is_own(struct scenario *s, unsigned client, const struct message *m,
                   const struct story *r, struct bytes reply)
{
    for (unsigned stage = SESSION_STAGE_CONNECT; stage <= SESSION_STAGE_END; stage++)
        if (is_about(reply, &s->plan.filter.of_clients[client][stage]) ||
            (m != NULL && is_about(reply, &m->words[stage])))
            return true;
    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        if ((r == NULL || r == &m->recipients[i]) && is_about(reply, &m->recipients[i].word))
            return true;
    return false;
}

void filter_hear(struct scenario *s, unsigned client, struct message *m, struct story *r,
                 struct bytes reply)
{
    reply = bytes_first(reply, bytes_find(reply, '\r') + 1);
    if (scenario_search(reply, SAYS_NO) != NULL && !is_own(s, client, m, r, reply))
        scenario_fail(s, "client %u hears what was said of another: %.*s", client, (int)reply.len,
                      (const char *)reply.at);
}

/* Where only the filter can have said no, its words are heard. */
void filter_hear_at(struct scenario *s, struct message *m, struct story *r,
                    enum session_stage stage, struct bytes reply)
{
    const struct filter_word *word = word_at(s, m, r, stage);
    bool is_alone = !is_of_target(s) || (stage == SESSION_STAGE_RCPT && r->legs == 1);

    if (!has_effect(s, m) || !refuses(s, word) || !is_alone || s->plan.has_memory_trouble)
        return;
    if (scenario_search(reply, word->kind == WORD_NO ? word->text : IS_AWAY) == NULL)
        scenario_fail(s, "the filter says no to message %u at %d, and its client hears: %.*s",
                      m->id, (int)stage, (int)bytes_find(reply, '\r'), (const char *)reply.at);
}

static bool finds_lines(const struct scenario *s, const struct message *m, int target)
{
    return m->lines_found > 0 && has_effect(s, m) &&
           (!is_of_target(s) || s->plan.filter.target == target);
}

void filter_check_lines(struct scenario *s, const struct message *m, const struct story *r,
                        int target, struct bytes content)
{
    const char *end = scenario_search(content, "X-Id: ");
    struct bytes head = bytes_first(content, (size_t)(end - (const char *)content.at));
    unsigned count = 0;
    char wanted[40];

    snprintf(wanted, sizeof(wanted), LINES_NAME "%u.%u%s", m->id, m->lines_found,
             target == SCENARIO_BOX ? "\n\tin two lines\n" : "\r\n\tin two lines\r\n");
    for (struct bytes rest = head;;) {
        const char *at = scenario_search(rest, LINES_NAME);
        if (at == NULL)
            break;
        count++;
        rest = bytes_skip(rest, (size_t)(at - (const char *)rest.at) + 1);
    }
    if (is_of_target(s) && r->was_rerouted)
        return;
    if (count != finds_lines(s, m, target) || (count == 1 && scenario_search(head, wanted) == NULL))
        scenario_fail(s, "message %u comes to %s with other lines than the filter found: %.*s",
                      m->id, r->address, (int)head.len, (const char *)head.at);
}

static void check_accepted(struct scenario *s, struct message *m)
{
    for (unsigned i = 0; i < m->recipient_count; i++) {
        struct story *r = &m->recipients[i];
        if (r->is_accepted && has_effect(s, m) && refuses(s, &r->word) &&
            (!is_of_target(s) || r->legs == 1))
            scenario_fail(s, "message %u to %s was accepted, and the filter said no", m->id,
                          r->address);
    }
}

void filter_check(struct scenario *s)
{
    LIST_EACH (link, &s->messages)
        check_accepted(s, LIST_ENTRY(link, struct message, link));
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        const char *objection = NULL;
        if (f->message != NULL && !f->is_report && has_effect(s, f->message))
            objection = objection_for_all(s, f->message);
        if (objection != NULL)
            scenario_fail(s, "message %u is in the queue, %s", f->message->id, objection);
    }
}
