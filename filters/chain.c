/* SPDX-License-Identifier: BSD-2-Clause */
/* One client's walk along the filters of a listener or a target. */
#include "filters/chain_private.h"

#define WORDS_MAX (4U << 20) /* octets that all filters may leave for one session, one message */

/* What is not known at these is waited for at RCPT. */
#define WAITS_FOR_NONE (CHAIN_FOR_SESSION | CHAIN_BIT(SESSION_STAGE_MAIL))
#define FOR_ALWAYS     (CHAIN_BIT(SESSION_STAGE_COMMAND) | CHAIN_BIT(SESSION_STAGE_LINE))
/* Asked about each time, and said of this one alone. */
#define OF_THIS_ONE (CHAIN_BIT(SESSION_STAGE_RCPT) | CHAIN_BIT(SESSION_STAGE_DATA) | FOR_ALWAYS)
#define AGAIN       (CHAIN_BIT(SESSION_STAGE_HELO) | OF_THIS_ONE)

void chain_init(struct chain *chain, struct filter **filters, size_t count)
{
    *chain = (struct chain){.filters = filters, .count = count};
    for (size_t i = 0; i < count; i++) {
        const struct filter_ops *ops = filters[i]->ops;
        /* What was asked before is waited for at RCPT; at DATA all lines are there. */
        chain->stages |=
            filters[i]->stages | CHAIN_BIT(SESSION_STAGE_RCPT) | CHAIN_BIT(SESSION_STAGE_DATA);
        chain->reads_content = chain->reads_content || ops->field != NULL || ops->body != NULL ||
                               filters[i]->edits != 0;
        chain->name_count += filters[i]->authserv_id.len != 0;
    }
}

void chain_names(const struct chain *chain, struct bytes *names_out)
{
    for (size_t i = 0; i < chain->count; i++)
        if (chain->filters[i]->authserv_id.len != 0)
            *names_out++ = chain->filters[i]->authserv_id;
}

/* ---- whom a filter spares ---- */

static const struct address *sender_of(const struct chain_walk *w)
{
    return w->envelope == NULL ? NULL : &w->envelope->envelope.from;
}

bool chain_is_spared(const struct seat *s)
{
    return filter_spares(chain_filter(s)->common, s->walk->about.client, sender_of(s->walk));
}

/* The refusal that counts now. Before MAIL it is not known whom some filters spare. */
static const struct reply *refusal_of(const struct seat *s)
{
    const struct filter_common *common = chain_filter(s)->common;
    const struct reply *refusal =
        s->of_session.refusal.code != 0 ? &s->of_session.refusal : &s->of_message.refusal;
    bool is_known = s->walk->envelope != NULL || !filter_spares_late(common);

    return refusal->code != 0 && is_known && !chain_is_spared(s) ? refusal : NULL;
}

bool chain_is_through(const struct seat *s)
{
    return s->of_session.is_through || s->of_message.is_through;
}

static bool has_refused(const struct seat *s)
{
    return s->of_session.refusal.code != 0 || s->of_message.refusal.code != 0;
}

uint32_t chain_edits_of(const struct seat *s)
{
    bool does_nothing = chain_filter(s)->common->shadow || chain_is_through(s) || has_refused(s) ||
                        chain_is_spared(s);

    return does_nothing ? 0 : s->seat.edits;
}

/* ---- log ---- */

static const char *const stage_names[] = {
    [SESSION_STAGE_NONE] = "",     [SESSION_STAGE_CONNECT] = "connect",
    [SESSION_STAGE_HELO] = "helo", [SESSION_STAGE_MAIL] = "mail",
    [SESSION_STAGE_RCPT] = "rcpt", [SESSION_STAGE_DATA] = "data",
    [SESSION_STAGE_END] = "end",   [SESSION_STAGE_COMMAND] = "command",
    [SESSION_STAGE_LINE] = "line",
};

