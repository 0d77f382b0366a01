/* SPDX-License-Identifier: BSD-2-Clause */
/* Take-over: the spool file of one transaction, or two. */
#include "proxy/takeover.h"

#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/smtp/outcome.h"
#include "proxy/queue.h"
#include "proxy/services.h"
#include "spool/store.h"

#define WORDS_MAX 4096 /* of a log line's values */

/* A file of the spool, and what the log will say of it. */
struct part {
    struct store_place place;
    struct buf records;
    struct buf targets, reason;
    uint32_t recipient_count, view_count;
    bool may_be_duplicate;
};

/* What is held for some recipients is a file of its own beside that which is delivered to others.
 * It comes first: if the second one fails the client sends the message again, and a second one that
 * is held does less harm than one that is delivered twice. */
enum part_kind { PART_HELD, PART_QUEUED, PARTS };

/* One job. It outlives a bridge that cannot wait, and owns the copy from then on. */
struct takeover {
    struct copy_job_on_image job;
    struct store_commit commit; /* of the first part */
    struct work second;         /* ... and of the other one */
    struct bridge *bridge;      /* NULL: nobody waits any more */
    struct services *services;
    struct copy *copy;
    uint32_t log_sinks;
    struct id session, transaction;
    bool is_commit;
    /* of a commit */
    struct part parts[PARTS];
    enum part_kind current;
    bool is_told; /* what became of it was logged */
};

/* ---- the records ---- */

static bool is_word_of_target(const struct recipient *r)
{
    return r->branch->facts.address.len != 0 &&
           (outcome_is_failure(r->envelope) || r->final == FATE_DEFERRED ||
            r->final == FATE_REFUSED || r->final == FATE_ACCEPTED);
}

static enum fate fate_in_file(const struct recipient *r, bool is_tried)
{
    enum fate fate = outcome_fate(r);

    if (fate == FATE_REFUSED || fate == FATE_UNKNOWN || fate == FATE_ACCEPTED)
        return fate;
    return is_tried ? FATE_DEFERRED : FATE_OPEN;
}

static void put_recipient(struct part *part, struct spool_writer *w, const struct recipient *r,
                          int64_t now_ms)
{
    struct buf words;
    bool is_tried = r->final != FATE_LOST && r->final != FATE_HELD;
    bool is_reported = outcome_fate(r) == FATE_ACCEPTED;

    buf_init(&words, part->records.pool, REPLY_MAX_BYTES);
    if (r->final != FATE_HELD)
        outcome_put_words(&words, r);
    struct spool_recipient record = {
        .original = r->original,
        .to = r->to,
        .target = target_section(r->branch->target),
        .params = r->params,
        .view = r->branch->destination->view_number,
        .identity = r->branch->facts.identity_kinds,
        .is_unverified = r->is_unverified,
        .fate = fate_in_file(r, is_tried),
        .may_be_duplicate = r->final == FATE_UNKNOWN,
        .is_relayed = is_reported && r->branch->lacks_dsn,
        .is_delivered = is_reported && r->branch->can_prepare,
        .reply = bytes_first(buf_bytes(&words), spool_reply_max(part->recipient_count)),
        .remote = is_word_of_target(r) ? bytes_first(r->branch->facts.address, SPOOL_REMOTE_MAX)
                                       : bytes_make(NULL, 0),
        .tries = is_tried ? 1 : 0,
        .tried_ms = is_tried ? now_ms : 0,
    };
    spool_put_recipient(w, &record);
    buf_done(&words);
}

/* The body of the file is all of the copy; the message may end before that. */
static struct view view_of_body(const struct takeover *s, struct view view)
{
    uint64_t end = copy_message_length(s->copy);

    if (view.end == VIEW_TO_END && end != copy_length(s->copy))
        view.end = end;
    return view;
}

