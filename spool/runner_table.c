/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages that are known, by id, and walks over all of them. There may be millions: nothing
 * here takes long at once. The table grows by a bucket at a time (linear hashing), and a walk is
 * made in many turns of the loop. */
#include <assert.h>

#include "proxy/base/mem.h"
#include "spool/runner_private.h"

#define SEGMENT_BUCKETS 4096
#define SPLITS_MAX      4   /* with one new message */
#define WALK_BUCKETS    500 /* in one turn of the loop */

struct runner_segment {
    struct runner_message *buckets[SEGMENT_BUCKETS];
};

/* ---- buckets ---- */

static struct runner_message **bucket_at(const struct runner_table *t, size_t i)
{
    assert(i < t->bucket_count && i / SEGMENT_BUCKETS < t->segment_count);
    return &t->segments[i / SEGMENT_BUCKETS]->buckets[i % SEGMENT_BUCKETS];
}

static uint64_t hash_of(const struct runner *r, const struct id *id)
{
    struct hash_key key = loop_hash_key(r->host.loop);
    return hash_bytes(&key, bytes_make(id->text, ID_LENGTH));
}

static struct runner_message **bucket_of(const struct runner *r, const struct id *id)
{
    const struct runner_table *t = &r->messages;
    size_t i = (size_t)hash_of(r, id) & (2 * t->level - 1);

    assert(t->bucket_count != 0);
    return bucket_at(t, i < t->bucket_count ? i : i & (t->level - 1));
}

static struct runner_message *find_in(struct runner_message *m, const struct id *id)
{
    while (m != NULL && memcmp(m->place.id.text, id->text, ID_LENGTH) != 0)
        m = m->next;
    return m;
}

struct runner_message *runner_find(struct runner *r, const struct id *id)
{
    return r->messages.bucket_count == 0 ? NULL : find_in(*bucket_of(r, id), id);
}

static bool has_segment(struct runner_table *t)
{
    size_t segment = t->bucket_count / SEGMENT_BUCKETS;

    if (segment < t->segment_count)
        return true;
    if (segment == t->segment_capacity) {
        size_t capacity = segment == 0 ? 4 : 2 * segment;
        struct runner_segment **grown =
            mem_grow(t->segments, capacity * sizeof(struct runner_segment *));
        if (grown == NULL)
            return false;
        t->segments = grown;
        t->segment_capacity = capacity;
    }
    t->segments[segment] = mem_zalloc(sizeof(struct runner_segment));
    if (t->segments[segment] == NULL)
        return false;
    t->segment_count++;
    return true;
}

/* To the last bucket goes what belongs there. */
static void move(struct runner *r, struct runner_message **from, size_t last)
{
    struct runner_message **to = bucket_at(&r->messages, last);
    size_t mask = 2 * r->messages.level - 1;

    while (*from != NULL) {
        struct runner_message *m = *from;
        if (((size_t)hash_of(r, &m->place.id) & mask) != last) {
            from = &m->next;
            continue;
        }
        *from = m->next;
        m->next = *to;
        *to = m;
    }
}

/* One more bucket, for some of what lies in another one. False: no memory. */
static bool split(struct runner *r)
{
    struct runner_table *t = &r->messages;
    size_t last = t->bucket_count;

    if (!has_segment(t))
        return false;
    t->bucket_count++;
    if (last == 0) {
        t->level = 1;
        return true;
    }
    move(r, bucket_at(t, last - t->level), last);
    if (t->bucket_count == 2 * t->level)
        t->level = t->bucket_count;
    assert(t->level <= t->bucket_count && t->bucket_count < 2 * t->level);
    return true;
}

/* What moves while a walk goes on would be met twice. */
bool runner_table_add(struct runner *r, struct runner_message *m)
{
    struct runner_table *t = &r->messages;
    bool may_grow = t->bucket_count == 0 || list_is_empty(&r->walks);

    for (int i = 0; may_grow && i < SPLITS_MAX && t->message_count >= t->bucket_count; i++)
        may_grow = split(r);
    if (t->bucket_count == 0)
        return false;
    struct runner_message **bucket = bucket_of(r, &m->place.id);
    assert(find_in(*bucket, &m->place.id) == NULL);
    m->next = *bucket;
    *bucket = m;
    t->message_count++;
    return true;
}

void runner_table_remove(struct runner *r, struct runner_message *m)
{
    struct runner_message **at = bucket_of(r, &m->place.id);

    assert(r->messages.message_count != 0);
    while (*at != m) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = m->next;
    r->messages.message_count--;
}

struct runner_message *runner_table_any(struct runner *r)
{
    struct runner_table *t = &r->messages;

    for (; t->emptied < t->bucket_count; t->emptied++)
        if (*bucket_at(t, t->emptied) != NULL)
            return *bucket_at(t, t->emptied);
    return NULL;
}

void runner_table_done(struct runner *r)
{
    assert(r->messages.message_count == 0);
    for (size_t i = 0; i < r->messages.segment_count; i++)
        mem_free(r->messages.segments[i]);
    mem_free(r->messages.segments);
}

/* ---- walks ---- */

void runner_walk_end(struct runner_walk *w)
{
    loop_unpost(w->runner->host.loop, &w->post);
    list_remove(&w->in_runner);
}

static void end(struct runner_walk *w)
{
    runner_walk_end(w);
    w->done(w);
}

static void walk(void *owner)
{
    struct runner_walk *w = owner;
    const struct runner_table *t = &w->runner->messages;

    for (int i = 0; i < WALK_BUCKETS && w->bucket < t->bucket_count; i++, w->bucket++)
        for (struct runner_message *m = *bucket_at(t, w->bucket); m != NULL; m = m->next)
            w->meet(w, &m->entries);
    if (w->bucket < t->bucket_count)
        loop_post(w->runner->host.loop, &w->post, walk, w);
    else
        end(w);
}

void runner_walk(struct runner *r, struct runner_walk *w)
{
    assert(w->meet != NULL && w->done != NULL);
    w->runner = r;
    w->bucket = 0;
    w->post = (struct loop_post){.next = NULL};
    list_append(&r->walks, &w->in_runner);
    loop_post(r->host.loop, &w->post, walk, w);
}

void runner_end_walks(struct runner *r)
{
    struct list *first;

    while ((first = list_first(&r->walks)) != NULL)
        end(LIST_ENTRY(first, struct runner_walk, in_runner));
}
