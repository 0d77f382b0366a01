/* SPDX-License-Identifier: BSD-2-Clause */
/* What lies on the disk behind an operation, and at the end of all. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/hash.h"
#include "spool/spool_format.h"
#include "tests/sim/exhaustive.h"
#include "tests/sim/index_truth.h"
#include "tests/sim/stage.h"

#define BLOCK_BYTES 65536 /* that the body's checksum is made of */

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static bool is_message(const char *path)
{
    return strlen(name_of(path)) == ID_LENGTH;
}

/* What a rewrite leaves that was cut short: ID.new. */
static bool is_rewritten(const char *path)
{
    const char *name = name_of(path);
    return strlen(name) == ID_LENGTH + 4 && strcmp(name + ID_LENGTH, ".new") == 0;
}

/* ---- a message ---- */

static uint64_t sum_of(struct bytes body)
{
    uint64_t sum = 0;

    while (body.len > 0) {
        struct bytes block = bytes_first(body, BLOCK_BYTES);
        sum = hash_chain(sum, block);
        body = bytes_skip(body, block.len);
    }
    return sum;
}

/* NULL: it can be read, and is what was written. */
static const char *read_message(struct bytes file, struct arena *arena,
                                struct spool_message *message_out)
{
    struct spool_head head;
    struct bytes records;

    if (file.len < SPOOL_HEAD_BYTES ||
        spool_head_parse(bytes_first(file, SPOOL_HEAD_BYTES), &head) != 0)
        return "has no first block";
    if (spool_records_at(&head) > file.len)
        return "is too short";
    records = bytes_skip(file, (size_t)spool_records_at(&head));
    if (spool_message_parse(&head, records, arena, message_out) != 0) {
        while (records.len > 0 && spool_message_parse(&head, records, arena, message_out) != 0)
            records.len--; /* whom it is for stands before the damage */
        return "has damaged records";
    }
    if (sum_of(bytes_first(bytes_skip(file, SPOOL_HEAD_BYTES), (size_t)head.body_bytes)) !=
        head.body_sum)
        return "has a damaged body";
    return NULL;
}

/* Calls fn for each message in that folder. */
static void each_message(struct book *b, struct sim *w, const char *folder,
                         void (*fn)(struct book *b, const char *path, const char *problem,
                                    const struct spool_message *message))
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, folder, i)) != NULL; i++) {
        struct spool_message message = {.recipient_count = 0};
        struct bytes file;
        struct pool pool;
        struct arena arena;

        if (!is_message(path) || !sim_file(w, path, &file))
            continue;
        pool_init(&pool, 4096, 4);
        arena_init(&arena, &pool, SIZE_MAX);
        fn(b, path, read_message(file, &arena, &message), &message);
        arena_reset(&arena);
        pool_done(&pool);
    }
}

/* ---- behind an operation ---- */

static void see_whole(struct book *b, const char *path, const char *problem,
                      const struct spool_message *message)
{
    if (problem != NULL)
        book_fail(b, "%s %s", path, problem);
    else if (strcmp(name_of(path), message->head.id.text) != 0)
        book_fail(b, "%s is another message", path);
}

static void see_strays(struct book *b, struct sim *w)
{
    static const char *const names[] = {"owner", "index", "index.new"};
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, STAGE_SPOOL "/queue", i)) != NULL; i++) {
        bool is_ours = is_message(path) || is_rewritten(path);
        for (size_t n = 0; n < ARRAY_LENGTH(names); n++)
            is_ours = is_ours || strcmp(name_of(path), names[n]) == 0;
        if (!is_ours)
            book_fail(b, "%s is nothing of ours", path);
    }
}

/* How many files have that name, some of which may have it in two places. */
static unsigned count_of(struct sim *w, const char *name)
{
    struct bytes file, before = {NULL, 0};
    const char *path;
    unsigned count = 0;

    for (unsigned i = 0; (path = sim_file_below(w, STAGE_SPOOL, i)) != NULL; i++) {
        if (strstr(path, "/running/") != NULL || strcmp(name_of(path), name) != 0 ||
            !sim_file(w, path, &file))
            continue;
        count += file.at != before.at;
        before = file;
    }
    return count;
}

/* A move that was cut short leaves both its names. */
static void see_places(struct book *b, struct sim *w)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, STAGE_SPOOL, i)) != NULL; i++) {
        char name[ID_LENGTH + 1];
        if (!is_message(path))
            continue;
        memcpy(name, name_of(path), sizeof(name));
        if (count_of(w, name) > 1)
            book_fail(b, "there are two files of %s", name);
    }
}

static void see_indexes(struct book *b, struct sim *w)
{
    const char *path = index_lie(w);

    if (path != NULL)
        book_fail(b, "the index is wrong about %s", path);
}

void book_look(struct book *b, struct sim *w, const struct operation *o)
{
    if ((o->mercy & MERCY_BAD) == 0) {
        each_message(b, w, STAGE_SPOOL "/queue", see_whole);
        each_message(b, w, STAGE_SPOOL "/hold", see_whole);
    }
    see_strays(b, w);
    see_places(b, w);
    see_indexes(b, w);
}

/* ---- at the end ---- */

static void note_folder(struct book *b, const struct spool_message *message, bool is_bad)
{
    for (uint32_t i = 0; i < message->recipient_count; i++) {
        const struct address *to = &message->recipients[i].original;
        struct book_message *m;
        struct book_recipient *r;
        char text[BOOK_ADDRESS];

        snprintf(text, sizeof(text), "%.*s@%.*s", (int)to->local.len, (const char *)to->local.at,
                 (int)to->domain.len, (const char *)to->domain.at);
        r = book_find(b, bytes_of(text), &m);
        if (r != NULL && is_bad)
            r->is_bad = true;
        else if (r != NULL)
            r->is_held = true;
    }
}

