/* SPDX-License-Identifier: BSD-2-Clause */
/* A milter as a filter: one connection for each client, and what its failures mean. */
#include "filters/milter/milter.h"

#include "filters/milter/milter_log.h"
#include "filters/milter/milter_link.h"
#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/base/version.h"

#define KEPT_MAX 32768

#define STAGES                                                                                     \
    (1U << SESSION_STAGE_CONNECT | 1U << SESSION_STAGE_HELO | 1U << SESSION_STAGE_MAIL |           \
     1U << SESSION_STAGE_RCPT | 1U << SESSION_STAGE_DATA | 1U << SESSION_STAGE_END |               \
     1U << SESSION_STAGE_COMMAND)

struct milter {
    struct filter filter;
    const struct milter_conf *conf;
    struct milter_service service;
    struct milter_log log;
    char **paths;
};

/* seat->session. */
struct milter_session {
    struct filter_seat *seat;
    struct milter_link *link; /* NULL: none now */
    uint32_t edits;           /* what the seat was allowed at first */
    struct arena arena;
    enum session_stage asked; /* SESSION_STAGE_NONE: nothing */
    bool is_judged;           /* `verdict` is for all that the client does */
    struct milter_verdict verdict;
    /* of the message */
    const char *problem; /* why it cannot be judged; NULL: nothing yet */
    bool is_told;        /* the milter was asked about it */
    bool is_edited;      /* it has begun to change it */
};

static struct milter *milter_of(const struct filter_seat *seat)
{
    return CONTAINER_OF(seat->filter, struct milter, filter);
}

static bool is_of_message(enum session_stage stage)
{
    return stage >= SESSION_STAGE_MAIL && stage <= SESSION_STAGE_END;
}

/* ---- what may be edited ---- */

static void note_edits(struct milter_session *s)
{
    const struct milter_talk *talk = s->link == NULL ? NULL : &s->link->talk;
    uint32_t edits = s->edits;

    if (talk != NULL && talk->state == MILTER_TALK_OPEN)
        edits &= milter_conf_edits_of(talk->terms.actions);
    if (milter_of(s->seat)->conf->default_action == MILTER_DEFAULT_QUARANTINE)
        edits |= s->edits & FILTER_EDIT(FILTER_QUARANTINE);
    s->seat->edits = edits;
}

/* ---- answers ---- */

static void answer_plainly(struct milter_session *s, enum filter_opinion opinion)
{
    filter_answer(s->seat, &(struct filter_verdict){.opinion = opinion});
}

static void answer(struct milter_session *s, const struct milter_verdict *verdict)
{
    filter_answer(s->seat,
                  &(struct filter_verdict){.opinion = verdict->opinion, .reply = verdict->reply});
}

static void refuse(struct milter_session *s, enum reply_id id)
{
    filter_answer(s->seat, &(struct filter_verdict){.opinion = FILTER_REPLY,
                                                    .reply = reply_own(id),
                                                    .word = bytes_of(s->problem)});
}

static void fail(struct milter_session *s)
{
    filter_answer(s->seat,
                  &(struct filter_verdict){.opinion = FILTER_FAILED, .word = bytes_of(s->problem)});
}

/* The message is held, unless the milter has begun to change it: half of what it wanted is nothing
 * that anybody wanted. */
static void quarantine(struct milter_session *s, enum session_stage stage)
{
    const struct filter_edit edit = {.kind = FILTER_QUARANTINE, .value = bytes_of(s->problem)};

    if ((s->seat->edits & FILTER_EDIT(FILTER_QUARANTINE)) == 0 || s->is_edited) {
        refuse(s, REPLY_FILTER_AWAY);
        return;
    }
    if (stage == SESSION_STAGE_END)
        (void)filter_edit(s->seat, &edit);
    filter_answer(s->seat, &(struct filter_verdict){.opinion = FILTER_CONTINUE,
                                                    .word = bytes_of(s->problem)});
}

