/* SPDX-License-Identifier: BSD-2-Clause */
/* Turns what is due into a durable report: read, make, address, commit. */
#include "spool/runner_report.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/smtp/capability.h"
#include "route/target_kind.h"
#include "spool/runner_shown.h"

#define BLOCK_BYTES 65536 /* the file's checksum is made of such blocks */
#define ARENA_MAX   (1U << 20)
#define RECORDS_MAX (1U << 20)
#define SMALL_BYTES 4096
#define SMALL_KEPT  4

/* What a job holds while it works. */
struct workshop {
    struct pool pool;
    struct arena arena;
    struct buf content, records;
    uint8_t *original; /* what is returned of the cause */
};

static void open_workshop(struct workshop *shop)
{
    *shop = (struct workshop){.original = NULL};
    pool_init(&shop->pool, SMALL_BYTES, SMALL_KEPT);
    arena_init(&shop->arena, &shop->pool, ARENA_MAX);
    buf_init(&shop->content, &shop->pool, BOUNCE_REPORT_MAX);
    buf_init(&shop->records, &shop->pool, RECORDS_MAX);
}

static void close_workshop(struct workshop *shop)
{
    mem_free(shop->original);
    buf_done(&shop->records);
    buf_done(&shop->content);
    arena_reset(&shop->arena);
    pool_done(&shop->pool);
}

static int read_original(const struct runner_report *report, struct workshop *shop,
                         struct bytes *original_out)
{
    uint64_t most = bounce_content_bytes(report->message, report->kind);
    size_t len;
    int error = runner_shown_read(report->fd, report->message, most, &shop->original, &len);

    if (error == 0)
        *original_out = bytes_make(shop->original, len);
    return error;
}

/* ---- where to ---- */

static bool is_relay(const struct target *target)
{
    return target != NULL && target->kind->is_relay;
}

/* The relay that the tables lead the sender to; empty: none. */
static struct bytes relay_of_sender(const struct runner_host *host, struct arena *arena,
                                    const struct spool_message *message)
{
    struct routed routed = {.leg_count = 0};

    if (address_is_null(&message->envelope.from))
        return bytes_make(NULL, 0);
    host->route(host->owner, message->listener, &message->envelope.from, arena, &routed);
    for (int i = 0; i < routed.leg_count; i++)
        if (is_relay(routed.legs[i].target))
            return target_section(routed.legs[i].target);
    return bytes_make(NULL, 0);
}

/* Empty: there is none. */
static struct bytes choose_relay(const struct runner_host *host, struct arena *arena,
                                 const struct runner_report *report)
{
    const struct spool_message *message = report->message;

    if (host->bounce_relay.len > 0)
        return host->bounce_relay;
    for (uint32_t i = 0; i < message->recipient_count; i++) {
        struct bytes name = message->recipients[i].target;
        if (report->is_due[i] && is_relay(host->find_target(host->owner, name)))
            return name;
    }
    return relay_of_sender(host, arena, message);
}

/* Routes the postmaster like any recipient, or without a domain if the tables do not know our
 * own. */
static void route_postmaster(const struct runner_host *host, struct arena *arena,
                             struct runner_report *report)
{
    struct address to = bounce_postmaster(report->conf);
    struct bytes listener = report->message->listener;

    host->route(host->owner, listener, &to, arena, &report->postmaster);
    if (report->postmaster.leg_count != 0)
        return;
    to.domain = bytes_make(NULL, 0);
    host->route(host->owner, listener, &to, arena, &report->postmaster);
}

static bool takes_8bit(const struct runner_host *host, struct bytes name)
{
    struct target *target = host->find_target(host->owner, name);

    return is_relay(target) &&
           (target->ops->capabilities(target).keywords & CAPABILITY_8BITMIME) != 0;
}

static bool is_any_due(const struct runner_report *report)
{
    for (uint32_t i = 0; i < report->message->recipient_count; i++)
        if (report->is_due[i])
            return true;
    return false;
}

void runner_report_address(const struct runner_host *host, struct arena *arena,
                           struct runner_report *report)
{
    assert(is_any_due(report));
    report->relay = choose_relay(host, arena, report);
    report->has_no_relay = report->relay.len == 0;
    if (report->has_no_relay)
        route_postmaster(host, arena, report);
    report->is_7bit = !takes_8bit(host, report->relay);
}

static struct bounce_conf conf_of(const struct runner_report *report)
{
    struct bounce_conf conf = *report->conf;

    if (report->has_no_relay && conf.to != BOUNCE_TO_NONE)
        conf.to = report->postmaster.leg_count == 0 ? BOUNCE_TO_NONE : BOUNCE_TO_POSTMASTER;
    return conf;
}

enum bounce_result runner_report_foresee(const struct runner_report *report)
{
    const struct bounce_job job = {
        .message = report->message, .is_due = report->is_due, .kind = report->kind};
    struct bounce_conf conf = conf_of(report);

