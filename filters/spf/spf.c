/* SPDX-License-Identifier: BSD-2-Clause */
/* Begins the checks at MAIL, and makes a verdict of their results. */
#include "filters/spf/spf.h"

#include "filters/spf/spf_check.h"
#include "filters/spf/spf_conf.h"
#include "filters/spf/spf_header.h"
#include "filters/spf/spf_program.h"
#include "proxy/base/arena.h"
#include "proxy/base/error.h"
#include "proxy/base/mem.h"

#define PARTS_MAX  2          /* HELO, MAIL FROM */
#define TEXTS_MAX  (32 << 10) /* of one message: who is checked, and what came of it */
#define LINES_MAX  16384
#define REPLY_ROOM 2048
#define LATE_MS    5000 /* beyond the time-out, which the checks keep themselves */

struct spf {
    struct filter filter;
    const struct spf_conf *conf;
    struct filter_services *services;
    struct spf_service service;
    char path[SPF_PROGRAM_PATH_MAX];
};

struct spf_message;

struct spf_part {
    struct spf_message *message;
    struct spf_check check;
    struct spf_report report;
    bool is_due;
};

/* seat->message: what is checked of one message. */
struct spf_message {
    struct filter_seat *seat;
    struct arena arena;
    size_t count;
    struct spf_part parts[PARTS_MAX];
};

static struct spf *spf_of(const struct filter_seat *seat)
{
    return CONTAINER_OF(seat->filter, struct spf, filter);
}

/* ---- the verdict ---- */

static enum spf_action action_of(const struct spf_conf *conf, const struct spf_report *report)
{
    return conf->actions[report->reply.result];
}

/* The worst; the first of equal ones. */
static const struct spf_report *deciding(const struct spf_conf *conf, const struct spf_message *m)
{
    const struct spf_report *worst = &m->parts[0].report;

    for (size_t i = 1; i < m->count; i++)
        if (action_of(conf, &m->parts[i].report) < action_of(conf, worst))
            worst = &m->parts[i].report;
    return worst;
}

/* RFC 7372 3.2 */
static void put_reply(struct buf *out, const struct spf_report *report, enum spf_action action)
{
    bool is_error = report->reply.result == SPF_TEMPERROR || report->reply.result == SPF_PERMERROR;

    buf_text(out, action == SPF_ACTION_REJECT ? "550 5.7." : "451 4.7.");
    buf_text(out, is_error ? "24 " : "23 ");
    spf_header_put_refusal(out, report);
}

static void put_lines(struct buf *out, const struct spf_conf *conf, const struct spf_message *m)
{
    struct spf_report marked[PARTS_MAX];
    size_t count = 0;

    for (size_t i = 0; i < m->count; i++)
        if (action_of(conf, &m->parts[i].report) == SPF_ACTION_MARK)
            marked[count++] = m->parts[i].report;
    if ((conf->header & SPF_FIELD_RESULTS) != 0 && count > 0)
        spf_header_put_results(out, conf->authserv_id, marked, count);
    for (size_t i = 0; i < count && (conf->header & SPF_FIELD_RECEIVED) != 0; i++)
        spf_header_put_received(out, &marked[i]);
}

/* The message, and the seat with it, may be gone after this. */
static void answer(struct spf_message *m)
{
    struct filter_seat *seat = m->seat;
    const struct spf *spf = spf_of(seat);
    struct loop_pools *pools = loop_pools(spf->service.loop);
    const struct spf_report *report = deciding(spf->conf, m);
    enum spf_action action = action_of(spf->conf, report);
    struct filter_verdict verdict = {.opinion = FILTER_CONTINUE,
                                     .word = bytes_of(spf_result_name(report->reply.result))};
    struct arena arena;
    struct buf text;

    arena_init(&arena, &pools->small, REPLY_ROOM);
    buf_init(&text, &pools->medium, LINES_MAX);
    if (action <= SPF_ACTION_DEFER) {
        put_reply(&text, report, action);
        verdict.opinion = reply_make(&arena, buf_bytes(&text), &verdict.reply) == 0 ? FILTER_REPLY
                                                                                    : FILTER_FAILED;
    } else {
        put_lines(&text, spf->conf, m);
        verdict.lines = buf_bytes(&text);
    }
    if (text.has_failed)
        verdict.opinion = FILTER_FAILED;
    filter_answer(seat, &verdict);
    buf_done(&text);
    arena_reset(&arena);
}

/* ---- the parts ---- */

/* Copies a text for the life of the message. False: no memory, and the text is empty. */
static bool keep(struct spf_message *m, struct bytes *text)
{
    struct bytes given = *text;

    *text = bytes_make(NULL, 0);
    return arena_copy(&m->arena, given, text) == 0;
}

static bool is_due(const struct spf_message *m)
{
    bool is_any = false;

    for (size_t i = 0; i < m->count; i++)
        is_any = is_any || m->parts[i].is_due;
    return is_any;
}

/* Texts for which there is no memory are left out. */
static void on_done(struct spf_check *check, const struct spf_reply *reply)
{
    struct spf_part *part = CONTAINER_OF(check, struct spf_part, check);
    struct spf_message *m = part->message;

    part->is_due = false;
    part->report.reply = *reply;
    (void)keep(m, &part->report.reply.explanation);
    (void)keep(m, &part->report.reply.mechanism);
    (void)keep(m, &part->report.reply.problem);
    if (!is_due(m))
        answer(m);
}

static void cancel(struct spf_message *m)
{
    for (size_t i = 0; i < m->count; i++) {
        if (m->parts[i].is_due)
            spf_check_cancel(&m->parts[i].check);
        m->parts[i].is_due = false;
    }
}