/* What a message gets that the milter cannot judge. */
static void answer_failure(struct milter_session *s, enum session_stage stage)
{
    if (stage <= SESSION_STAGE_DATA)
        s->seat->edits &= FILTER_EDIT(FILTER_QUARANTINE);
    switch (milter_of(s->seat)->conf->default_action) {
    case MILTER_DEFAULT_ACCEPT:
    case MILTER_DEFAULT_TEMPFAIL:
        fail(s);
        return;
    case MILTER_DEFAULT_REJECT:
        refuse(s, REPLY_MILTER_REJECTS);
        return;
    case MILTER_DEFAULT_QUARANTINE:
        quarantine(s, stage);
        return;
    }
}

/* Before there is a message nothing has to be decided: the next question tries again. */
static void give_up(struct milter_session *s, const char *problem)
{
    enum session_stage stage = s->asked;

    s->asked = SESSION_STAGE_NONE;
    if (s->is_told || is_of_message(stage))
        s->problem = problem;
    if (stage == SESSION_STAGE_NONE)
        return;
    if (is_of_message(stage))
        answer_failure(s, stage);
    else
        answer_plainly(s, FILTER_CONTINUE);
}

/* ---- events of the link ---- */

static void on_unreached(void *owner, const struct milter_link *link, int error)
{
    struct milter_session *s = owner;

    milter_log_unreached(&milter_of(s->seat)->log, link, error);
}

static void on_agreed(void *owner, const struct milter_link *link, uint32_t beyond)
{
    struct milter_session *s = owner;

    milter_log_agreed(&milter_of(s->seat)->log, link, beyond);
    note_edits(s);
}

/* False: no memory. The reply lies where the next answer will. */
static bool keep_verdict(struct milter_session *s, const struct milter_verdict *verdict)
{
    s->verdict = *verdict;
    s->is_judged =
        verdict->reply.code == 0 || reply_copy(&s->arena, &verdict->reply, &s->verdict.reply) == 0;
    return s->is_judged;
}

static void drop_link(struct milter_session *s)
{
    struct milter_link *link = s->link;

    s->link = NULL;
    if (link != NULL)
        milter_link_close(link);
}

static void on_verdict(void *owner, const struct milter_verdict *verdict)
{
    struct milter_session *s = owner;

    if (!verdict->is_of_session) {
        s->asked = SESSION_STAGE_NONE;
        answer(s, verdict);
        return;
    }
    bool is_kept = keep_verdict(s, verdict);
    drop_link(s);
    if (is_kept) {
        s->asked = SESSION_STAGE_NONE;
        answer(s, &s->verdict);
    } else {
        give_up(s, "no memory");
    }
}

/* What the seat may not do is not done; but a message with a body that the milter did not want is
 * not the one that it agrees with. */
static bool on_edit(void *owner, const struct filter_edit *edit)
{
    struct milter_session *s = owner;
    bool is_allowed = (s->seat->edits & FILTER_EDIT(edit->kind)) != 0;

    s->is_edited = s->is_edited || is_allowed;
    if (is_allowed)
        return filter_edit(s->seat, edit);
    milter_log_ignored(&milter_of(s->seat)->log, edit->kind);
    if (edit->kind == FILTER_REPLACE_BODY) {
        drop_link(s);
        give_up(s, "a new body, which cannot be made here");
    }
    return true;
}

static void on_ignored(void *owner, enum filter_edit_kind kind)
{
    struct milter_session *s = owner;

    milter_log_ignored(&milter_of(s->seat)->log, kind);
}

static void on_more(void *owner)
{
    struct milter_session *s = owner;

    filter_more(s->seat);
}

static void on_failed(void *owner, const char *problem)
{
    struct milter_session *s = owner;
    bool waits = s->asked == SESSION_STAGE_NONE && s->is_told;

    s->link = NULL;
    give_up(s, problem);
    if (waits)
        filter_more(s->seat); /* what is left of the content goes nowhere */
}