/* False: no memory. */
static bool fill_views(const struct takeover *s, const struct transaction *t,
                       struct spool_message *message)
{
    message->view = view_of_body(s, t->view);
    message->views = arena_alloc(t->mail, message->view_count * sizeof(*message->views));
    if (message->views == NULL)
        return false;
    LIST_EACH (link, &t->branches) {
        const struct destination *d = LIST_ENTRY(link, struct branch, in_transaction)->destination;
        if (d->view_number != 0)
            message->views[d->view_number - 1] =
                (struct spool_view){.view = view_of_body(s, d->view), .is_in_front = !d->has_view};
    }
    return true;
}

static bool put_message(struct takeover *s, const struct part *part, struct spool_writer *w,
                        int64_t now_ms)
{
    const struct bridge *b = s->bridge;
    const struct transaction *t = b->carrier.transaction;
    struct spool_message message = {
        .head = {.id = part->place.id, .body_bytes = copy_length(s->copy)},
        .envelope = t->envelope,
        .client = b->session.client,
        .origin = *b->carrier.origin,
        .has_origin = b->carrier.origin != b->carrier.client,
        .listener = b->smtpd->conf->section,
        .hostname = b->carrier.hostname,
        .view_count = part->view_count,
        .is_held = part->place.folder == STORE_HOLD,
        .hold = {.by = SPOOL_HELD_BY_FILTER,
                 .since_ms = now_ms,
                 .reason = buf_bytes(&part->reason)},
        .arrived_ms = now_ms,
        .recipient_count = part->recipient_count,
    };

    message.envelope.id = part->place.id;
    if (message.client.name_state == IDENTITY_NAME_PENDING) /* nobody will ask later */
        message.client.name_state = IDENTITY_NAME_TEMPORARY;
    if (!fill_views(s, t, &message))
        return false;
    spool_put_message(w, &message);
    return true;
}

/* ---- what the log line will say ---- */

static void note_target(struct part *part, struct bytes name)
{
    struct bytes rest = buf_bytes(&part->targets);

    while (rest.len != 0) {
        struct bytes known = bytes_first(rest, bytes_find(rest, '\n'));
        if (bytes_equal(known, name))
            return;
        rest = bytes_skip(rest, known.len < rest.len ? known.len + 1 : known.len);
    }
    if (buf_length(&part->targets) + name.len + 1 > WORDS_MAX)
        return;
    buf_put(&part->targets, name);
    buf_byte(&part->targets, '\n');
}

static void note(struct part *part, const struct transaction *t, const struct recipient *r)
{
    const struct quarantine *quarantine = outcome_quarantine(t, r);

    if (part->recipient_count++ == 0) {
        if (quarantine != NULL)
            buf_put(&part->reason, bytes_first(quarantine->reason, WORDS_MAX));
        else
            reply_put_text(&part->reason, &r->reply);
    }
    note_target(part, target_section(r->branch->target));
    part->may_be_duplicate = part->may_be_duplicate || r->final == FATE_UNKNOWN;
}

/* A view that several recipients share is written once. */
static void number_view(struct part *part, struct destination *d)
{
    if (d->view_number == 0 && (d->has_view || d->view.lines.len != 0))
        d->view_number = ++part->view_count;
}

static bool is_in_part(const struct transaction *t, const struct recipient *r, enum part_kind kind)
{
    enum outcome_disposition disposition = outcome_disposition(t, r);

    return disposition != OUTCOME_NOTHING && (disposition == OUTCOME_HOLD) == (kind == PART_HELD);
}

/* It may stay without recipients. */
static void note_all(struct part *part, const struct transaction *t, enum part_kind kind)
{
    LIST_EACH (link, &t->branches)
        LIST_ENTRY(link, struct branch, in_transaction)->destination->view_number = 0;
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (!is_in_part(t, r, kind))
            continue;
        note(part, t, r);
        number_view(part, r->branch->destination);
    }
}

