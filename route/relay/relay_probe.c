/* SPDX-License-Identifier: BSD-2-Clause */
/* What is looked at, one conversation after the other with each address, and what they show. */
#include "route/relay/relay_probe.h"

#include <limits.h>
#include <stdio.h>

#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "route/relay/relay_endpoints.h"
#include "route/relay/relay_conf.h"
#include "route/relay/relay_service.h"
#include "route/relay/relay_talk.h"

#define WORDS_MAX 8192

struct relay_probe {
    const struct relay_service *service;
    const struct relay_conf *conf;
    const struct relay_probe_events *events;
    void *owner;
    struct relay_probe_asked asked;
    struct relay_log log;
    struct relay_endpoints endpoints;
    uint64_t began_us; /* names */
    /* of the address that is looked at */
    unsigned at;
    char address[RELAY_ENDPOINT_TEXT_MAX];
    unsigned next; /* what to look at */
    struct relay_talk_job job;
    struct capability caps;
    struct buf words;   /* the target's, in this conversation */
    bool is_identified; /* the target has been told who the client is */
    bool takes_mail, is_greeted;
    unsigned good_count; /* addresses */
};

/* ---- lines ---- */

static void put_line(struct relay_probe *p, const char *stage, const char *result, uint64_t us,
                     struct bytes words)
{
    struct relay_probe_line line = {
        .address = p->address, .stage = stage, .result = result, .us = us, .words = words};

    p->events->line(p->owner, &line);
}

/* The target's words as one line: "250-a / 250 b". */
static void put_words(struct buf *out, struct bytes said, unsigned lines_max)
{
    bool is_first = true;

    while (said.len != 0 && lines_max-- != 0) {
        struct bytes line = bytes_first(said, bytes_find(said, '\n'));
        said = bytes_skip(said, line.len < said.len ? line.len + 1 : line.len);
        if (line.len != 0 && line.at[line.len - 1] == '\r')
            line.len--;
        if (!is_first)
            buf_text(out, " / ");
        is_first = false;
        buf_put(out, line);
    }
}

/* ---- one conversation ---- */

static void look_on(struct relay_probe *p);

static bool is_one_of(const char *stage, const char *const *stages)
{
    while (*stages != NULL && strcmp(stage, *stages) != 0)
        stages++;
    return *stages != NULL;
}

/* All is told once; later what a conversation is about, what the target says to whom it believes
 * the client to be, and what fails. */
static bool is_told(struct relay_probe *p, const struct relay_talk_step *step)
{
    static const char *const identifying[] = {"XCLIENT", "XFORWARD", NULL};
    static const char *const telling[] = {"MAIL+RCPT", "BDAT", "content", NULL};
    static const char *const opening[] = {"connect", "STARTTLS", "TLS", "AUTH", NULL};
    const unsigned headers = IDENTITY_KIND_PROXY_V1 | IDENTITY_KIND_PROXY_V2;

    if (p->job.aim == RELAY_TALK_ENVELOPE || !step->is_good)
        return true;
    if ((p->job.identity & headers) != 0 || is_one_of(step->stage, identifying))
        p->is_identified = true;
    if (p->job.aim != RELAY_TALK_IDENTITY)
        return is_one_of(step->stage, telling);
    return p->is_identified && !is_one_of(step->stage, opening);
}

static void on_step(void *owner, const struct relay_talk_step *step)
{
    struct relay_probe *p = owner;
    bool is_line = p->job.aim == RELAY_TALK_ENVELOPE;

    if (!is_told(p, step) || (is_line && step->is_good && strcmp(step->stage, "TLS") == 0))
        return; /* see on_secured() */
    if (is_line)
        buf_reset(&p->words);
    else
        buf_cat(&p->words, buf_length(&p->words) == 0 ? "" : "; ", step->stage, ": ", NULL);
    put_words(&p->words, step->said, is_line ? UINT_MAX : 1);
    if (step->problem != NULL)
        buf_cat(&p->words, step->said.len != 0 ? ": " : "", step->problem, NULL);
    if (is_line)
        put_line(p, step->stage, step->is_good ? "ok" : "failed", step->us, buf_bytes(&p->words));
}

static void on_secured(void *owner, const struct stream *stream, const struct tls_facts *facts,
                       uint64_t us)
{
    struct relay_probe *p = owner;
    bool verifies = p->conf->tls.mode == RELAY_TLS_VERIFY;

    if (p->job.aim != RELAY_TALK_ENVELOPE)
        return;
    buf_reset(&p->words);
    tls_facts_put(&p->words, facts);
    buf_text(&p->words, verifies ? ", verified, " : ", not verified, ");
    stream_put_certificate(stream, &p->words);
    put_line(p, "TLS", "ok", us, buf_bytes(&p->words));
}