static const struct milter_link_events link_events = {.unreached = on_unreached,
                                                      .agreed = on_agreed,
                                                      .verdict = on_verdict,
                                                      .edit = on_edit,
                                                      .ignored = on_ignored,
                                                      .more = on_more,
                                                      .failed = on_failed};

/* ---- questions ---- */

static struct milter_about about_of(const struct filter_question *q)
{
    struct milter_about about = {.client = q->client,
                                 .helo = q->helo,
                                 .hostname = q->hostname,
                                 .listener = q->listener,
                                 .version = bytes_of("postern " POSTERN_VERSION),
                                 .line = q->text};

    if (q->message != NULL)
        about.envelope = &q->message->envelope;
    if (q->rcpt != NULL) {
        about.rcpt = &q->rcpt->to;
        about.rcpt_params = q->rcpt->params;
    }
    return about;
}

/* False: there is none. */
static bool has_link(struct milter_session *s)
{
    if (s->link == NULL)
        s->link = milter_link_open(&milter_of(s->seat)->service, &link_events, s);
    return s->link != NULL;
}

/* A milter that could not be reached is tried anew for a message, and when that begins. */
static bool may_begin(const struct milter_session *s, enum session_stage stage)
{
    if (s->link != NULL && stage == SESSION_STAGE_COMMAND)
        return milter_talk_is_usable(&s->link->talk);
    return s->link != NULL || stage == SESSION_STAGE_CONNECT || stage == SESSION_STAGE_MAIL ||
           stage == SESSION_STAGE_RCPT;
}

static void ask_milter(struct milter_session *s, const struct filter_question *q)
{
    struct milter_about about = about_of(q);

    s->asked = q->stage;
    if (!may_begin(s, q->stage) || !has_link(s)) {
        give_up(s, "no connection");
        return;
    }
    s->is_told = s->is_told || is_of_message(q->stage);
    milter_link_ask(s->link, q->stage, &about);
}

static bool is_skipped(const struct milter_session *s, const struct filter_question *q)
{
    return filter_exempts(&milter_of(s->seat)->conf->skips, q->client, NULL);
}

/* NULL: no memory. */
static struct milter_session *session_of(struct filter_seat *seat)
{
    struct milter *m = milter_of(seat);
    struct pool *small = &loop_pools(m->service.loop)->small;
    struct milter_session *s = seat->session;

    if (s != NULL)
        return s;
    s = mem_zalloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    s->seat = seat;
    s->edits = seat->edits;
    arena_init(&s->arena, small, KEPT_MAX);
    seat->session = s;
    return s;
}

static void ask(struct filter_seat *seat, const struct filter_question *q)
{
    struct milter_session *s = session_of(seat);

    if (s == NULL) {
        filter_answer(seat, &(struct filter_verdict){.opinion = FILTER_FAILED,
                                                     .word = bytes_of("no memory")});
        return;
    }
    if (q->stage == SESSION_STAGE_MAIL)
        note_edits(s);
    if (is_skipped(s, q))
        answer_plainly(s, FILTER_ACCEPT);
    else if (s->is_judged)
        answer(s, &s->verdict);
    else if (s->problem != NULL && is_of_message(q->stage))
        answer_failure(s, q->stage);
    else
        ask_milter(s, q);
}

/* The milter's answer would be taken for that to the next question. */
static void forget(struct filter_seat *seat)
{
    struct milter_session *s = seat->session;

    s->asked = SESSION_STAGE_NONE;
    drop_link(s);
    if (s->is_told)
        s->problem = "timeout";
}

/* ---- content ---- */

static bool show_field(struct filter_seat *seat, struct bytes field)
{
    struct milter_session *s = seat->session;

    return s == NULL || s->link == NULL || s->problem != NULL || milter_link_field(s->link, field);
}

