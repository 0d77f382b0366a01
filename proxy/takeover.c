/* SPDX-License-Identifier: BSD-2-Clause */
/* Take-over: the spool file of one transaction. */
#include "proxy/takeover.h"

#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/smtp/outcome.h"
#include "proxy/queue.h"
#include "proxy/services.h"
#include "spool/store.h"

#define WORDS_MAX 4096 /* of a log line's values */

/* One job. It outlives a bridge that cannot wait, and owns the copy from then on. */
struct takeover {
    struct copy_job_on_image job;
    struct store_commit commit; /* of a commit, with its place and records */
    struct bridge *bridge;      /* NULL: nobody waits any more */
    struct services *services;
    struct copy *copy;
    uint32_t log_sinks;
    struct id session;
    bool is_commit;
    /* of a commit */
    struct buf records;
    struct buf targets, reason; /* for the log */
    uint32_t recipient_count, view_count;
    bool may_be_duplicate;
};

/* ---- the records ---- */

static bool is_word_of_target(const struct recipient *r)
{
    return r->branch->facts.address.len != 0 &&
           (outcome_is_failure(r->envelope) || r->final == FATE_DEFERRED ||
            r->final == FATE_REFUSED);
}

static void put_recipient(struct takeover *s, struct spool_writer *w, const struct recipient *r,
                          enum outcome_disposition disposition, int64_t now_ms)
{
    struct buf words;
    bool is_tried = r->final != FATE_LOST;

    buf_init(&words, s->records.pool, REPLY_MAX_BYTES);
    reply_put_text(&words, &r->reply);
    struct spool_recipient record = {
        .original = r->original,
        .to = r->to,
        .target = r->branch->target->name,
        .params = r->params,
        .view = r->branch->destination->view_number,
        .identity = r->branch->facts.identity_kinds,
        .is_unverified = r->is_unverified,
        .fate = r->final == FATE_UNKNOWN ? FATE_UNKNOWN
                : is_tried               ? FATE_DEFERRED
                                         : FATE_OPEN,
        .may_be_duplicate = r->final == FATE_UNKNOWN,
        .reply = bytes_first(buf_bytes(&words), spool_reply_max(s->recipient_count)),
        .remote = is_word_of_target(r) ? bytes_first(r->branch->facts.address, SPOOL_REMOTE_MAX)
                                       : bytes_make(NULL, 0),
        .tries = is_tried ? 1 : 0,
        .tried_ms = is_tried ? now_ms : 0,
    };
    if (disposition == OUTCOME_BOUNCE)
        record.fate = FATE_REFUSED;
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
static bool put_message(struct takeover *s, struct spool_writer *w, const struct bridge *b,
                        int64_t now_ms)
{
    const struct transaction *t = b->carrier.transaction;
    struct spool_message message = {
        .head = {.id = t->envelope.id, .body_bytes = copy_length(s->copy)},
        .envelope = t->envelope,
        .client = b->session.client,
        .origin = *b->carrier.origin,
        .has_origin = b->carrier.origin != b->carrier.client,
        .listener = b->smtpd->conf->section,
        .hostname = b->carrier.hostname,
        .view = view_of_body(s, t->view),
        .views = arena_alloc(t->mail, s->view_count * sizeof(*message.views)),
        .view_count = s->view_count,
        .arrived_ms = now_ms,
        .recipient_count = s->recipient_count,
    };

    if (message.views == NULL)
        return false;
    LIST_EACH (link, &t->branches) {
        const struct destination *d = LIST_ENTRY(link, struct branch, in_transaction)->destination;
        if (d->view_number != 0)
            message.views[d->view_number - 1] =
                (struct spool_view){.view = view_of_body(s, d->view), .is_in_front = !d->has_view};
    }
    if (message.client.name_state == IDENTITY_NAME_PENDING) /* nobody will ask later */
        message.client.name_state = IDENTITY_NAME_TEMPORARY;
    spool_put_message(w, &message);
    return true;
}

/* ---- what the log line will say ---- */

static void note_target(struct takeover *s, struct bytes name)
{
    struct bytes rest = buf_bytes(&s->targets);

    while (rest.len != 0) {
        struct bytes known = bytes_first(rest, bytes_find(rest, ','));
        if (bytes_equal(known, name))
            return;
        rest = bytes_skip(rest, known.len < rest.len ? known.len + 1 : known.len);
    }
    if (buf_length(&s->targets) + name.len + 1 > WORDS_MAX)
        return;
    if (buf_length(&s->targets) != 0)
        buf_byte(&s->targets, ',');
    buf_put(&s->targets, name);
}

static void note(struct takeover *s, const struct recipient *r)
{
    if (s->recipient_count++ == 0)
        reply_put_text(&s->reason, &r->reply);
    note_target(s, r->branch->target->name);
    s->may_be_duplicate = s->may_be_duplicate || r->final == FATE_UNKNOWN;
}

/* A view that several recipients share is written once. */
static void number_view(struct takeover *s, struct destination *d)
{
    if (d->view_number == 0 && (d->has_view || d->view.lines.len != 0))
        d->view_number = ++s->view_count;
}

static int make_records(struct takeover *s, const struct bridge *b)
{
    const struct transaction *t = b->carrier.transaction;
    int64_t now_ms = loop_wall_ms(b->carrier.loop);
    struct spool_head head = {.id = t->envelope.id, .body_bytes = copy_length(s->copy)};
    struct spool_writer w = {.id = head.id, .at = spool_records_at(&head), .out = &s->records};

    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        if (outcome_disposition(t, r) == OUTCOME_NOTHING)
            continue;
        note(s, r);
        number_view(s, r->branch->destination);
    }
    if (!put_message(s, &w, b, now_ms))
        return ERR_MEMORY;
    LIST_EACH (link, &t->recipients) {
        const struct recipient *r = LIST_ENTRY(link, struct recipient, in_transaction);
        enum outcome_disposition disposition = outcome_disposition(t, r);
        if (disposition != OUTCOME_NOTHING)
            put_recipient(s, &w, r, disposition, now_ms);
    }
    return s->records.has_failed ? ERR_MEMORY : 0;
}

