/* SPDX-License-Identifier: BSD-2-Clause */
/* One client's walk along the filters of a listener or a target. */
#include "filters/chain.h"

#include "filters/filter_conf.h"
#include "proxy/base/arena.h"
#include "proxy/base/mem.h"
#include "proxy/io/deadline.h"
#include "proxy/smtp/header_field.h"

#define WORDS_MAX (1U << 20) /* octets that all filters may leave for one session, one message */

#define BIT(stage)  (1U << (stage))
#define FOR_SESSION (BIT(SESSION_STAGE_CONNECT) | BIT(SESSION_STAGE_HELO))
#define FOR_ALWAYS  (BIT(SESSION_STAGE_COMMAND) | BIT(SESSION_STAGE_LINE))
/* What is not known at these is waited for at RCPT. */
#define WAITS_FOR_NONE (FOR_SESSION | BIT(SESSION_STAGE_MAIL))
/* Asked about each time, and said of this one alone. */
#define OF_THIS_ONE (BIT(SESSION_STAGE_RCPT) | BIT(SESSION_STAGE_DATA) | FOR_ALWAYS)
#define AGAIN       (BIT(SESSION_STAGE_HELO) | OF_THIS_ONE)

/* What a filter found. */
struct finding {
    enum session_stage stage;
    struct reply refusal; /* code 0: none */
    struct bytes word, lines;
    bool is_through; /* no more questions */
};

struct seat {
    struct filter_seat seat;
    struct chain_walk *walk;
    struct deadline deadline;
    uint32_t asked;            /* stages that are done, or in question */
    enum session_stage asking; /* SESSION_STAGE_NONE: the filter has answered */
    bool is_in_ask;
    struct finding of_session, of_message;
};

struct chain_walk {
    const struct chain *chain;
    struct loop *loop;
    const struct identity *client, *origin;
    struct chain_log log;
    const struct chain_walk_use *use;
    void *owner;
    struct arena session, message; /* words of filters */
    struct header_splitter splitter;
    struct session_question question;   /* SESSION_STAGE_NONE: no answer is due */
    const struct transaction *envelope; /* of the message; NULL: there is none */
    struct seat seats[];
};

static struct seat *seat_of(struct filter_seat *seat)
{
    return CONTAINER_OF(seat, struct seat, seat);
}

static const struct filter *filter_of(const struct seat *s)
{
    return s->seat.filter;
}

