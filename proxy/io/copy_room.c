/* SPDX-License-Identifier: BSD-2-Clause */
/* What the copies of a loop share: who has room, who waits for it, and who is refused so that
 * others find some. */
#include "proxy/io/copy.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/copy_private.h"

#define NET_PARTS   4    /* one client net has one of them, while others find no room */
#define LOOK_MS     1000 /* how often those that wait are looked at */
#define PATIENCE_MS 5000 /* for what does not grow by a chunk while others find no room */

/* ---- counting ---- */

/* Room is lacking where files are full: there it counts who has his part. */
static bool is_greedy(const struct copy_limits *limits, const struct copy_net *net)
{
    return net->files_bytes > limits->files_max_bytes / NET_PARTS;
}

void copy_count(struct copy *c, int64_t memory_bytes, int64_t file_bytes)
{
    struct copy_limits *limits = c->limits;

    if (!is_greedy(limits, c->net))
        limits->modest_lacking -= c->net->lacking;
    limits->memory_used_bytes += (uint64_t)memory_bytes;
    limits->files_used_bytes += (uint64_t)file_bytes;
    c->net->memory_bytes += (uint64_t)memory_bytes;
    c->net->files_bytes += (uint64_t)file_bytes;
    if (!is_greedy(limits, c->net))
        limits->modest_lacking += c->net->lacking;
}

static void set_lacking(struct copy *c, bool lacks_room)
{
    uint32_t change = lacks_room ? 1 : UINT32_MAX;

    if (c->wait.lacks_room == lacks_room)
        return;
    c->wait.lacks_room = lacks_room;
    c->moved_ms = loop_now_ms(c->loop);
    c->net->lacking += change;
    if (!is_greedy(c->limits, c->net))
        c->limits->modest_lacking += change;
}

/* Something was given back: the copies that wait look again, each in a call of its own. */
static void wake_waiting(struct copy_limits *limits)
{
    LIST_EACH (link, &limits->waiting)
        copy_tell_later(LIST_ENTRY(link, struct copy, wait.link));
}

void copy_drop_chunks(struct copy *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pool_give(copy_chunk_pool(c), c->chunks[i]);
    c->chunk_count -= count;
    memmove(c->chunks, c->chunks + count, c->chunk_count * sizeof(*c->chunks));
    copy_count(c, -(int64_t)(count * CHUNK_BYTES), 0);
    wake_waiting(c->limits);
}

struct copy_net *copy_net_of(const struct copy_limits *limits, const struct netaddr *client)
{
    struct netaddr net = {.family = NETADDR_NONE};

    if (client != NULL)
        net = netaddr_client_net(client);
    uint64_t hash = hash_bytes(&limits->net_key, bytes_make(net.octets, sizeof(net.octets)));
    return &limits->nets[hash % COPY_NETS];
}

/* ---- envelopes ---- */

void copy_count_envelope(struct copy_limits *limits, struct copy_net *net, int64_t change_bytes)
{
    limits->memory_used_bytes += (uint64_t)change_bytes;
    net->envelope_bytes += (uint64_t)change_bytes;
    if (change_bytes < 0)
        wake_waiting(limits);
}

bool copy_may_envelope_grow(const struct copy_limits *limits, const struct copy_net *net)
{
    uint64_t part_bytes = limits->memory_max_bytes / NET_PARTS;

    return limits->memory_used_bytes < limits->memory_max_bytes && net->envelope_bytes < part_bytes;
}

/* ---- room ---- */

/* A net that has more than its part gets nothing while others find no room. */
static bool is_held_back(const struct copy *c)
{
    return c->limits->modest_lacking != 0 && is_greedy(c->limits, c->net);
}

static bool has_no_memory(const struct copy *c, uint64_t chunks)
{
    const struct copy_limits *limits = c->limits;
    uint64_t more_bytes = chunks * CHUNK_BYTES;
    bool has_its_part = c->net->memory_bytes + more_bytes > limits->memory_max_bytes / NET_PARTS;

    return limits->memory_used_bytes + more_bytes > limits->memory_max_bytes ||
           (limits->modest_lacking != 0 && has_its_part);
}