/* False: no memory. */
static bool begin(struct spf_message *m, const struct filter_question *question,
                  enum spf_identity identity)
{
    struct spf *spf = spf_of(m->seat);
    const struct address *from = &question->message->envelope.from;
    bool is_helo = identity == SPF_IDENTITY_HELO;
    struct spf_part *part = &m->parts[m->count++];
    struct spf_subject *subject = &part->report.subject;

    part->message = m;
    part->report.identity = identity;
    *subject = (struct spf_subject){
        .client = question->client->client,
        .helo = question->helo,
        .local = is_helo ? bytes_make(NULL, 0) : from->local,
        .sender_domain = is_helo ? question->helo : from->domain,
        .receiver = spf->conf->hostname,
        .wall_s = (uint64_t)loop_wall_ms(spf->service.loop) / 1000,
    };
    if (!keep(m, &subject->helo) || !keep(m, &subject->local) || !keep(m, &subject->sender_domain))
        return false;
    subject->domain = subject->sender_domain;
    part->is_due = spf_check_begin(&part->check, &spf->service, subject, spf->conf->explain,
                                   spf->conf->timeout_ms, on_done);
    return part->is_due;
}

/* Without a domain there is only what the client says it is (RFC 7208 2.4). */
static bool begin_all(struct spf_message *m, const struct filter_question *question)
{
    const struct spf_conf *conf = spf_of(m->seat)->conf;
    bool has_domain = question->message->envelope.from.domain.len > 0;
    bool checks_helo = conf->check != SPF_CHECKED_MAIL || !has_domain;
    bool checks_mail = conf->check != SPF_CHECKED_HELO && has_domain;

    return (!checks_helo || begin(m, question, SPF_IDENTITY_HELO)) &&
           (!checks_mail || begin(m, question, SPF_IDENTITY_MAIL));
}

/* ---- the filter ---- */

static void end_message(struct filter_seat *seat)
{
    struct spf_message *m = seat->message;

    if (m == NULL)
        return;
    seat->message = NULL;
    cancel(m);
    arena_reset(&m->arena);
    mem_free(m);
}

static void answer_at_once(struct filter_seat *seat, enum filter_opinion opinion)
{
    filter_answer(seat, &(struct filter_verdict){.opinion = opinion});
}

/* A client without an address has no policy to keep to. */
static void ask(struct filter_seat *seat, const struct filter_question *question)
{
    struct spf_message *m;

    assert(question->stage == SESSION_STAGE_MAIL && seat->message == NULL);
    if (question->client->client.family == NETADDR_NONE) {
        answer_at_once(seat, FILTER_CONTINUE);
        return;
    }
    m = mem_zalloc(sizeof(*m));
    if (m != NULL) {
        seat->message = m;
        m->seat = seat;
        arena_init(&m->arena, &loop_pools(spf_of(seat)->service.loop)->small, TEXTS_MAX);
    }
    if (m == NULL || !begin_all(m, question)) {
        end_message(seat);
        answer_at_once(seat, FILTER_FAILED);
    }
}

static void forget(struct filter_seat *seat)
{
    end_message(seat);
}

static void close_filter(struct filter *filter)
{
    spf_child_close(&CONTAINER_OF(filter, struct spf, filter)->service.child);
}

static void free_filter(struct filter *filter)
{
    struct spf *spf = CONTAINER_OF(filter, struct spf, filter);

    assert(spf->service.child == NULL);
    mem_free(spf);
}

static const struct filter_ops ops = {.ask = ask,
                                      .forget = forget,
                                      .message_ended = end_message,
                                      .close = close_filter,
                                      .free = free_filter};

/* The evaluator is gone, or does not start: whose check it was, or why. */
static void log_trouble(void *owner, struct bytes domain, int error)
{
    const struct spf *spf = owner;
    struct log_line line =
        log_begin(spf->services->log, spf->services->log_sinks, LOG_LEVEL_WARNING, "spf-evaluator");

    log_put(&line, "filter", spf->conf->common.section);
    if (error != 0)
        log_put_error(&line, "error", error);
    else
        log_put(&line, "domain", domain);
    log_end(&line);
}

static struct filter *open_filter(struct filter_services *services, const void *conf,
                                  int *error_out)
{
    struct spf *spf = mem_zalloc(sizeof(*spf));
    bool writes_results;

    *error_out = ERR_MEMORY;
    if (spf == NULL)
        return NULL;
    spf->conf = conf;
    spf->services = services;
    writes_results = (spf->conf->header & SPF_FIELD_RESULTS) != 0;
    (void)spf_program_find(spf->path); /* where it is missing, its start says so */
    spf->service = (struct spf_service){.loop = services->loop, .dns = services->dns};
    spf->service.child = spf_child_new(services->loop, spf->path, log_trouble, spf);
    if (spf->service.child == NULL) {
        mem_free(spf);
        return NULL;
    }
    spf->filter = (struct filter){.ops = &ops,
                                  .common = &spf->conf->common,
                                  .stages = 1U << SESSION_STAGE_MAIL,
                                  .authserv_id =
                                      writes_results ? spf->conf->authserv_id : bytes_make(NULL, 0),
                                  .timeout_ms = spf->conf->timeout_ms + LATE_MS};
    return &spf->filter;
}

static void check_program(const void *conf, struct cf_place place, struct cf_problems *problems)
{
    char path[SPF_PROGRAM_PATH_MAX];

    (void)conf;
    if (!spf_program_find(path))
        cf_fault(problems, place,
                 bytes_of("postern-spf is neither beside postern nor in ../libexec/postern"));
}

const struct filter_kind spf_kind = {.section = &spf_conf_section,
                                     .finish = spf_conf_finish,
                                     .check = check_program,
                                     .open = open_filter};
