/* SPDX-License-Identifier: BSD-2-Clause */
/* The known messages by id, and walks over all of them. There may be millions, so nothing here
 * takes long at once: the table grows by one bucket at a time (linear hashing), and a walk takes
 * many turns of the loop. */
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

static struct runner_message **bucket_at(const struct runner_table *table, size_t i)
{
    assert(i < table->bucket_count && i / SEGMENT_BUCKETS < table->segment_count);
    return &table->segments[i / SEGMENT_BUCKETS]->buckets[i % SEGMENT_BUCKETS];
}

static uint64_t hash_of(const struct runner *r, const struct id *id)
{
    struct hash_key key = loop_hash_key(r->host.loop);
    return hash_bytes(&key, bytes_make(id->text, ID_LENGTH));
}

static struct runner_message **bucket_of(const struct runner *r, const struct id *id)
{
    const struct runner_table *table = &r->messages;
    size_t i = (size_t)hash_of(r, id) & (2 * table->level - 1);

    assert(table->bucket_count != 0);
    return bucket_at(table, i < table->bucket_count ? i : i & (table->level - 1));
}

static struct runner_message *find_in(struct runner_message *known, const struct id *id)
{
    while (known != NULL && memcmp(known->place.id.text, id->text, ID_LENGTH) != 0)
        known = known->next;
    return known;
}

struct runner_message *runner_find(struct runner *r, const struct id *id)
{
    return r->messages.bucket_count == 0 ? NULL : find_in(*bucket_of(r, id), id);
}

static bool has_segment(struct runner_table *table)
{
    size_t segment = table->bucket_count / SEGMENT_BUCKETS;

    if (segment < table->segment_count)
        return true;
    if (segment == table->segment_capacity) {
        size_t capacity = segment == 0 ? 4 : 2 * segment;
        struct runner_segment **grown =
            mem_grow(table->segments, capacity * sizeof(struct runner_segment *));
        if (grown == NULL)
            return false;
        table->segments = grown;
        table->segment_capacity = capacity;
    }
    table->segments[segment] = mem_zalloc(sizeof(struct runner_segment));
    if (table->segments[segment] == NULL)
        return false;
    table->segment_count++;
    return true;
}

/* Moves messages that belong in the last bucket there. */
static void move(struct runner *r, struct runner_message **from, size_t last)
{
    struct runner_message **to = bucket_at(&r->messages, last);
    size_t mask = 2 * r->messages.level - 1;

    while (*from != NULL) {
        struct runner_message *known = *from;
        if (((size_t)hash_of(r, &known->place.id) & mask) != last) {
            from = &known->next;
            continue;
        }
        *from = known->next;
        known->next = *to;
        *to = known;
    }
}

/* Adds a bucket, and moves some messages of another one to it. False: no memory. */
static bool split(struct runner *r)
{
    struct runner_table *table = &r->messages;
    size_t last = table->bucket_count;

    if (!has_segment(table))
        return false;
    table->bucket_count++;
    if (last == 0) {
        table->level = 1;
        return true;
    }
    move(r, bucket_at(table, last - table->level), last);
    if (table->bucket_count == 2 * table->level)
        table->level = table->bucket_count;
    assert(table->level <= table->bucket_count && table->bucket_count < 2 * table->level);
    return true;
}

/* The table does not grow during a walk: a message that moved would be met twice. */
bool runner_table_add(struct runner *r, struct runner_message *known)
{
    struct runner_table *table = &r->messages;
    bool may_grow = table->bucket_count == 0 || list_is_empty(&r->walks);

    for (int i = 0; may_grow && i < SPLITS_MAX && table->message_count >= table->bucket_count; i++)
        may_grow = split(r);
    if (table->bucket_count == 0)
        return false;
    struct runner_message **bucket = bucket_of(r, &known->place.id);
    assert(find_in(*bucket, &known->place.id) == NULL);
    known->next = *bucket;
    *bucket = known;
    table->message_count++;
    return true;
}

void runner_table_remove(struct runner *r, struct runner_message *known)
{
    struct runner_message **at = bucket_of(r, &known->place.id);

    assert(r->messages.message_count != 0);
    while (*at != known) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = known->next;
    r->messages.message_count--;
}

struct runner_message *runner_table_any(struct runner *r)
{
    struct runner_table *table = &r->messages;

    for (; table->emptied < table->bucket_count; table->emptied++)
        if (*bucket_at(table, table->emptied) != NULL)
            return *bucket_at(table, table->emptied);
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

void runner_walk_end(struct runner_walk *walk)
{
    loop_unpost(walk->runner->host.loop, &walk->post);
    list_remove(&walk->in_runner);
}

static void end(struct runner_walk *walk)
{
    runner_walk_end(walk);
    walk->done(walk);
}

static void go_on(void *owner)
{
    struct runner_walk *walk = owner;
    const struct runner_table *table = &walk->runner->messages;

    for (int i = 0; i < WALK_BUCKETS && walk->bucket < table->bucket_count; i++, walk->bucket++)
        for (struct runner_message *known = *bucket_at(table, walk->bucket); known != NULL;
             known = known->next)
            walk->meet(walk, &known->entries);
    if (walk->bucket < table->bucket_count)
        loop_post(walk->runner->host.loop, &walk->post, go_on, walk);
    else
        end(walk);
}

void runner_walk(struct runner *r, struct runner_walk *walk)
{
    assert(walk->meet != NULL && walk->done != NULL);
    walk->runner = r;
    walk->bucket = 0;
    walk->post = (struct loop_post){.next = NULL};
    list_append(&r->walks, &walk->in_runner);
    loop_post(r->host.loop, &walk->post, go_on, walk);
}

void runner_end_walks(struct runner *r)
{
    struct list *first;

    while ((first = list_first(&r->walks)) != NULL)
        end(LIST_ENTRY(first, struct runner_walk, in_runner));
}