static bool is_over_its_own(const struct copy *c, uint64_t slack, uint64_t chunks)
{
    return (c->chunk_count + chunks) * CHUNK_BYTES > c->limits->memory_each_bytes + slack;
}

bool copy_is_over(const struct copy *c, uint64_t own_slack, uint64_t chunks)
{
    if (c->chunk_count + chunks <= FLOOR)
        return false;
    return is_over_its_own(c, own_slack, chunks) || has_no_memory(c, chunks);
}

bool copy_may_write(const struct copy *c)
{
    return c == c->limits->favoured ||
           (c->limits->files_used_bytes < c->limits->files_max_bytes && !is_held_back(c));
}

bool copy_is_whole(const struct copy *c)
{
    return c->memory_from <= c->file.bytes;
}

/* Where the slowest reader is. */
static uint64_t passed_by_all(const struct copy *c)
{
    uint64_t least = c->length;

    LIST_EACH (link, &c->readers) {
        const struct reader *r = LIST_ENTRY(link, struct reader, link);
        if (r->at < least)
            least = r->at;
    }
    return least;
}

/* Frees what nobody needs any more. */
static void shed(struct copy *c)
{
    uint64_t passed = passed_by_all(c);

    if (passed < c->memory_from + CHUNK_BYTES)
        return;
    size_t count = (size_t)((passed - c->memory_from) / CHUNK_BYTES);
    c->memory_from += count * CHUNK_BYTES;
    copy_drop_chunks(c, count);
}

static bool has_room_behind_readers(struct copy *c)
{
    if (copy_is_whole(c) && !copy_is_over(c, 0, 1))
        return true;
    shed(c);
    return c->length - passed_by_all(c) < AHEAD_MAX && !copy_is_over(c, AHEAD_MAX, 1);
}

static bool has_room(struct copy *c)
{
    if (c->error != 0)
        return true;
    return c->is_let_go ? has_room_behind_readers(c)
                        : !copy_is_over(c, (uint64_t)SLACK_MAX * CHUNK_BYTES, 1);
}

/* ---- waiting ---- */

void copy_look_again(struct copy *c)
{
    if (copy_waits_for_readers(c))
        copy_tell_later(c);
}

bool copy_waits_for_readers(const struct copy *c)
{
    return c->is_let_go && !list_is_empty(&c->wait.link);
}

static void favour_oldest(struct copy_limits *limits)
{
    LIST_EACH (link, &limits->unfinished) {
        struct copy *c = LIST_ENTRY(link, struct copy, in_unfinished);
        if (!c->wait.lacks_room)
            continue;
        limits->favoured = c;
        set_lacking(c, false);
        copy_file_next_job(c);
        return;
    }
}

void copy_give_favour_up(struct copy *c)
{
    if (c->limits->favoured != c)
        return;
    c->limits->favoured = NULL;
    wake_waiting(c->limits);
}

static void wait_for_room(struct copy *c)
{
    struct copy_limits *limits = c->limits;

    if (list_is_empty(&limits->waiting))
        deadline_set(limits->loop, &limits->deadline, loop_now_ms(limits->loop) + LOOK_MS);
    if (list_is_empty(&c->wait.link))
        list_append(&limits->waiting, &c->wait.link);
    if (c->is_let_go)
        set_lacking(c, false);
    else if (!copy_may_write(c))
        set_lacking(c, true);
    if (c->wait.lacks_room && limits->favoured == NULL)
        favour_oldest(limits);
}

void copy_stop_waiting(struct copy *c)
{
    set_lacking(c, false);
    list_remove(&c->wait.link);
    if (list_is_empty(&c->limits->waiting))
        deadline_clear(c->limits->loop, &c->limits->deadline);
}