static int make_part(struct takeover *s, enum part_kind kind)
{
    const struct transaction *t = s->bridge->carrier.transaction;
    int64_t now_ms = loop_wall_ms(s->services->loop);
    struct spool_head head = {.body_bytes = copy_length(s->copy)};
    struct part *part = &s->parts[kind];

    note_all(part, t, kind);
    if (part->recipient_count == 0)
        return 0;
    bool is_alone = s->parts[PART_QUEUED].recipient_count == 0;
    part->place.id =
        kind == PART_QUEUED || is_alone ? t->envelope.id : services_next_id(s->services);
    if (kind == PART_HELD)
        part->place.folder = STORE_HOLD;
    else
        part->place = store_next_place(s->services->store, &part->place.id);
    struct spool_writer w = {
        .id = part->place.id, .at = spool_records_at(&head), .out = &part->records};
    if (!put_message(s, part, &w, now_ms))
        return ERR_MEMORY;
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (is_in_part(t, r, kind))
            put_recipient(part, &w, r, now_ms);
    }
    spool_put_session(&w, &t->envelope.session);
    return part->records.has_failed ? ERR_MEMORY : 0;
}

/* ---- log ---- */

static const char *event_of(const struct takeover *s)
{
    if (s->job.error != 0)
        return "spool-failed";
    return s->current == PART_HELD ? "quarantined" : "spooled";
}

/* A second part that failed leaves the first one behind, and the client sends the message again. */
static bool may_be_duplicate(const struct takeover *s, const struct part *part)
{
    bool is_half = s->current == PART_QUEUED && s->parts[PART_HELD].recipient_count != 0;

    return part->may_be_duplicate || (s->is_commit && s->bridge == NULL) ||
           (s->job.error != 0 && is_half);
}

static void log_result(struct takeover *s)
{
    const struct part *part = &s->parts[s->current];
    int error = s->job.error;
    struct log_line line = log_begin(s->services->log, s->log_sinks,
                                     error == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, event_of(s));

    log_put_text(&line, "session", s->session.text);
    log_put_text(&line, "transaction", s->transaction.text);
    if (s->is_commit) {
        if (memcmp(&part->place.id, &s->transaction, sizeof(s->transaction)) != 0)
            log_put_text(&line, "id", part->place.id.text);
        log_put_list(&line, "targets", buf_bytes(&part->targets));
        log_put_number(&line, "nrcpt", part->recipient_count);
        log_put(&line, "reason", buf_bytes(&part->reason));
    }
    log_put_number(&line, "bytes", (int64_t)copy_message_length(s->copy));
    if (may_be_duplicate(s, part))
        log_put_text(&line, "duplicate", "possible");
    if (error != 0)
        log_put_error(&line, "error", error);
    log_end(&line);
}

/* ---- the job ---- */

static void run_prepare(struct copy_job_on_image *job)
{
    job->error = store_prepare(&job->image);
}

/* One part has been committed, or not. */
static void tell_part(struct takeover *s)
{
    const struct part *part = &s->parts[s->current];

    log_result(s);
    s->is_told = true;
    if (s->job.error == 0)
        queue_arrived(s->services->queue, &part->place, copy_length(s->copy),
                      buf_bytes(&part->records));
}

static void run_second(struct work *work)
{
    struct takeover *s = CONTAINER_OF(work, struct takeover, second);
    const struct part *part = &s->parts[s->current];

    s->job.error = store_commit_again(s->services->store, &s->job.image, &part->place,
                                      buf_bytes(&part->records));
}

static void done_second(struct work *work)
{
    struct takeover *s = CONTAINER_OF(work, struct takeover, second);

    tell_part(s);
    copy_image_done(&s->job);
}