/* A filter refuses, throws away, would if it were no shadow, or cannot judge. */
static void log_verdict(const struct seat *s, const struct filter_verdict *verdict)
{
    const struct chain_walk *w = s->walk;
    bool has_failed = verdict->opinion == FILTER_FAILED;
    struct log_line line = log_begin(w->log.log, w->log.sinks,
                                     has_failed ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "filter");
    log_put_text(&line, "session", w->log.session->text);
    if (w->envelope != NULL)
        log_put_text(&line, "transaction", w->envelope->envelope.id.text);
    log_put(&line, "filter", chain_filter(s)->common->section);
    log_put_text(&line, "stage", stage_names[s->asking]);
    if (verdict->opinion != FILTER_REPLY)
        log_put_text(&line, "result", has_failed ? "failed" : "discard");
    if (verdict->word.len != 0)
        log_put(&line, "word", verdict->word);
    if (verdict->opinion == FILTER_REPLY)
        log_put(&line, "reply",
                bytes_first(verdict->reply.wire, bytes_find(verdict->reply.wire, '\r')));
    if (chain_filter(s)->common->shadow)
        log_put_text(&line, "shadow", "yes");
    log_end(&line);
}

/* ---- answers of filters ---- */

/* What a filter that cannot judge means is decided here and nowhere else. */
static struct reply refusal_by(const struct filter *f, const struct filter_verdict *verdict)
{
    static const struct reply none = {.code = 0};
    bool has_failed = verdict->opinion == FILTER_FAILED;

    if (f->common->shadow)
        return none;
    if (has_failed)
        return f->common->on_error == FILTER_ON_ERROR_PASS ? none : reply_own(REPLY_FILTER_AWAY);
    return verdict->opinion == FILTER_REPLY ? verdict->reply : none;
}

static struct bytes default_word(const struct filter_verdict *verdict)
{
    switch (verdict->opinion) {
    case FILTER_CONTINUE:
        return bytes_of("ok");
    case FILTER_ACCEPT:
        return bytes_of("accept");
    case FILTER_DISCARD:
        return bytes_of("discard");
    case FILTER_FAILED:
        return bytes_of("failed");
    case FILTER_REPLY:
        break;
    }
    return bytes_of(verdict->reply.code / 100 == 4 ? "defer" : "reject");
}

static void keep(struct seat *s, struct finding *f, struct arena *arena,
                 const struct filter_verdict *verdict)
{
    struct reply refusal = refusal_by(chain_filter(s), verdict);

    f->stage = s->asking;
    if (refusal.code != 0 && reply_copy(arena, &refusal, &f->refusal) != 0)
        f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
    f->discards = verdict->opinion == FILTER_DISCARD && !chain_filter(s)->common->shadow;
    f->is_through = f->is_through || verdict->opinion == FILTER_ACCEPT || f->discards;
    if (verdict->word.len == 0 && (f->word.len == 0 || verdict->opinion != FILTER_CONTINUE))
        f->word = default_word(verdict);
    else if (verdict->word.len != 0 && arena_copy(arena, verdict->word, &f->word) != 0)
        f->word = bytes_make(NULL, 0);
    if (verdict->lines.len != 0 && !chain_filter(s)->common->shadow &&
        arena_copy(arena, verdict->lines, &f->lines) != 0) {
        f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
        f->stage = SESSION_STAGE_MAIL; /* without its lines the whole message may not go */
    }
}

static void check_verdict(const struct seat *s, const struct filter_verdict *verdict)
{
    uint32_t prepends = CHAIN_BIT(SESSION_STAGE_MAIL) | CHAIN_BIT(SESSION_STAGE_RCPT) |
                        CHAIN_BIT(SESSION_STAGE_DATA);
    unsigned kind = verdict->reply.code / 100;

    assert(s->asking != SESSION_STAGE_NONE); /* one answer to each question */
    assert(verdict->lines.len == 0 || (CHAIN_BIT(s->asking) & prepends) != 0);
    assert(verdict->opinion != FILTER_DISCARD || s->asking >= SESSION_STAGE_MAIL);
    if (verdict->opinion != FILTER_REPLY)
        return;
    assert(kind == 4 || kind == 5 ||
           ((kind == 2 || kind == 3) && (CHAIN_BIT(s->asking) & FOR_ALWAYS) != 0));
    (void)kind;
}

