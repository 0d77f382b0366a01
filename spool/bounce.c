/* SPDX-License-Identifier: BSD-2-Clause */
/* The message around what they are told. */
#include "spool/bounce.h"

#include <assert.h>

#include "proxy/base/error.h"
#include "proxy/smtp/params.h"
#include "proxy/base/hash.h"
#include "proxy/base/text.h"
#include "spool/bounce_private.h"

/* ---- its id ---- */

#define BASE        31
#define TIME_DIGITS 9

/* The time of the cause, then a hash. The first digit of the process is one that no process has
 * (id.h), so that no message has the same id. */
static struct id derive_id(const struct bounce_job *job)
{
    static const char digits[BASE + 1] = "0123456789BCDFGHJKLMNPQRSTVWXYZ";
    const unsigned first = 5;
    const struct spool_message *m = job->message;
    uint8_t kind = (uint8_t)job->kind;
    uint64_t hash = hash_chain(0, bytes_make(m->head.id.text, ID_LENGTH));
    struct id id = m->head.id;

    hash = hash_chain(hash, bytes_make(&kind, 1));
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        uint8_t index[4] = {(uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i};

        if (bounce_tells(job, i))
            hash = hash_chain(hash, bytes_make(index, sizeof(index)));
    }
    id.text[TIME_DIGITS] = digits[first + hash % (BASE - first)];
    hash /= BASE - first;
    for (unsigned i = TIME_DIGITS + 1; i < ID_LENGTH; i++, hash /= BASE)
        id.text[i] = digits[hash % BASE];
    return id;
}

/* ---- its content ---- */

/* The first of "=_ID_a", "=_ID_b", ... that does not stand in what is returned. False: all of them
 * do. */
#define BOUNDARY_MAX (ID_LENGTH + 8)
_Static_assert(BOUNDARY_MAX >= 3 + ID_LENGTH + 2, "a boundary has room");
static bool choose_boundary(const struct bounce_report *report, char boundary_out[BOUNDARY_MAX])
{
    char *last = boundary_out + 3 + ID_LENGTH;

    memcpy(boundary_out, "=_", 2);
    memcpy(boundary_out + 2, report->id.text, ID_LENGTH);
    boundary_out[2 + ID_LENGTH] = '_';
    last[1] = '\0';
    for (*last = 'a'; *last <= 'z'; ++*last)
        if (report->returned.len == 0 || memmem(report->returned.at, report->returned.len,
                                                boundary_out, strlen(boundary_out)) == NULL)
            return true;
    *last = 'a';
    return false;
}

static void put_headers(struct buf *out, const struct bounce_report *report,
                        const struct address *to, const char *boundary)
{
    static const char *const subjects[] = {[BOUNCE_FAILED] = "Undeliverable mail",
                                           [BOUNCE_DELAYED] = "Delayed mail",
                                           [BOUNCE_RELAYED] = "Relayed mail",
                                           [BOUNCE_DELIVERED] = "Delivered mail"};
    struct address from = {.local = bytes_of("MAILER-DAEMON"), .domain = report->conf->hostname};
    struct address id = {.local = bytes_of(report->id.text), .domain = report->conf->hostname};

    buf_text(out, "From: Mail Delivery System ");
    bounce_text_address(out, &from);
    buf_text(out, "\r\nTo: ");
    bounce_text_address(out, to);
    buf_cat(out, "\r\nSubject: ", subjects[report->job->kind], "\r\nDate: ", NULL);
    text_put_date(out, report->job->now_s);
    buf_text(out, "\r\nMessage-ID: ");
    bounce_text_address(out, &id);
    buf_cat(out,
            "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
            "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"",
            boundary, "\"\r\n", report->is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "",
            "\r\nThis is a report in the format of RFC 6522.\r\n", NULL);
}

static void put_part(struct buf *out, const char *boundary, const char *type, const char *what)
{
    buf_cat(out, "\r\n--", boundary, "\r\nContent-Type: ", type, "\r\nContent-Description: ", what,
            "\r\n", NULL);
}