size_t copy_room(struct copy *c)
{
    if (has_room(c))
        return CHUNK_BYTES;
    wait_for_room(c);
    copy_file_next_job(c);
    return 0;
}

/* ---- taking room back ---- */

static bool finds_no_room(const struct copy *c)
{
    return c->wait.lacks_room && !copy_may_write(c) &&
           copy_is_over(c, (uint64_t)SLACK_MAX * CHUNK_BYTES, 1);
}

/* The oldest that finds no room; of a net that has less than its part, where there is one. */
static const struct copy *find_needy(const struct copy_limits *limits)
{
    LIST_EACH (link, &limits->unfinished) {
        const struct copy *c = LIST_ENTRY(link, struct copy, in_unfinished);
        if (!is_held_back(c) && finds_no_room(c))
            return c;
    }
    return NULL;
}

/* Would it help if this one were gone? */
static bool has_what_is_needed(const struct copy *c, const struct copy *needy)
{
    uint64_t slack = (uint64_t)SLACK_MAX * CHUNK_BYTES;
    return c->file.bytes != 0 || (c->chunk_count > FLOOR && !is_over_its_own(needy, slack, 1));
}

/* Who goes first: what its client or its net has no claim to any more, then what does not grow
 * though it could, then what grows no more for want of room. */
enum { CLAIM_NONE, CLAIM_IDLE, CLAIM_WAITING, CLAIM_GOOD };

static int claim_of(const struct copy *c, const struct copy *needy)
{
    const struct copy_limits *limits = c->limits;
    bool lacks_room = finds_no_room(c);
    bool waits_otherwise = !lacks_room && !list_is_empty(&c->wait.link);

    if (waits_otherwise || (!lacks_room && !has_what_is_needed(c, needy)))
        return CLAIM_GOOD;
    if ((lacks_room && c->wait.is_ending) || (is_held_back(c) && c != limits->favoured))
        return CLAIM_NONE;
    if (loop_now_ms(limits->loop) - c->moved_ms < PATIENCE_MS)
        return CLAIM_GOOD;
    return lacks_room ? CLAIM_WAITING : CLAIM_IDLE;
}

/* Whose message is refused next; NULL: nobody's. Among those of one claim it is the one that has
 * not grown for longest. */
static struct copy *find_victim(struct copy_limits *limits)
{
    const struct copy *needy = find_needy(limits);
    struct copy *found = NULL;
    int least = CLAIM_GOOD;

    if (needy == NULL)
        return NULL;
    LIST_EACH (link, &limits->unfinished) {
        struct copy *c = LIST_ENTRY(link, struct copy, in_unfinished);
        int claim = claim_of(c, needy);
        if (claim < least || (found != NULL && claim == least && c->moved_ms < found->moved_ms)) {
            found = c;
            least = claim;
        }
    }
    return found;
}

static void on_deadline(struct deadline *d)
{
    struct copy_limits *limits = CONTAINER_OF(d, struct copy_limits, deadline);
    struct copy *victim;

    LIST_EACH (link, &limits->waiting) {
        struct copy *c = LIST_ENTRY(link, struct copy, wait.link);
        c->wait.is_ending = c->use->is_ending(c->owner);
    }
    while ((victim = find_victim(limits)) != NULL)
        victim->use->refused(victim->owner);
    wake_waiting(limits); /* nets that were held back may go on */
    if (!list_is_empty(&limits->waiting))
        deadline_set(limits->loop, d, loop_now_ms(limits->loop) + LOOK_MS);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

int copy_limits_init(struct copy_limits *limits, struct loop *l)
{
    limits->loop = l;
    limits->nets = mem_zalloc(COPY_NETS * sizeof(*limits->nets));
    limits->net_key = loop_hash_key(l);
    list_init(&limits->unfinished);
    list_init(&limits->waiting);
    deadline_init(&limits->deadline, &deadline_use);
    return limits->nets == NULL ? ERR_MEMORY : 0;
}

void copy_limits_done(struct copy_limits *limits)
{
    mem_free(limits->nets);
}