static void note_held(struct book *b, const char *path, const char *problem,
                      const struct spool_message *message)
{
    see_whole(b, path, problem, message);
    note_folder(b, message, false);
}

static void note_bad(struct book *b, const char *path, const char *problem,
                     const struct spool_message *message)
{
    if (problem == NULL)
        book_fail(b, "%s is not bad", path);
    note_folder(b, message, true);
}

/* /mail/DOMAIN/LOCAL/new/NAME */
static void note_boxes(struct book *b, struct sim *w)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, "/mail", i)) != NULL; i++) {
        char domain[BOOK_ADDRESS], local[BOOK_ADDRESS], address[2 * BOOK_ADDRESS + 1];
        struct book_message *m;
        struct book_recipient *r;
        struct bytes file;

        if (strstr(path, "/new/") == NULL ||
            sscanf(path, "/mail/%31[^/]/%31[^/]/", domain, local) != 2 || !sim_file(w, path, &file))
            continue;
        snprintf(address, sizeof(address), "%s@%s", local, domain);
        r = book_find(b, bytes_of(address), &m);
        if (r == NULL)
            book_fail(b, "%s is nobody's", path);
        else if (!book_is_content(m, file, false))
            book_fail(b, "%s is not what was sent", path);
        else
            r->boxed++;
    }
}

struct sums {
    unsigned taken, at_b, failures, reports;
};

static struct sums sum_up(const struct book *b, const struct book_recipient *r)
{
    struct sums s = {.taken = 0};

    for (unsigned i = 0; i < b->line_count; i++) {
        const struct book_line *line = &b->lines[i];
        bool is_report = strcmp(line->about, r->address) == 0;
        s.reports += is_report;
        s.failures += is_report && strcmp(line->action, "failed") == 0;
        if (is_report || line->is_box || line->about[0] != '\0' ||
            strcmp(line->to, r->address) != 0)
            continue;
        s.taken++;
        s.at_b += line->is_at_b;
    }
    return s;
}

static void check_duty(struct book *b, const struct operation *o, const struct book_recipient *r,
                       const struct sums *s)
{
    bool is_done = true;

    switch (o->duty) {
    case DUTY_NONE:
        break;
    case DUTY_HELD:
        is_done = r->is_held;
        break;
    case DUTY_DELIVERED:
        is_done = s->taken > 0 && !r->is_held;
        break;
    case DUTY_NOT_DELIVERED:
        is_done = s->taken == 0;
        break;
    case DUTY_NOT_THERE:
        is_done = s->taken == 0 && !r->is_held;
        break;
    case DUTY_TARGET_B:
        is_done = s->at_b > 0 && s->at_b == s->taken;
        break;
    }
    if (!is_done)
        book_fail(b, "what was done with the mail for %s is undone", r->address);
}

/* By strict targets, and by the operator. Where a call has failed a message is returned that cannot
 * be read, and whose time is over. */
static bool may_be_returned(const struct book *b, const struct operation *o,
                            const struct book_recipient *r)
{
    return strncmp(r->address, "no", 2) == 0 || strncmp(r->address, "later", 5) == 0 ||
           o->duty == DUTY_NOT_DELIVERED || b->has_failed;
}

static void check_recipient(struct book *b, const struct operation *o, const struct book_message *m,
                            const struct book_recipient *r)
{
    struct sums s = sum_up(b, r);
    bool is_there = s.taken > 0 || s.failures > 0 || r->boxed > 0 || r->is_held || r->is_bad;

    if (m->is_acknowledged && !is_there && (o->mercy & MERCY_GONE) == 0)
        book_fail(b, "mail for %s is lost", r->address);
    if (r->is_held && (o->mercy & MERCY_HELD) == 0)
        book_fail(b, "mail for %s is held", r->address);
    if (r->is_bad && (o->mercy & MERCY_BAD) == 0)
        book_fail(b, "mail for %s is bad", r->address);
    if (r->is_held && s.taken > 0)
        book_fail(b, "mail for %s is held, and was delivered", r->address);
    if (s.failures > 0 && s.taken > 0 && (o->mercy & MERCY_TAKEN_TOO) == 0)
        book_fail(b, "mail for %s was returned and delivered", r->address);
    if (s.failures > 0 && !may_be_returned(b, o, r))
        book_fail(b, "mail for %s was returned, and nobody has refused it", r->address);
    if (r->is_reported && s.reports == 0)
        book_fail(b, "the report on %s is lost", r->address);
    if (r->boxed > 1 + r->box_mercy)
        book_fail(b, "%s has mail %u times in his Maildir", r->address, r->boxed);
    if (b->is_duty_done)
        check_duty(b, o, r, &s);
}

void book_close(struct book *b, struct sim *w, const struct operation *o)
{
    static const char *const empty[] = {STAGE_SPOOL "/queue", STAGE_SPOOL "/running",
                                        STAGE_SPOOL "/tmp"};
    const char *path;

    for (size_t i = 0; i < ARRAY_LENGTH(empty); i++)
        if ((path = sim_file_below(w, empty[i], 0)) != NULL)
            book_fail(b, "%s stays", path);
    each_message(b, w, STAGE_SPOOL "/hold", note_held);
    each_message(b, w, STAGE_SPOOL "/bad", note_bad);
    note_boxes(b, w);
    for (unsigned i = 0; i < b->message_count; i++)
        for (unsigned k = 0; k < b->messages[i].recipient_count; k++)
            check_recipient(b, o, &b->messages[i], &b->messages[i].recipients[k]);
}