static void judge_envelope(struct relay_probe *p, const struct relay_talk_result *result)
{
    p->takes_mail = result->is_good;
    p->is_greeted = result->is_greeted && !result->is_unasked; /* else all would mislead */
    p->caps = result->caps;
}

/* What is announced and does not hold keeps mail from going: it would be used. */
static void judge_announced(struct relay_probe *p, const char *name, bool is_honest, bool is_tested)
{
    const char *verdict = is_honest ? "honest" : is_tested ? "not honest" : "not tested";

    put_line(p, name, verdict, RELAY_PROBE_NO_TIME, buf_bytes(&p->words));
    if (is_tested && !is_honest)
        p->takes_mail = false;
}

static void judge_identity(struct relay_probe *p, const struct relay_talk_result *result)
{
    const unsigned used = p->conf->identity;
    const struct {
        unsigned kind;
        const char *name;
    } kinds[] = {{IDENTITY_KIND_XCLIENT, "XCLIENT"},
                 {IDENTITY_KIND_XFORWARD, "XFORWARD"},
                 {IDENTITY_KIND_PROXY_V1, "PROXY v1"},
                 {IDENTITY_KIND_PROXY_V2, "PROXY v2"}};
    size_t i = 0;

    while (kinds[i].kind != p->job.identity)
        i++;
    put_line(p, kinds[i].name,
             !result->is_answered  ? "not taken"
             : result->is_believed ? "believed"
                                   : "taken",
             RELAY_PROBE_NO_TIME, buf_bytes(&p->words));
    if (!result->is_answered && (used & (p->job.identity | IDENTITY_KIND_AUTO)) != 0 &&
        p->conf->identity_failure == RELAY_IDENTITY_FAILURE_DEFER)
        p->takes_mail = false;
}

static void judge_smuggling(struct relay_probe *p, const struct relay_talk_result *result)
{
    const char *verdict = result->is_smuggled   ? "smuggled"
                          : !result->is_written ? "not tested"
                          : result->is_refused  ? "refused"
                                                : "not smuggled";
    struct buf words;

    buf_init(&words, &loop_pools(p->service->loop)->medium, WORDS_MAX);
    for (size_t i = 0; i < p->job.ending.len; i++)
        buf_text(&words, p->job.ending.at[i] == '\r'   ? "CR "
                         : p->job.ending.at[i] == '\n' ? "LF "
                                                       : ". ");
    buf_put(&words, buf_bytes(&p->words));
    put_line(p, "smuggling", verdict, RELAY_PROBE_NO_TIME, buf_bytes(&words));
    buf_done(&words);
}

static void on_over(void *owner, const struct relay_talk_result *result)
{
    struct relay_probe *p = owner;

    switch (p->job.aim) {
    case RELAY_TALK_ENVELOPE:
        judge_envelope(p, result);
        break;
    case RELAY_TALK_PIPELINE:
        judge_announced(p, "PIPELINING", result->is_answered, true);
        break;
    case RELAY_TALK_CHUNK:
        judge_announced(p, "CHUNKING", result->is_written && result->is_good, result->is_written);
        break;
    case RELAY_TALK_IDENTITY:
        judge_identity(p, result);
        break;
    case RELAY_TALK_SMUGGLE:
        judge_smuggling(p, result);
        break;
    }
    look_on(p);
}

static const struct relay_talk_events talk_events = {
    .step = on_step, .secured = on_secured, .over = on_over};

/* ---- what is looked at ---- */

static const char *const endings[] = {"\n.\n", "\n.\r\n", "\r\n.\n", "\r.\r", "\r.\r\n", "\r\n.\r"};

static const unsigned identities[] = {IDENTITY_KIND_XCLIENT, IDENTITY_KIND_XFORWARD,
                                      IDENTITY_KIND_PROXY_V1, IDENTITY_KIND_PROXY_V2};

enum {
    LOOK_ENVELOPE,
    LOOK_PIPELINE,
    LOOK_CHUNK,
    LOOK_IDENTITIES,
    LOOK_ENDINGS = LOOK_IDENTITIES + 4
};

static bool is_offered(const struct relay_probe *p, unsigned identity)
{
    unsigned announced =
        (capability_has(&p->caps, CAPABILITY_XCLIENT) ? IDENTITY_KIND_XCLIENT : 0) |
        (capability_has(&p->caps, CAPABILITY_XFORWARD) ? IDENTITY_KIND_XFORWARD : 0);

    return ((announced | p->conf->identity) & identity) != 0;
}