/* The first part is in the copy's own file. */
static void on_committed(struct store_commit *c)
{
    struct takeover *s = CONTAINER_OF(c, struct takeover, commit);

    s->job.error = c->error;
    tell_part(s);
    if (c->error != 0 || s->current == PART_QUEUED || s->parts[PART_QUEUED].recipient_count == 0) {
        copy_image_done(&s->job);
        return;
    }
    s->current = PART_QUEUED;
    s->second = (struct work){.run = run_second, .done = done_second};
    if (work_run(s->services->loop, &s->second) == 0)
        return;
    s->job.error = ERR_MEMORY;
    done_second(&s->second);
}

static void hand_over(struct copy_job_on_image *job)
{
    struct takeover *s = CONTAINER_OF(job, struct takeover, job);

    s->commit = (struct store_commit){.image = &job->image,
                                      .place = s->parts[s->current].place,
                                      .records = buf_bytes(&s->parts[s->current].records),
                                      .done = on_committed};
    store_commit_soon(s->services->store, &s->commit);
}

static void free_takeover(struct takeover *s)
{
    for (size_t i = 0; i < PARTS; i++) {
        buf_done(&s->parts[i].records);
        buf_done(&s->parts[i].targets);
        buf_done(&s->parts[i].reason);
    }
    mem_free(s);
}

static void on_done(struct copy_job_on_image *job)
{
    struct takeover *s = CONTAINER_OF(job, struct takeover, job);
    struct bridge *b = s->bridge;
    struct event ev = {.kind = s->is_commit ? EV_COMMITTED : EV_PREPARED, .error = job->error};

    if (job->error != 0 && !s->is_told)
        log_result(s);
    if (b == NULL)
        copy_free(&s->copy);
    else
        b->takeover = NULL;
    free_takeover(s);
    if (b != NULL)
        carrier_report(&b->carrier, &ev);
}

static struct takeover *new_takeover(struct bridge *b, bool is_commit)
{
    struct services *services = b->smtpd->services;
    struct pool *pool = &loop_pools(services->loop)->medium;
    struct takeover *s = services->store == NULL ? NULL : mem_zalloc(sizeof(*s));

    if (s == NULL)
        return NULL;
    *s = (struct takeover){
        .job = {.done = on_done},
        .bridge = b,
        .services = services,
        .copy = b->carrier.copy,
        .log_sinks = b->smtpd->log_sinks,
        .session = b->id,
        .transaction = b->carrier.transaction->envelope.id,
        .is_commit = is_commit,
    };
    if (is_commit)
        s->job.hand_over = hand_over;
    else
        s->job.run = run_prepare;
    for (size_t i = 0; i < PARTS; i++) {
        buf_init(&s->parts[i].records, pool, SPOOL_FIRST_RECORDS_MAX);
        buf_init(&s->parts[i].targets, pool, WORDS_MAX);
        buf_init(&s->parts[i].reason, pool, WORDS_MAX);
    }
    return s;
}

static void fail(struct bridge *b, enum event_kind kind)
{
    carrier_report(&b->carrier, &(struct event){.kind = kind, .error = ERR_MEMORY});
}

void takeover_prepare(struct bridge *b)
{
    struct takeover *s = new_takeover(b, false);

    if (s == NULL) {
        fail(b, EV_PREPARED);
        return;
    }
    b->takeover = s;
    copy_run(s->copy, &s->job);
}

void takeover_commit(struct bridge *b)
{
    struct takeover *s = new_takeover(b, true);

    if (s == NULL || copy_error(s->copy) != 0 || make_part(s, PART_QUEUED) != 0 ||
        make_part(s, PART_HELD) != 0) {
        if (s != NULL)
            free_takeover(s);
        fail(b, EV_COMMITTED);
        return;
    }
    s->current = s->parts[PART_HELD].recipient_count != 0 ? PART_HELD : PART_QUEUED;
    b->takeover = s;
    copy_run(s->copy, &s->job);
}

void takeover_detach(struct bridge *b)
{
    if (b->takeover == NULL)
        return;
    copy_disown(b->carrier.copy);
    b->carrier.copy = NULL;
    b->takeover->bridge = NULL;
    b->takeover = NULL;
}