void chain_init(struct chain *chain, struct filter **filters, size_t count)
{
    *chain = (struct chain){.filters = filters, .count = count};
    for (size_t i = 0; i < count; i++) {
        const struct filter_ops *ops = filters[i]->ops;
        /* What was asked before is waited for at RCPT; at DATA all lines are there. */
        chain->stages |= filters[i]->stages | BIT(SESSION_STAGE_RCPT) | BIT(SESSION_STAGE_DATA);
        chain->reads_content = chain->reads_content || ops->field != NULL || ops->body != NULL;
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

static bool is_spared(const struct seat *s)
{
    return filter_spares(filter_of(s)->common, s->walk->client, sender_of(s->walk));
}

/* The refusal that counts now. Before MAIL it is not known whom some filters spare. */
static const struct reply *refusal_of(const struct seat *s)
{
    const struct filter_common *common = filter_of(s)->common;
    const struct reply *refusal =
        s->of_session.refusal.code != 0 ? &s->of_session.refusal : &s->of_message.refusal;
    bool is_known = s->walk->envelope != NULL || !filter_spares_late(common);

    return refusal->code != 0 && is_known && !is_spared(s) ? refusal : NULL;
}

static bool is_through(const struct seat *s)
{
    return s->of_session.is_through || s->of_message.is_through;
}

/* ---- log ---- */

static const char *const stage_names[] = {
    [SESSION_STAGE_NONE] = "",     [SESSION_STAGE_CONNECT] = "connect",
    [SESSION_STAGE_HELO] = "helo", [SESSION_STAGE_MAIL] = "mail",
    [SESSION_STAGE_RCPT] = "rcpt", [SESSION_STAGE_DATA] = "data",
    [SESSION_STAGE_END] = "end",   [SESSION_STAGE_COMMAND] = "command",
    [SESSION_STAGE_LINE] = "line",
};

/* A filter refuses, would if it were no shadow, or cannot judge. */
static void log_verdict(const struct seat *s, const struct filter_verdict *verdict)
{
    const struct chain_walk *w = s->walk;
    bool has_failed = verdict->opinion == FILTER_FAILED;
    struct log_line line = log_begin(w->log.log, w->log.sinks,
                                     has_failed ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "filter");
    log_put_text(&line, "session", w->log.session->text);
    if (w->envelope != NULL)
        log_put_text(&line, "transaction", w->envelope->envelope.id.text);
    log_put(&line, "filter", filter_of(s)->common->section);
    log_put_text(&line, "stage", stage_names[s->asking]);
    if (has_failed)
        log_put_text(&line, "result", "failed");
    if (verdict->word.len != 0)
        log_put(&line, "word", verdict->word);
    if (!has_failed)
        log_put(&line, "reply",
                bytes_first(verdict->reply.wire, bytes_find(verdict->reply.wire, '\r')));
    if (filter_of(s)->common->shadow)
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
    struct reply refusal = refusal_by(filter_of(s), verdict);

    f->stage = s->asking;
    if (refusal.code != 0 && reply_copy(arena, &refusal, &f->refusal) != 0)
        f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
    f->is_through = f->is_through || verdict->opinion == FILTER_ACCEPT;
    if (verdict->word.len == 0 && (f->word.len == 0 || verdict->opinion != FILTER_CONTINUE))
        f->word = default_word(verdict);
    else if (verdict->word.len != 0 && arena_copy(arena, verdict->word, &f->word) != 0)
        f->word = bytes_make(NULL, 0);
    if (verdict->lines.len != 0 && !filter_of(s)->common->shadow &&
        arena_copy(arena, verdict->lines, &f->lines) != 0) {
        f->refusal = reply_own(REPLY_LOCAL_PROBLEM);
        f->stage = SESSION_STAGE_MAIL; /* without its lines the whole message may not go */
    }
}

static void check_verdict(const struct seat *s, const struct filter_verdict *verdict)
{
    uint32_t prepends = BIT(SESSION_STAGE_MAIL) | BIT(SESSION_STAGE_RCPT) | BIT(SESSION_STAGE_DATA);
    unsigned kind = verdict->reply.code / 100;

    assert(s->asking != SESSION_STAGE_NONE); /* one answer to each question */
    assert(verdict->lines.len == 0 || (BIT(s->asking) & prepends) != 0);
    if (verdict->opinion != FILTER_REPLY)
        return;
    assert(verdict->reply.code != 421);
    assert(kind == 4 || kind == 5 ||
           ((kind == 2 || kind == 3) && (BIT(s->asking) & FOR_ALWAYS) != 0));
    (void)kind;
}

static void advance(struct chain_walk *w);

void filter_answer(struct filter_seat *seat, const struct filter_verdict *verdict)
{
    struct seat *s = seat_of(seat);
    struct chain_walk *w = s->walk;
    bool is_of_session = (BIT(s->asking) & FOR_SESSION) != 0;

    check_verdict(s, verdict);
    if (verdict->opinion == FILTER_REPLY || verdict->opinion == FILTER_FAILED)
        log_verdict(s, verdict);
    keep(s, is_of_session ? &s->of_session : &s->of_message,
         is_of_session ? &w->session : &w->message, verdict);
    s->asking = SESSION_STAGE_NONE;
    deadline_clear(w->loop, &s->deadline);
    if (!s->is_in_ask && chain_is_asked(w))
        advance(w);
}

static void forget(struct seat *s)
{
    if (s->asking == SESSION_STAGE_NONE)
        return;
    filter_of(s)->ops->forget(&s->seat);
    s->asking = SESSION_STAGE_NONE;
    deadline_clear(s->walk->loop, &s->deadline);
}

static void on_deadline(struct deadline *d)
{
    struct seat *s = CONTAINER_OF(d, struct seat, deadline);
    const struct filter_verdict late = {.opinion = FILTER_FAILED, .word = bytes_of("timeout")};

    filter_of(s)->ops->forget(&s->seat);
    filter_answer(&s->seat, &late);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

/* ---- questions ---- */

static uint32_t stages_up_to(enum session_stage stage)
{
    return (BIT(stage) & FOR_ALWAYS) != 0 ? BIT(stage) : (BIT(stage) << 1) - 1;
}

/* The earliest stage that the filter has to be asked about; SESSION_STAGE_NONE: it is done. */
static enum session_stage next_stage(const struct seat *s)
{
    uint32_t due = filter_of(s)->stages & stages_up_to(s->walk->question.stage) & ~s->asked;

    for (unsigned stage = SESSION_STAGE_CONNECT; due != 0 && stage <= SESSION_STAGE_LINE; stage++)
        if ((due & BIT(stage)) != 0)
            return (enum session_stage)stage;
    return SESSION_STAGE_NONE;
}

static struct filter_question question_at(const struct chain_walk *w, enum session_stage stage)
{
    const struct session_question *q = &w->question;

    return (struct filter_question){
        .stage = stage,
        .client = w->origin,
        .helo = q->stage == SESSION_STAGE_HELO ? q->text : w->origin->helo,
        .message = q->transaction,
        .rcpt = stage == SESSION_STAGE_RCPT ? q->rcpt : NULL,
        .text = (BIT(stage) & FOR_ALWAYS) != 0 ? q->text : bytes_make(NULL, 0)};
}

static void ask(struct seat *s, enum session_stage stage)
{
    struct chain_walk *w = s->walk;
    const struct filter_question question = question_at(w, stage);

    s->asked |= BIT(stage);
    s->asking = stage;
    s->is_in_ask = true;
    filter_of(s)->ops->ask(&s->seat, &question);
    s->is_in_ask = false;
    if (s->asking == SESSION_STAGE_NONE)
        return;
    assert(filter_of(s)->timeout_ms != 0 && filter_of(s)->ops->forget != NULL);
    deadline_set(w->loop, &s->deadline, loop_now_ms(w->loop) + filter_of(s)->timeout_ms);
}

/* Asks whatever is due, as far as the filter answers at once. What is due of the client stays due
 * while a message of it is spared: the next one may not be. */
static void ask_all(struct seat *s)
{
    enum session_stage stage;

    while (s->asking == SESSION_STAGE_NONE && (stage = next_stage(s)) != SESSION_STAGE_NONE &&
           !is_through(s) && !is_spared(s) && s->of_session.refusal.code == 0 &&
           s->of_message.refusal.code == 0)
        ask(s, stage);
}

static void tell(struct chain_walk *w, const struct reply *reply)
{
    const struct reply told = *reply;

    w->question.stage = SESSION_STAGE_NONE;
    w->use->answered(w->owner, &told);
}

static void advance(struct chain_walk *w)
{
    bool waits_for_none = (BIT(w->question.stage) & WAITS_FOR_NONE) != 0, is_waiting = false;

    for (size_t i = 0; i < w->chain->count; i++) {
        struct seat *s = &w->seats[i];
        ask_all(s);
        is_waiting =
            is_waiting || (s->asking != SESSION_STAGE_NONE && !waits_for_none && !is_spared(s));
        if (refusal_of(s) != NULL && !is_waiting) {
            tell(w, refusal_of(s));
            return;
        }
    }
    if (!is_waiting)
        tell(w, &(struct reply){.code = 0});
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
    if ((BIT(s->of_message.stage) & OF_THIS_ONE) != 0)
        s->of_message.refusal = (struct reply){.code = 0};
    if ((BIT(stage) & AGAIN) == 0)
        return;
    if (s->asking == stage)
        forget(s);
    s->asked &= ~BIT(stage);
    if (s->of_session.stage == stage)
        s->of_session = (struct finding){.stage = SESSION_STAGE_NONE};
}

static void feed_last_field(struct chain_walk *w);

void chain_ask(struct chain_walk *w, const struct session_question *question)
{
    assert(!chain_is_asked(w) && question->stage != SESSION_STAGE_NONE);
    if (question->stage == SESSION_STAGE_MAIL)
        chain_message_ended(w);
    forget_words(w);
    if (question->stage >= SESSION_STAGE_MAIL && question->stage <= SESSION_STAGE_END)
        w->envelope = question->transaction;
    if (question->stage == SESSION_STAGE_END)
        feed_last_field(w);
    w->question = *question;
    for (size_t i = 0; i < w->chain->count; i++)
        begin_again(&w->seats[i], question->stage);
    advance(w);
}

void chain_forget(struct chain_walk *w)
{
    w->question.stage = SESSION_STAGE_NONE;
}

bool chain_is_asked(const struct chain_walk *w)
{
    return w->question.stage != SESSION_STAGE_NONE;
}

/* ---- content ---- */

static void give(struct chain_walk *w, enum header_part kind, struct bytes part)
{
    for (size_t i = 0; i < w->chain->count; i++) {
        struct seat *s = &w->seats[i];
        const struct filter_ops *ops = filter_of(s)->ops;
        void (*look)(struct filter_seat *, struct bytes) =
            kind == HEADER_PART_FIELD ? ops->field : ops->body;
        if (look != NULL && !is_through(s) && !is_spared(s))
            look(&s->seat, part);
    }
}

void chain_content(struct chain_walk *w, struct bytes content)
{
    enum header_part kind;
    struct bytes part;

    assert(w->chain->reads_content);
    while ((kind = header_splitter_take(&w->splitter, &content, &part)) != HEADER_PART_NONE)
        give(w, kind, part);
}

static void feed_last_field(struct chain_walk *w)
{
    struct bytes part;

    if (header_splitter_end(&w->splitter, &part) == HEADER_PART_FIELD)
        give(w, HEADER_PART_FIELD, part);
}

/* ---- what is left of it ---- */

void chain_put_lines(const struct chain_walk *w, struct buf *out)
{
    for (size_t i = 0; i < w->chain->count; i++)
        if (!is_spared(&w->seats[i]))
            buf_put(out, w->seats[i].of_message.lines);
}

void chain_put_words(const struct chain_walk *w, struct buf *out)
{
    for (size_t i = 0; i < w->chain->count; i++) {
        const struct seat *s = &w->seats[i];
        struct bytes word = s->of_message.word.len != 0 ? s->of_message.word : s->of_session.word;
        if (is_spared(s))
            word = bytes_of("exempt");
        else if (word.len == 0)
            continue;
        if (buf_length(out) != 0)
            buf_byte(out, ',');
        buf_put(out, filter_of(s)->common->section);
        buf_byte(out, ':');
        buf_put(out, word);
        if (filter_of(s)->common->shadow)
            buf_text(out, ":shadow");
    }
}

/* ---- life ---- */

struct chain_walk *chain_walk_new(const struct chain *chain, struct loop *loop,
                                  const struct identity *client, const struct identity *origin,
                                  const struct chain_log *log, const struct chain_walk_use *use,
                                  void *owner)
{
    struct loop_pools *pools = loop_pools(loop);
    struct chain_walk *w = mem_zalloc(sizeof(*w) + chain->count * sizeof(w->seats[0]));

    if (w == NULL)
        return NULL;
    w->chain = chain;
    w->loop = loop;
    w->client = client;
    w->origin = origin;
    w->log = *log;
    w->use = use;
    w->owner = owner;
    arena_init(&w->session, &pools->small, WORDS_MAX);
    arena_init(&w->message, &pools->small, WORDS_MAX);
    header_splitter_init(&w->splitter, &pools->medium, FILTER_FIELD_MAX);
    for (size_t i = 0; i < chain->count; i++) {
        w->seats[i].seat.filter = chain->filters[i];
        w->seats[i].walk = w;
        deadline_init(&w->seats[i].deadline, &deadline_use);
    }
    return w;
}

static void end_message(struct seat *s)
{
    if ((BIT(s->asking) & (FOR_SESSION | FOR_ALWAYS)) == 0)
        forget(s);
    if (filter_of(s)->ops->message_ended != NULL)
        filter_of(s)->ops->message_ended(&s->seat);
    s->asked &= FOR_SESSION | FOR_ALWAYS;
}

void chain_message_ended(struct chain_walk *w)
{
    if (w->envelope == NULL)
        return;
    for (size_t i = 0; i < w->chain->count; i++)
        end_message(&w->seats[i]);
    w->envelope = NULL;
    header_splitter_done(&w->splitter);
    header_splitter_init(&w->splitter, &loop_pools(w->loop)->medium, FILTER_FIELD_MAX);
    forget_words(w);
}

void chain_walk_end(struct chain_walk **held)
{
    struct chain_walk *w = *held;

    if (w == NULL)
        return;
    *held = NULL;
    chain_forget(w);
    chain_message_ended(w);
    for (size_t i = 0; i < w->chain->count; i++) {
        struct seat *s = &w->seats[i];
        forget(s);
        if (filter_of(s)->ops->session_ended != NULL)
            filter_of(s)->ops->session_ended(&s->seat);
    }
    arena_reset(&w->session);
    arena_reset(&w->message);
    mem_free(w);
}
