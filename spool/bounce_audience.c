/* SPDX-License-Identifier: BSD-2-Clause */
/* Who is told. */
#include <assert.h>

#include "proxy/smtp/params.h"
#include "spool/bounce_private.h"

bool bounce_is_wanted(const struct spool_recipient *s, enum bounce_kind kind)
{
    static const enum params_notify asked_by[] = {
        [BOUNCE_FAILED] = PARAMS_NOTIFY_FAILURE,
        [BOUNCE_DELAYED] = PARAMS_NOTIFY_DELAY,
        [BOUNCE_RELAYED] = PARAMS_NOTIFY_SUCCESS,
        [BOUNCE_DELIVERED] = PARAMS_NOTIFY_SUCCESS,
    };

    assert((size_t)kind < ARRAY_LENGTH(asked_by));
    return params_notifies(s->params, asked_by[kind]);
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