/* What it wanted to change counts only if it agrees to the message. */
static void end_edits(struct seat *s, const struct filter_verdict *verdict)
{
    bool agrees = verdict->opinion == FILTER_CONTINUE || verdict->opinion == FILTER_ACCEPT;
    enum reply_id id = agrees ? chain_make_edits(s) : REPLY_OK;

    s->feed.waits_to_append = false;
    s->feed.appended_bytes = 0;
    if (agrees && id == REPLY_OK)
        return;
    edits_init(&s->edits, &s->walk->message);
    if (id == REPLY_OK)
        return;
    s->of_message.refusal = reply_own(id);
    log_verdict(s, &(struct filter_verdict){.opinion = FILTER_REPLY, .reply = reply_own(id)});
}

void filter_answer(struct filter_seat *seat, const struct filter_verdict *verdict)
{
    struct seat *s = chain_seat(seat);
    struct chain_walk *w = s->walk;
    bool is_of_session = (CHAIN_BIT(s->asking) & CHAIN_FOR_SESSION) != 0;

    check_verdict(s, verdict);
    if (verdict->opinion != FILTER_CONTINUE && verdict->opinion != FILTER_ACCEPT)
        log_verdict(s, verdict);
    if (s->asking == SESSION_STAGE_END)
        end_edits(s, verdict);
    keep(s, is_of_session ? &s->of_session : &s->of_message,
         is_of_session ? &w->session : &w->message, verdict);
    s->asking = SESSION_STAGE_NONE;
    deadline_clear(w->loop, &s->deadline);
    if (!s->is_in_ask && chain_is_asked(w))
        chain_advance(w);
}

static void forget(struct seat *s)
{
    if (s->asking == SESSION_STAGE_NONE)
        return;
    chain_filter(s)->ops->forget(&s->seat);
    s->asking = SESSION_STAGE_NONE;
    deadline_clear(s->walk->loop, &s->deadline);
}