/* False: nothing is to be seen there. */
static bool make_job(struct relay_probe *p, unsigned look)
{
    p->job = (struct relay_talk_job){.to = p->asked.to};
    if (look == LOOK_ENVELOPE)
        return true; /* the aim is 0 */
    if (look == LOOK_PIPELINE) {
        p->job.aim = RELAY_TALK_PIPELINE;
        return capability_has(&p->caps, CAPABILITY_PIPELINING);
    }
    if (look == LOOK_CHUNK) {
        p->job.aim = RELAY_TALK_CHUNK;
        return capability_has(&p->caps, CAPABILITY_CHUNKING) &&
               p->conf->chunking == RELAY_CHUNKING_AUTO;
    }
    if (look < LOOK_ENDINGS) {
        p->job.aim = RELAY_TALK_IDENTITY;
        p->job.identity = identities[look - LOOK_IDENTITIES];
        return is_offered(p, p->job.identity);
    }
    p->job.aim = RELAY_TALK_SMUGGLE;
    p->job.ending = bytes_of(endings[look - LOOK_ENDINGS]);
    return p->asked.smuggles;
}

static void finish(struct relay_probe *p)
{
    unsigned wanted = p->conf->fails_over ? 1 : p->endpoints.count;
    bool goes = p->endpoints.count != 0 && p->good_count >= wanted;

    p->events->over(p->owner, goes);
}

static void end_address(struct relay_probe *p)
{
    put_line(p, "mail", p->takes_mail ? "would go" : "would not go", RELAY_PROBE_NO_TIME,
             bytes_make(NULL, 0));
    p->good_count += p->takes_mail;
    p->at++;
    p->next = 0;
    p->is_greeted = true;
}

/* The next conversation. */
static void look_on(struct relay_probe *p)
{
    const struct relay_endpoints *known = &p->endpoints;

    while (p->at < known->count) {
        relay_endpoint_text(&known->at[p->at].to, p->address);
        if (!p->is_greeted || p->next == LOOK_ENDINGS + ARRAY_LENGTH(endings)) {
            end_address(p);
            continue;
        }
        if (!make_job(p, p->next++))
            continue;
        buf_reset(&p->words);
        p->is_identified = false;
        if (relay_talk_new(p->service, p->conf, &known->at[p->at].to, &p->job, &talk_events, p) !=
            NULL)
            return;
        put_line(p, "connect", "failed", RELAY_PROBE_NO_TIME,
                 bytes_of("out of memory, or of descriptors"));
        p->takes_mail = false;
    }
    finish(p);
}

/* ---- names ---- */

static void on_resolved(struct relay_endpoints *e)
{
    struct relay_probe *p = CONTAINER_OF(e, struct relay_probe, endpoints);
    char count[32];
    enum reply_id refusal = relay_endpoints_refusal(e);

    snprintf(count, sizeof(count), e->count == 1 ? "%u address" : "%u addresses", e->count);
    snprintf(p->address, sizeof(p->address), "%.*s", (int)p->conf->section.len,
             (const char *)p->conf->section.at);
    p->is_greeted = true;
    put_line(p, "names", e->count != 0 ? "ok" : "failed",
             loop_precise_us(p->service->loop) - p->began_us,
             refusal != REPLY_OK ? text_trim(reply_own(refusal).wire) : bytes_of(count));
    look_on(p);
}

static void on_nothing(struct relay_endpoints *e)
{
    (void)e;
}

static void on_no_probe(struct relay_endpoints *e, const struct stream_target *to)
{
    (void)e;
    (void)to;
}

static const struct relay_endpoints_ops endpoints_ops = {
    .resolved = on_resolved, .probe = on_no_probe, .up = on_nothing};

/* ---- life ---- */

struct relay_probe *relay_probe_new(const struct relay_service *service, const void *conf,
                                    const struct relay_probe_asked *asked,
                                    const struct relay_probe_events *events, void *owner)
{
    struct relay_probe *p = mem_zalloc(sizeof(*p));

    if (p == NULL)
        return NULL;
    p->service = service;
    p->conf = conf;
    p->asked = *asked;
    p->events = events;
    p->owner = owner;
    buf_init(&p->words, &loop_pools(service->loop)->medium, WORDS_MAX);
    relay_log_init(&p->log, service, conf);
    if (relay_endpoints_init(&p->endpoints, &endpoints_ops, service, conf, &p->log) == 0)
        return p;
    relay_probe_free(&p);
    return NULL;
}

void relay_probe_begin(struct relay_probe *p)
{
    p->began_us = loop_precise_us(p->service->loop);
    if (relay_endpoints_resolve(&p->endpoints))
        on_resolved(&p->endpoints);
}

void relay_probe_free(struct relay_probe **held)
{
    struct relay_probe *p = *held;

    if (p == NULL)
        return;
    relay_endpoints_close(&p->endpoints);
    relay_endpoints_done(&p->endpoints);
    buf_done(&p->words);
    mem_free(p);
    *held = NULL;
}
