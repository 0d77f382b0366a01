/* SPDX-License-Identifier: BSD-2-Clause */
/* What we say for a branch on its connection, apart from its recipients and content. */
#include "route/relay/relay_job.h"

#include "proxy/base/error.h"
#include "proxy/smtp/header.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_endpoint.h"
#include "route/relay/relay_identity.h"
#include "route/relay/relay_learnt.h"
#include "route/relay/relay_link.h"
#include "route/relay/relay_log.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_recipient.h"

static struct arena *arena_of(const struct relay_branch *w)
{
    return w->branch->transaction->mail;
}

/* `has_accepted`: the target has taken a recipient of it before. */
static struct relay_identity_choice choose(const struct relay_asker *a,
                                           const struct relay_link *link, bool has_accepted)
{
    const struct relay_conf *conf = a->relay->conf;
    struct relay_identity_facts facts = {
        .caps = &link->out.caps,
        .has_announced_xclient =
            (conf->identity & IDENTITY_KIND_AUTO) != 0 && relay_learnt_has_xclient(a->relay),
        .is_xclient_done = link->out.is_xclient_sent,
        .avoids_xclient = a->again.avoids_xclient || relay_asker_has_login(a), /* before AUTH */
        .has_origin = a->carrier->origin != a->carrier->client,
    };
    if (a->carrier->is_spooled)
        return relay_identity_choose_again(conf, &facts, a->carrier->spooled_identity,
                                           has_accepted);
    return relay_identity_choose(conf, &facts);
}

bool relay_job_waits_for_name(const struct relay_asker *a, const struct relay_link *link)
{
    return a->carrier->client->name_state == IDENTITY_NAME_PENDING && !link->out.is_xclient_sent &&
           (choose(a, link, false).kinds & IDENTITY_KIND_XCLIENT) != 0 &&
           loop_now_ms(a->carrier->loop) < a->carrier->resolve_by_ms;
}

/* Who the client is. */
static struct outbound_job introduction(const struct relay_asker *a, unsigned kinds)
{
    const struct relay_conf *conf = a->relay->conf;

    return (struct outbound_job){
        .client = a->carrier->client,
        .origin = a->carrier->origin,
        .sends_xclient = (kinds & IDENTITY_KIND_XCLIENT) != 0,
        .passes_without_identity = conf->identity_failure == RELAY_IDENTITY_FAILURE_PASS,
        .form = relay_identity_form(conf),
        .patience_s =
            (uint32_t)(identity_patience_ms(a->carrier->client, conf->times.final_ms) / 1000),
    };
}

bool relay_job_introduce(const struct relay_asker *a, const struct relay_link *link,
                         struct outbound_job *job_out, unsigned *missing_out)
{
    struct relay_identity_choice choice = choose(a, link, false);

    *job_out = introduction(a, choice.kinds);
    *missing_out = choice.missing;
    return !choice.is_failure || job_out->passes_without_identity;
}

static void fill_tls(struct relay_branch *w)
{
    struct buf text;

    w->branch->facts.tls = bytes_make(NULL, 0);
    if (w->link->tls == NULL)
        return;
    buf_init(&text, &loop_pools(w->asker.carrier->loop)->small, 256);
    tls_facts_put(&text, w->link->tls);
    (void)arena_copy(arena_of(w), buf_bytes(&text), &w->branch->facts.tls);
    buf_done(&text);
}

static void fill_facts(struct relay_branch *w)
{
    struct branch_facts *facts = &w->branch->facts;
    char text[RELAY_ENDPOINT_TEXT_MAX];

    if (arena_copy(arena_of(w), bytes_of(relay_endpoint_text(&w->link->to, text)),
                   &facts->address) != 0)
        facts->address = bytes_make(NULL, 0);
    facts->identity = bytes_of(relay_identity_text(w->identity));
    facts->identity_kinds = w->identity;
    fill_tls(w);
    facts->is_reused = w->link->out.transactions != 0;
    w->branch->lacks_enhanced = !capability_has(&w->link->out.caps, CAPABILITY_ENHANCEDSTATUSCODES);
    w->branch->lacks_dsn = !capability_has(&w->link->out.caps, CAPABILITY_DSN);
}

/* Octets of the message as the target gets it, but for our own field. */
static uint64_t message_bytes(const struct relay_branch *w)
{
    const struct view *view = transaction_view(w->branch);
    uint64_t end =
        view->end == VIEW_TO_END ? copy_message_length(w->asker.carrier->copy) : view->end;

    return transaction_lines(w->branch).len + view->lines.len + end - view->at;
}

bool relay_job_make(struct relay_branch *w, struct outbound_job *job_out, unsigned *missing_out)
{
    const struct carrier *carrier = w->asker.carrier;
    struct relay_identity_choice choice =
        choose(&w->asker, w->link, relay_recipient_is_any(w, false));

    *job_out = introduction(&w->asker, choice.kinds);
    job_out->envelope = &w->branch->transaction->envelope;
    job_out->sends_xforward = (choice.kinds & IDENTITY_KIND_XFORWARD) != 0;
    job_out->size_bytes = carrier->is_spooled ? message_bytes(w) : 0;
    job_out->passes_530 = carrier->login.at == &w->asker.relay->target;
    *missing_out = choice.missing;
    if (choice.is_failure && !job_out->passes_without_identity)
        return false;
    if (choice.is_failure || (choice.is_lost && relay_recipient_is_any(w, true)))
        relay_log_identity_failed(&w->asker.relay->log, choice.missing, NULL);
    if (choice.is_unannounced)
        relay_log_no_identity(&w->asker.relay->log);
    w->identity = choice.kinds;
    w->is_lost = choice.is_lost && !job_out->passes_without_identity;
    fill_facts(w);
    return true;
}

static void put_received(const struct relay_branch *w, struct buf *out)
{
    const struct carrier *carrier = w->asker.carrier;
    struct recipient *only = relay_recipient_next(w, NULL);
    int64_t wall_ms = carrier->is_spooled ? carrier->spooled_wall_ms : loop_wall_ms(carrier->loop);
    struct header_trace trace = {
        .client = carrier->client,
        .by = carrier->hostname,
        .id = bytes_of(w->branch->transaction->envelope.id.text),
        .rcpt = only == w->last ? &only->to : NULL,
        .wall_s = wall_ms / 1000,
    };

    header_put_received(out, &trace);
}

static bool wants_received(const struct relay_branch *w)
{
    const struct carrier *carrier = w->asker.carrier;
    enum relay_received received = w->asker.relay->conf->received;

    if (received == RELAY_RECEIVED_NEVER || carrier->spooled_identity == IDENTITY_KIND_NONE)
        return false;
    return received == RELAY_RECEIVED_ALWAYS || carrier->is_spooled ||
           !relay_identity_judges(w->identity);
}

int relay_job_received(const struct relay_branch *w, struct bytes *received_out)
{
    struct buf out;

    buf_init(&out, &loop_pools(w->asker.carrier->loop)->medium, REPLY_MAX_BYTES);
    if (wants_received(w))
        put_received(w, &out);
    int error =
        out.has_failed ? ERR_MEMORY : arena_copy(arena_of(w), buf_bytes(&out), received_out);
    buf_done(&out);
    return error;
}