static void put_report(struct buf *out, const struct bounce_report *report,
                       const struct address *to, const char *boundary)
{
    put_headers(out, report, to, boundary);
    put_part(out, boundary, "text/plain; charset=us-ascii", "Notification");
    buf_text(out, "\r\n");
    bounce_text_put(out, report);
    put_part(out, boundary, "message/delivery-status", "Delivery report");
    buf_text(out, "\r\n");
    bounce_dsn_put(out, report);
    if (report->returned.len > 0) {
        put_part(out, boundary, report->is_whole ? "message/rfc822" : "text/rfc822-headers",
                 report->is_whole ? "Message" : "Headers of the message");
        buf_cat(out, report->is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "", "\r\n", NULL);
        bounce_dsn_put_returned(out, report);
    }
    buf_cat(out, "\r\n--", boundary, "--\r\n", NULL);
}

/* ---- the message ---- */

#define RECIPIENTS_MAX 2 /* of a report: the sender, and the postmaster */

static int add_recipient(const struct bounce_conf *conf, struct arena *arena,
                         const struct address *to, struct spool_message *report)
{
    assert(report->recipient_count < RECIPIENTS_MAX);
    struct spool_recipient *s = &report->recipients[report->recipient_count];
    int error = address_copy(arena, to, &s->original);

    if (error != 0)
        return error;
    if (s->original.domain.len == 0)
        s->original.domain = conf->hostname;
    s->to = s->original;
    report->recipient_count++;
    return 0;
}

/* RFC 8689 5: a report is to be protected as its message was. */
static struct bytes params_of(const struct spool_message *m, bool is_8bit)
{
    bool needs_tls = params_has(m->envelope.params, CAPABILITY_REQUIRETLS);

    if (is_8bit)
        return bytes_of(needs_tls ? "BODY=8BITMIME REQUIRETLS" : "BODY=8BITMIME");
    return bytes_of(needs_tls ? "REQUIRETLS" : "");
}

static int make_envelope(const struct bounce_conf *conf, const struct bounce_job *job,
                         const struct bounce_audience *audience, struct arena *arena,
                         struct spool_message *report_out)
{
    struct spool_message report = {
        .client = {.name_state = IDENTITY_NAME_UNAVAILABLE, .helo = conf->hostname},
        .listener = job->message->listener,
        .hostname = conf->hostname,
        .arrived_ms = job->now_s * 1000,
        .view = view_whole(),
        .is_report = true,
    };
    int error = 0;

    report.recipients = arena_alloc(arena, RECIPIENTS_MAX * sizeof(*report.recipients));
    if (report.recipients == NULL)
        return ERR_MEMORY;
    if (audience->has_sender)
        error = add_recipient(conf, arena, &job->message->envelope.from, &report);
    if (error == 0 && audience->has_postmaster)
        error = add_recipient(conf, arena, &audience->postmaster, &report);
    if (error == 0)
        *report_out = report;
    return error;
}

int bounce_make(const struct bounce_conf *conf, const struct bounce_job *job, struct arena *arena,
                struct spool_message *report_out, struct buf *content_out,
                enum bounce_result *result_out)
{
    struct bounce_report report = {.conf = conf, .job = job, .id = derive_id(job)};
    struct bounce_audience audience = {.postmaster = bounce_postmaster(conf)};
    char boundary[BOUNDARY_MAX];
    struct spool_message made;
    enum bounce_result result;
    int error;

    result = bounce_choose_audience(conf, job, &audience);
    if (result != BOUNCE_MADE) {
        *result_out = result;
        return 0;
    }
    error = make_envelope(conf, job, &audience, arena, &made);
    if (error != 0)
        return error;
    bounce_dsn_choose(&report);
    if (!choose_boundary(&report, boundary))
        report.returned.len = 0;
    assert(made.recipient_count != 0);
    put_report(content_out, &report, &made.recipients[0].to, boundary);
    if (content_out->has_failed)
        return ERR_MEMORY;
    made.head.id = made.envelope.id = report.id;
    made.head.body_bytes = made.envelope.size_bytes = buf_length(content_out);
    made.envelope.is_8bit = report.is_8bit;
    made.envelope.params = params_of(job->message, report.is_8bit);
    *report_out = made;
    *result_out = BOUNCE_MADE;
    return 0;
}
