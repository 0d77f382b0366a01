/* SPDX-License-Identifier: BSD-2-Clause */
/* Bits that flip in files of a scenario, and files that cannot be read any more: what may come of
 * that, and who has been told. */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "spool/spool_format.h"
#include "tests/sim/scenario.h"

/* Of a record in a file of the spool. */
#define RECORD_HEAD_BYTES 16
#define RECORD_LENGTH_AT  8
#define RECORD_FOLLOWS_AT 14

/* Where its body ends, its records begin, and those that were written last, in one go. */
struct records {
    uint64_t body_end, first, last;
};

/* False: it is no message. */
static bool find_records(struct bytes file, struct records *r)
{
    struct spool_head head;

    if (spool_head_parse(bytes_first(file, SPOOL_HEAD_BYTES), &head) != 0)
        return false;
    r->body_end = SPOOL_HEAD_BYTES + head.body_bytes;
    r->first = r->last = spool_records_at(&head);
    for (uint64_t at = r->first; at + RECORD_HEAD_BYTES <= file.len;) {
        uint32_t len;
        memcpy(&len, file.at + at + RECORD_LENGTH_AT, sizeof(len));
        if (file.at[at + RECORD_FOLLOWS_AT] == 0)
            r->last = at;
        at += RECORD_HEAD_BYTES + (((uint64_t)len + 7) & ~UINT64_C(7));
    }
    return r->first < file.len;
}

/* Bodies are long, and most of what can be wrong lies behind them. */
static uint64_t choose_octet(struct scenario *s, struct bytes file, const struct records *r)
{
    if (r != NULL && scenario_chance(s, 50))
        return r->first + scenario_below(s, file.len - r->first);
    return scenario_below(s, file.len);
}

static void note_damage(struct scenario *s, struct spool_file *f)
{
    f->is_damaged = true;
    f->damaged_ms = sim_now_ms(s->world);
}

static void flip(struct scenario *s, const char *path, struct spool_file *f)
{
    struct bytes file;
    struct records records, durable;
    uint64_t octet, bit;
    bool has_records;

    if (!sim_file(s->world, path, &file) || file.len == 0 || sim_file_is_locked(s->world, path))
        return; /* what is being delivered has been verified */
    has_records = f != NULL && find_records(file, &records);
    octet = choose_octet(s, file, has_records ? &records : NULL);
    bit = 8 * octet + scenario_below(s, 8);
    if (has_records && f->message != NULL && octet >= records.last)
        f->message->has_torn_end = true;
    if (f != NULL && find_records(bytes_first(file, sim_file_durable(s->world, path)), &durable))
        f->is_last_durable = octet >= durable.last;
    if (f != NULL && !(has_records && octet >= records.body_end && octet < records.first))
        note_damage(s, f);
    scenario_count(s, COUNT_FLIPS);
    if (s->is_loud)
        printf("%9llu bit %llu of %s flips\n", (unsigned long long)sim_now_ms(s->world),
               (unsigned long long)bit, path);
    sim_file_flip(s->world, path, bit);
}

/* Whoever finds it may die before he says so; and what was written behind it may be gone. */
static bool has_died_since(struct scenario *s, const struct spool_file *f)
{
    LIST_EACH (link, &s->deaths)
        if (LIST_ENTRY(link, struct death, link)->at_ms >= f->damaged_ms)
            return true;
    return false;
}

bool spool_is_damaged(struct scenario *s, const struct message *m)
{
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->message == m && !f->is_report && f->is_damaged && !f->is_unreadable)
            return !m->has_torn_end && !(f->is_last_durable && has_died_since(s, f));
    }
    return false;
}

bool spool_is_bodiless(struct scenario *s, const struct message *m)
{
    LIST_EACH (link, &s->files) {
        const struct spool_file *f = LIST_ENTRY(link, struct spool_file, link);
        if (f->message == m && !f->is_report && f->is_bodiless)
            return true;
    }
    return false;
}

/* A sync of it has failed: nothing is written there any more. */
static void distrust(struct scenario *s, const char *path)
{
    int fd = disk_open_append(path);

    if (fd < 0)
        return;
    disk_mark(fd, DISK_MARK_UNSYNCED);
    disk_close(fd);
    s->plan.closed_by_us++;
}

/* All of it, or its body alone. */
static void spoil(struct scenario *s, const char *path, struct spool_file *f, bool is_body)
{
    struct bytes file;
    struct records records;

    f->is_bodiless = is_body && sim_file(s->world, path, &file) && find_records(file, &records);
    f->is_unreadable = true;
    scenario_count(s, f->is_bodiless ? COUNT_BODILESS : COUNT_SPOILED);
    if (s->is_loud)
        printf("%9llu %s cannot be read any more%s\n", (unsigned long long)sim_now_ms(s->world),
               path, f->is_bodiless ? ", but for its records" : "");
    if (f->is_bodiless && scenario_chance(s, 50))
        distrust(s, path);
    if (f->is_bodiless)
        sim_disk_lose(s->world, path, SPOOL_HEAD_BYTES, records.first);
    else
        sim_disk_spoil(s->world, path, -EIO);
}

void spool_damage(struct scenario *s, const char *path, enum rot rot)
{
    struct spool_file *f =
        spool_is_message(path) ? spool_file_of(s, bytes_of(strrchr(path, '/') + 1)) : NULL;

    if (f == NULL || rot == ROT_FLIP) {
        flip(s, path, f);
        return;
    }
    note_damage(s, f);
    spoil(s, path, f, rot == ROT_BODY);
}

/* In the log, or by his fsck. */
void spool_keep_damaged(struct scenario *s, struct spool_file *f)
{
    struct message *m = f->message;

    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        m->recipients[i].is_queued = true;
    if (!f->is_told && !s->plan.has_operator && !s->plan.has_cold && !has_died_since(s, f))
        scenario_fail(s, "%s is damaged, and nobody is told", f->id);
}