static void on_deadline(struct deadline *d)
{
    struct seat *s = CONTAINER_OF(d, struct seat, deadline);
    const struct filter_verdict late = {.opinion = FILTER_FAILED, .word = bytes_of("timeout")};

    chain_filter(s)->ops->forget(&s->seat);
    filter_answer(&s->seat, &late);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- questions ---- */

static uint32_t stages_up_to(enum session_stage stage)
{
    return (CHAIN_BIT(stage) & FOR_ALWAYS) != 0 ? CHAIN_BIT(stage) : (CHAIN_BIT(stage) << 1) - 1;
}

/* Stages that the filter has to be asked about, sooner or later. A recipient whom a filter before
 * it has refused is over: nobody is asked about him any more. */
static uint32_t due_stages(const struct seat *s)
{
    bool is_done = chain_is_through(s) || chain_is_spared(s) || has_refused(s);
    enum session_stage stage = s->walk->question.stage;
    uint32_t over = stage == SESSION_STAGE_RCPT ? 0 : CHAIN_BIT(SESSION_STAGE_RCPT);

    return is_done ? 0 : chain_filter(s)->stages & stages_up_to(stage) & ~over & ~s->asked;
}

/* The earliest that it can be asked about now; SESSION_STAGE_NONE: there is none. */
static enum session_stage next_stage(const struct seat *s)
{
    uint32_t due = due_stages(s);

    if (chain_filter(s)->wants_name && s->walk->about.origin->name_state == IDENTITY_NAME_PENDING)
        return SESSION_STAGE_NONE;
    if (s->walk->copy != NULL && !chain_has_seen_all(s))
        due &= ~CHAIN_BIT(SESSION_STAGE_END);

    for (unsigned stage = SESSION_STAGE_CONNECT; due != 0 && stage <= SESSION_STAGE_LINE; stage++)
        if ((due & CHAIN_BIT(stage)) != 0)
            return (enum session_stage)stage;
    return SESSION_STAGE_NONE;
}

static struct filter_question question_at(const struct chain_walk *w, enum session_stage stage)
{
    const struct session_question *q = &w->question;

    return (struct filter_question){
        .stage = stage,
        .client = w->about.origin,
        .helo = q->stage == SESSION_STAGE_HELO ? q->text : w->about.origin->helo,
        .message = q->transaction,
        .rcpt = stage == SESSION_STAGE_RCPT ? q->rcpt : NULL,
        .text = (CHAIN_BIT(stage) & FOR_ALWAYS) != 0 ? q->text : bytes_make(NULL, 0),
        .hostname = w->about.hostname,
        .listener = w->about.listener};
}

static void ask(struct seat *s, enum session_stage stage)
{
    struct chain_walk *w = s->walk;
    const struct filter_question question = question_at(w, stage);

    s->asked |= CHAIN_BIT(stage);
    s->asking = stage;
    s->is_in_ask = true;
    chain_filter(s)->ops->ask(&s->seat, &question);
    s->is_in_ask = false;
    if (s->asking == SESSION_STAGE_NONE)
        return;
    assert(chain_filter(s)->timeout_ms != 0 && chain_filter(s)->ops->forget != NULL);
    deadline_set(w->loop, &s->deadline, loop_now_ms(w->loop) + chain_filter(s)->timeout_ms);
}

/* Asks whatever is due, as far as the filter answers at once. What is due of the client stays due
 * while a message of it is spared: the next one may not be. */
static void ask_all(struct seat *s)
{
    enum session_stage stage;

    while (s->asking == SESSION_STAGE_NONE && (stage = next_stage(s)) != SESSION_STAGE_NONE)
        ask(s, stage);
}

static void tell(struct chain_walk *w, const struct reply *reply)
{
    const struct reply told = *reply;

    w->question.stage = SESSION_STAGE_NONE;
    w->use->answered(w->owner, &told);
}

static void agree(struct chain_walk *w)
{
    const struct reply none = {.code = 0}, problem = reply_own(REPLY_LOCAL_PROBLEM);
    bool is_end = w->question.stage == SESSION_STAGE_END && w->copy != NULL;

    tell(w, is_end && chain_include_lines(w, w->chain->count) != 0 ? &problem : &none);
}

/* Does its answer hold up the answer to the question? */
static bool is_awaited(const struct seat *s)
{
    if ((CHAIN_BIT(s->walk->question.stage) & WAITS_FOR_NONE) != 0 || chain_is_spared(s))
        return false;
    return s->asking != SESSION_STAGE_NONE || due_stages(s) != 0;
}

void chain_advance(struct chain_walk *w)
{
    bool is_waiting = false;

    for (size_t i = 0; i < w->chain->count; i++) {
        struct seat *s = &w->seats[i];
        if (w->copy != NULL && i == w->shown && !is_awaited(&w->seats[i - 1]))
            chain_show_next(w);
        ask_all(s);
        is_waiting = is_waiting || is_awaited(s);
        if (refusal_of(s) != NULL && !is_waiting) {
            struct reply refusal = *refusal_of(s);
            refusal.by = REPLY_BY_FILTER;
            refusal.by_name = &chain_filter(s)->common->section;
            tell(w, &refusal);
            return;
        }
    }
    if (!is_waiting)
        agree(w);
}

/* Outside of a message what was said of the last one, or of the last command, is over. */
static void forget_words(struct chain_walk *w)
{
    if (w->envelope != NULL)
        return;
    for (size_t i = 0; i < w->chain->count; i++)
        w->seats[i].of_message = (struct finding){.stage = SESSION_STAGE_NONE};
    arena_reset(&w->message);
}

/* What was said of one recipient or command is over, and what was said of this stage the last time.
 */
static void begin_again(struct seat *s, enum session_stage stage)
{
    if ((CHAIN_BIT(s->of_message.stage) & OF_THIS_ONE) != 0)
        s->of_message.refusal = (struct reply){.code = 0};
    if ((CHAIN_BIT(stage) & AGAIN) == 0)
        return;
    if (s->asking == stage)
        forget(s);
    s->asked &= ~CHAIN_BIT(stage);
    if (s->of_session.stage == stage)
        s->of_session = (struct finding){.stage = SESSION_STAGE_NONE};
}

void chain_ask(struct chain_walk *w, const struct session_question *question)
{
    assert(!chain_is_asked(w) && question->stage != SESSION_STAGE_NONE);
    if (question->stage == SESSION_STAGE_MAIL)
        chain_message_ended(w);
    forget_words(w);
    if (question->stage >= SESSION_STAGE_MAIL && question->stage <= SESSION_STAGE_END)
        w->envelope = question->transaction;
    w->question = *question;
    for (size_t i = 0; i < w->chain->count; i++)
        begin_again(&w->seats[i], question->stage);
    chain_advance(w);
}

void chain_forget(struct chain_walk *w)
{
    w->question.stage = SESSION_STAGE_NONE;
}

static void on_named(void *owner)
{
    struct chain_walk *w = owner;

    if (chain_is_asked(w))
        chain_advance(w);
}

void chain_named(struct chain_walk *w)
{
    loop_post(w->loop, &w->naming, on_named, w);
}

bool chain_is_asked(const struct chain_walk *w)
{
    return w->question.stage != SESSION_STAGE_NONE;
}

/* ---- what is left of it ---- */

struct bytes chain_lines_of(const struct seat *s)
{
    return chain_is_spared(s) ? bytes_make(NULL, 0) : s->of_message.lines;
}

void chain_put_lines(const struct chain_walk *w, struct buf *out)
{
    for (size_t i = w->chain->count; i > 0; i--)
        buf_put(out, chain_lines_of(&w->seats[i - 1]));
}

void chain_put_words(const struct chain_walk *w, struct buf *out)
{
    for (size_t i = 0; i < w->chain->count; i++) {
        const struct seat *s = &w->seats[i];
        struct bytes word = s->of_message.word.len != 0 ? s->of_message.word : s->of_session.word;
        if (chain_is_spared(s))
            word = bytes_of("exempt");
        else if (word.len == 0)
            continue;
        buf_put(out, chain_filter(s)->common->section);
        buf_byte(out, ':');
        buf_put(out, word);
        buf_text(out, chain_filter(s)->common->shadow ? ":shadow\n" : "\n");
    }
}

/* ---- life ---- */

struct chain_walk *chain_walk_new(const struct chain *chain, struct loop *loop,
                                  const struct chain_client *about, const struct chain_log *log,
                                  const struct chain_walk_use *use, void *owner)
{
    struct loop_pools *pools = loop_pools(loop);
    struct chain_walk *w = mem_zalloc(sizeof(*w) + chain->count * sizeof(w->seats[0]));

    if (w == NULL)
        return NULL;
    w->chain = chain;
    w->loop = loop;
    w->about = *about;
    w->log = *log;
    w->use = use;
    w->owner = owner;
    arena_init(&w->session, &pools->small, WORDS_MAX);
    arena_init(&w->message, &pools->small, WORDS_MAX);
    for (size_t i = 0; i < chain->count; i++) {
        w->seats[i].seat.filter = chain->filters[i];
        w->seats[i].seat.edits = chain->filters[i]->edits & about->edits;
        edits_init(&w->seats[i].edits, &w->message);
        w->seats[i].walk = w;
        deadline_init(&w->seats[i].deadline, &deadline_use);
    }
    return w;
}

static void end_message(struct seat *s)
{
    if ((CHAIN_BIT(s->asking) & (CHAIN_FOR_SESSION | FOR_ALWAYS)) == 0)
        forget(s);
    if (chain_filter(s)->ops->message_ended != NULL)
        chain_filter(s)->ops->message_ended(&s->seat);
    s->asked &= CHAIN_FOR_SESSION | FOR_ALWAYS;
    edits_init(&s->edits, &s->walk->message);
    s->edit_failure = REPLY_OK;
}

void chain_message_ended(struct chain_walk *w)
{
    if (w->envelope == NULL)
        return;
    for (size_t i = 0; i < w->chain->count; i++)
        end_message(&w->seats[i]);
    w->envelope = NULL;
    chain_content_ended(w);
    forget_words(w);
}

void chain_walk_end(struct chain_walk **held)
{
    struct chain_walk *w = *held;

    if (w == NULL)
        return;
    *held = NULL;
    loop_unpost(w->loop, &w->naming);
    chain_forget(w);
    chain_message_ended(w);
    for (size_t i = 0; i < w->chain->count; i++) {
        struct seat *s = &w->seats[i];
        forget(s);
        if (chain_filter(s)->ops->session_ended != NULL)
            chain_filter(s)->ops->session_ended(&s->seat);
    }
    arena_reset(&w->session);
    arena_reset(&w->message);
    mem_free(w);
}