static bool show_body(struct filter_seat *seat, struct bytes piece)
{
    struct milter_session *s = seat->session;

    return s == NULL || s->link == NULL || s->problem != NULL || milter_link_body(s->link, piece);
}

static void go_on(struct filter_seat *seat)
{
    struct milter_session *s = seat->session;

    if (s->link != NULL)
        milter_link_go_on(s->link);
}

/* ---- ends ---- */

static void end_message(struct filter_seat *seat)
{
    struct milter_session *s = seat->session;

    if (s == NULL)
        return;
    s->asked = SESSION_STAGE_NONE;
    s->problem = NULL;
    s->is_told = s->is_edited = false;
    if (s->link == NULL)
        return;
    milter_link_end_message(s->link);
    if (s->link != NULL && !milter_talk_is_usable(&s->link->talk))
        drop_link(s);
}

static void end_session(struct filter_seat *seat)
{
    struct milter_session *s = seat->session;

    if (s == NULL)
        return;
    drop_link(s);
    arena_reset(&s->arena);
    mem_free(s);
    seat->session = NULL;
}

/* ---- life ---- */

static void free_filter(struct filter *filter)
{
    struct milter *m = CONTAINER_OF(filter, struct milter, filter);

    for (size_t i = 0; m->paths != NULL && i < m->conf->addresses.count; i++)
        mem_free(m->paths[i]);
    mem_free(m->paths);
    milter_log_done(&m->log);
    mem_free(m);
}

static const struct filter_ops ops = {.ask = ask,
                                      .forget = forget,
                                      .field = show_field,
                                      .body = show_body,
                                      .go_on = go_on,
                                      .message_ended = end_message,
                                      .session_ended = end_session,
                                      .free = free_filter};

/* Of unix sockets, ended by NUL. False: no memory. */
static bool keep_paths(struct milter *m)
{
    const struct endpoints *addresses = &m->conf->addresses;

    m->paths = mem_zalloc(addresses->count * sizeof(*m->paths));
    for (size_t i = 0; m->paths != NULL && i < addresses->count; i++) {
        struct bytes path = addresses->at[i].path;
        if (addresses->at[i].kind != ENDPOINT_UNIX)
            continue;
        m->paths[i] = mem_zalloc(path.len + 1);
        if (m->paths[i] == NULL)
            return false;
        memcpy(m->paths[i], path.at, path.len);
    }
    return m->paths != NULL;
}

/* Each answer, all waits together: a new connection, what was said before, and the end of a message
 * whose milter reports progress for as long as others may take for all of it. */
static uint64_t longest_ms(const struct milter_conf *conf)
{
    const struct milter_times *times = &conf->times;

    return times->connect_ms * (conf->addresses.count + 1) + 4 * times->command_ms +
           2 * times->content_ms;
}

static struct filter *open_filter(struct filter_services *services, const void *conf,
                                  int *error_out)
{
    struct milter *m = mem_zalloc(sizeof(*m));
    uint32_t quarantine_edit;

    *error_out = ERR_MEMORY;
    if (m == NULL)
        return NULL;
    m->conf = conf;
    quarantine_edit =
        m->conf->default_action == MILTER_DEFAULT_QUARANTINE ? FILTER_EDIT(FILTER_QUARANTINE) : 0;
    m->filter = (struct filter){.ops = &ops,
                                .common = &m->conf->common,
                                .stages = STAGES,
                                .edits = m->conf->edits | quarantine_edit,
                                .wants_name = true,
                                .timeout_ms = longest_ms(m->conf)};
    if (!keep_paths(m) || !milter_log_init(&m->log, services, m->conf)) {
        free_filter(&m->filter);
        return NULL;
    }
    m->service = (struct milter_service){
        .loop = services->loop, .dns = services->dns, .conf = m->conf, .paths = m->paths};
    return &m->filter;
}

const struct filter_kind milter_kind = {.section = &milter_conf_section,
                                        .finish = milter_conf_finish,
                                        .edits = true,
                                        .open = open_filter};