/* ---- log ---- */

static void log_result(struct takeover *s)
{
    int error = s->job.error;
    struct log_line line =
        log_begin(s->services->log, s->log_sinks, error == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR,
                  error == 0 ? "spooled" : "spool-failed");

    log_put_text(&line, "session", s->session.text);
    log_put_text(&line, "transaction", s->commit.place.id.text);
    if (s->is_commit) {
        log_put(&line, "targets", buf_bytes(&s->targets));
        log_put_number(&line, "nrcpt", s->recipient_count);
        log_put(&line, "reason", buf_bytes(&s->reason));
    }
    log_put_number(&line, "bytes", (int64_t)copy_message_length(s->copy));
    if (s->may_be_duplicate || (s->is_commit && s->bridge == NULL))
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

static void hand_over(struct copy_job_on_image *job)
{
    struct takeover *s = CONTAINER_OF(job, struct takeover, job);

    s->commit.image = &job->image;
    store_commit_soon(s->services->store, &s->commit);
}

static void on_committed(struct store_commit *c)
{
    struct takeover *s = CONTAINER_OF(c, struct takeover, commit);

    s->job.error = c->error;
    copy_image_done(&s->job);
}

static void free_takeover(struct takeover *s)
{
    buf_done(&s->records);
    buf_done(&s->targets);
    buf_done(&s->reason);
    mem_free(s);
}

static void on_done(struct copy_job_on_image *job)
{
    struct takeover *s = CONTAINER_OF(job, struct takeover, job);
    struct bridge *b = s->bridge;
    struct event ev = {.kind = s->is_commit ? EV_COMMITTED : EV_PREPARED, .error = job->error};

    if (s->is_commit || job->error != 0)
        log_result(s);
    if (s->is_commit && job->error == 0)
        queue_arrived(s->services->queue, &s->commit.place, copy_length(s->copy),
                      buf_bytes(&s->records));
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
        .is_commit = is_commit,
        .commit = {.place = {.id = b->carrier.transaction->envelope.id}, .done = on_committed},
    };
    if (is_commit)
        s->job.hand_over = hand_over;
    else
        s->job.run = run_prepare;
    buf_init(&s->records, pool, SPOOL_FIRST_RECORDS_MAX);
    buf_init(&s->targets, pool, WORDS_MAX);
    buf_init(&s->reason, pool, WORDS_MAX);
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

    if (s == NULL || copy_error(s->copy) != 0 || make_records(s, b) != 0) {
        if (s != NULL)
            free_takeover(s);
        fail(b, EV_COMMITTED);
        return;
    }
    s->commit.place = store_next_place(s->services->store, &s->commit.place.id);
    s->commit.records = buf_bytes(&s->records);
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