    return bounce_foresee(&conf, &job);
}

/* ---- the job ---- */

/* The postmaster may be a list. He is the only recipient here. */
static int follow_tables(const struct runner_report *report, struct spool_message *made,
                         struct arena *arena)
{
    uint32_t count = (uint32_t)report->postmaster.leg_count;
    const struct spool_recipient postmaster = made->recipients[0];

    assert(count != 0);
    made->recipients = arena_alloc(arena, count * sizeof(*made->recipients));
    if (made->recipients == NULL)
        return ERR_MEMORY;
    made->recipient_count = count;
    for (uint32_t i = 0; i < count; i++) {
        made->recipients[i] = postmaster;
        made->recipients[i].to = report->postmaster.legs[i].to;
        made->recipients[i].target = target_section(report->postmaster.legs[i].target);
    }
    return 0;
}

static int put_records(const struct runner_report *report, struct spool_message *made,
                       struct workshop *shop)
{
    struct spool_writer writer = {
        .id = made->head.id, .at = spool_records_at(&made->head), .out = &shop->records};

    if (report->has_no_relay) {
        int error = follow_tables(report, made, &shop->arena);
        if (error != 0)
            return error;
    }
    spool_put_message(&writer, made);
    for (uint32_t i = 0; i < made->recipient_count; i++) {
        if (!report->has_no_relay)
            made->recipients[i].target = report->relay;
        made->recipients[i].identity = IDENTITY_KIND_NONE; /* the report is ours, no client's */
        spool_put_recipient(&writer, &made->recipients[i]);
    }
    return shop->records.has_failed ? ERR_MEMORY : 0;
}

/* The report was made before and is held since, and the cause's record of it was lost. The held
 * report stays: made anew, it would lie in two places. */
static int find_held(struct runner_report *report)
{
    struct store_place held = {.id = report->place.id, .folder = STORE_HOLD};
    int fd, error = store_look(report->store, &held, &fd);

    if (error != 0)
        return error;
    disk_close(fd);
    report->place = held;
    return 0;
}

/* The report's name may be there already, left by an earlier try whose directory could not be
 * synced and whose name could not be taken back. No later sync makes that name durable, so it is
 * removed and made anew. A runner that delivers the old file meanwhile finds the name again. */
static int commit_anew(const struct runner_report *report, struct copy_image *image,
                       struct bytes records)
{
    int error = store_commit(report->store, image, &report->place, records);

    if (error != -EEXIST)
        return error;
    error = store_remove(report->store, &report->place);
    if (error != 0 && error != -ENOENT)
        return error;
    return store_commit(report->store, image, &report->place, records);
}

static int commit(const struct runner_report *report, struct workshop *shop)
{
    struct bytes rest = buf_bytes(&shop->content);
    struct copy_image image = {.fd = -1, .length = rest.len, .drafts = store_drafts(report->store)};
    size_t count = (rest.len + BLOCK_BYTES - 1) / BLOCK_BYTES;
    struct bytes *pieces = mem_alloc(count * sizeof(*pieces));
    int error;

    if (pieces == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++) {
        pieces[i] = bytes_first(rest, BLOCK_BYTES);
        rest = bytes_skip(rest, pieces[i].len);
    }
    assert(rest.len == 0);
    image.pieces = pieces;
    image.piece_count = count;
    error = commit_anew(report, &image, buf_bytes(&shop->records));
    if (image.fd >= 0)
        draft_close(image.drafts, image.fd);
    mem_free(pieces);
    return error;
}

static int write_report(const struct runner_report *report, struct spool_message *made,
                        struct workshop *shop)
{
    int error = put_records(report, made, shop);

    return error == 0 ? commit(report, shop) : error;
}

static int make(struct runner_report *report, struct workshop *shop)
{
    struct bounce_job job = {
        .message = report->message,
        .is_due = report->is_due,
        .kind = report->kind,
        .is_7bit = report->is_7bit,
        .now_s = report->now_ms / 1000,
        .will_retry_s = report->will_retry_s,
    };
    struct bounce_conf conf = conf_of(report);
    struct spool_message made = {.recipient_count = 0};
    enum bounce_result result;
    int error = read_original(report, shop, &job.content);

    if (error != 0 && error != ERR_MEMORY) { /* the sender is told all the same */
        job.is_unreadable = true;
        error = 0;
    }
    if (error == 0)
        error = bounce_make(&conf, &job, &shop->arena, &made, &shop->content, &result);
    if (error == 0 && result == BOUNCE_MADE) {
        report->place.id = made.head.id;
        error = find_held(report);
        if (error == -ENOENT)
            error = write_report(report, &made, shop);
    }
    if (error == 0)
        report->result = result;
    return error;
}

int runner_report_make(struct runner_report *report)
{
    struct workshop shop;
    int error;

    open_workshop(&shop);
    error = make(report, &shop);
    close_workshop(&shop);
    return error;
}
