/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is told. */
#include <assert.h>

#include "proxy/smtp/params.h"
#include "spool/bounce_private.h"

/* RFC 3461 4.1: NOTIFY=NEVER, or any of SUCCESS, FAILURE, DELAY, between commas. */
static bool names(struct bytes list, const char *word)
{
    for (;;) {
        struct bytes item = bytes_first(list, bytes_find(list, ','));

        if (bytes_is_nocase(item, word))
            return true;
        if (item.len == list.len)
            return false;
        list = bytes_skip(list, item.len + 1);
    }
}

bool bounce_is_wanted(const struct spool_recipient *s, enum bounce_kind kind)
{
    static const char *const words[] = {
        [BOUNCE_FAILED] = "FAILURE", [BOUNCE_DELAYED] = "DELAY", [BOUNCE_RELAYED] = "SUCCESS"};
    struct bytes params = s->params;
    struct param param;

    assert((size_t)kind < ARRAY_LENGTH(words));
    while (params_next(&params, &param) == 0)
        if (bytes_is_nocase(param.keyword, "NOTIFY"))
            return names(param.value, words[kind]);
    return kind == BOUNCE_FAILED || kind == BOUNCE_DELAYED;
}

bool bounce_tells(const struct bounce_job *job, uint32_t index)
{
    assert(index < job->message->recipient_count);
    return job->is_due[index] && bounce_is_wanted(&job->message->recipients[index], job->kind);
}

static bool is_same(const struct address *address, const struct address *b)
{
    return bytes_equal_nocase(address->local, b->local) &&
           bytes_equal_nocase(address->domain, b->domain);
}

struct address bounce_postmaster(const struct bounce_conf *conf)
{
    struct bytes text = conf->postmaster;
    const uint8_t *at = text.len == 0 ? NULL : memrchr(text.at, '@', text.len);
    size_t local = at == NULL ? text.len : (size_t)(at - text.at);
    struct address postmaster = {.local = bytes_first(text, local), .domain = conf->hostname};

    if (local != text.len)
        postmaster.domain = bytes_skip(text, local + 1);
    postmaster.is_literal = address_is_literal(postmaster.domain);
    return postmaster;
}

/* If a message from <> was refused, only the postmaster is told. If it was sent to the postmaster,
 * nobody is told: else reports on reports would go on for ever. */
enum bounce_result bounce_choose_audience(const struct bounce_conf *conf,
                                          const struct bounce_job *job,
                                          struct bounce_audience *audience)
{
    const struct spool_message *m = job->message;
    bool is_null = address_is_null(&m->envelope.from);
    uint32_t told = 0, told_of_postmaster = 0;

    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (!bounce_tells(job, i))
            continue;
        told++;
        told_of_postmaster += is_same(&m->recipients[i].original, &audience->postmaster);
    }
    audience->has_sender = !is_null && (conf->to == BOUNCE_TO_SENDER || conf->to == BOUNCE_TO_BOTH);
    if (told == 0 || (job->kind != BOUNCE_FAILED && !audience->has_sender))
        return BOUNCE_NOTHING;
    if (conf->to == BOUNCE_TO_NONE || (is_null && told == told_of_postmaster))
        return BOUNCE_HELD;
    audience->has_postmaster =
        job->kind == BOUNCE_FAILED &&
        (is_null || conf->to == BOUNCE_TO_POSTMASTER ||
         (conf->to == BOUNCE_TO_BOTH && !is_same(&m->envelope.from, &audience->postmaster)));
    return BOUNCE_MADE;
}

enum bounce_result bounce_foresee(const struct bounce_conf *conf, const struct bounce_job *job)
{
    struct bounce_audience audience = {.postmaster = bounce_postmaster(conf)};

    return bounce_choose_audience(conf, job, &audience);
}
