/* SPDX-License-Identifier: BSD-2-Clause */
/* What the copies of a loop share: which copies have room, which wait for it, and which are refused
 * so that others find some. */
#include "proxy/io/copy.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/copy_private.h"

#define NET_PARTS   4    /* a client net may use one of them while others find no room */
#define LOOK_MS     1000 /* how often the waiting copies are checked */
#define PATIENCE_MS 5000 /* with a copy that does not grow by a chunk while others find no room */

/* ---- counting ---- */

/* Only room in the files counts here: it is what copies lack. */
static bool is_greedy(const struct copy_limits *limits, const struct copy_net *net)
{
    return net->files_bytes > limits->files_max_bytes / NET_PARTS;
}

static void add(uint64_t *total, int64_t change)
{
    assert(change >= 0 || *total >= 0 - (uint64_t)change);
    *total += (uint64_t)change;
}

void copy_count(struct copy *copy, int64_t memory_bytes, int64_t file_bytes)
{
    struct copy_limits *limits = copy->limits;

    if (!is_greedy(limits, copy->net))
        limits->modest_lacking -= copy->net->lacking;
    add(&limits->memory_used_bytes, memory_bytes);
    add(&limits->files_used_bytes, file_bytes);
    add(&copy->net->memory_bytes, memory_bytes);
    add(&copy->net->files_bytes, file_bytes);
    if (!is_greedy(limits, copy->net))
        limits->modest_lacking += copy->net->lacking;
}

static void set_lacking(struct copy *copy, bool lacks_room)
{
    uint32_t change = lacks_room ? 1 : UINT32_MAX;

    if (copy->wait.lacks_room == lacks_room)
        return;
    assert(lacks_room || copy->net->lacking != 0);
    copy->wait.lacks_room = lacks_room;
    copy->moved_ms = loop_now_ms(copy->loop);
    copy->net->lacking += change;
    if (!is_greedy(copy->limits, copy->net))
        copy->limits->modest_lacking += change;
}

/* Room was given back: every waiting copy checks again, each in a post of its own. */
static void wake_waiting(struct copy_limits *limits)
{
    LIST_EACH (link, &limits->waiting)
        copy_tell_later(LIST_ENTRY(link, struct copy, wait.link));
}

void copy_drop_chunks(struct copy *copy, size_t count)
{
    assert(count <= copy->chunk_count);
    for (size_t i = 0; i < count; i++)
        pool_give(copy_chunk_pool(copy), copy->chunks[i]);
    copy->chunk_count -= count;
    memmove(copy->chunks, copy->chunks + count, copy->chunk_count * sizeof(*copy->chunks));
    copy_count(copy, -(int64_t)(count * CHUNK_BYTES), 0);
    wake_waiting(copy->limits);
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
    add(&limits->memory_used_bytes, change_bytes);
    add(&net->envelope_bytes, change_bytes);
    if (change_bytes < 0)
        wake_waiting(limits);
}

bool copy_may_envelope_grow(const struct copy_limits *limits, const struct copy_net *net)
{
    uint64_t part_bytes = limits->memory_max_bytes / NET_PARTS;

    return limits->memory_used_bytes < limits->memory_max_bytes && net->envelope_bytes < part_bytes;
}

/* ---- room ---- */

/* A net that uses more than its part gets nothing while others find no room. */
static bool is_held_back(const struct copy *copy)
{
    return copy->limits->modest_lacking != 0 && is_greedy(copy->limits, copy->net);
}

static bool has_no_memory(const struct copy *copy, uint64_t chunks)
{
    const struct copy_limits *limits = copy->limits;
    uint64_t more_bytes = chunks * CHUNK_BYTES;
    bool has_its_part = copy->net->memory_bytes + more_bytes > limits->memory_max_bytes / NET_PARTS;

    return limits->memory_used_bytes + more_bytes > limits->memory_max_bytes ||
           (limits->modest_lacking != 0 && has_its_part);
}

static bool is_over_its_own(const struct copy *copy, uint64_t slack, uint64_t chunks)
{
    return (copy->chunk_count + chunks) * CHUNK_BYTES > copy->limits->memory_each_bytes + slack;
}

bool copy_is_over(const struct copy *copy, uint64_t own_slack, uint64_t chunks)
{
    if (copy->chunk_count + chunks <= FLOOR)
        return false;
    return is_over_its_own(copy, own_slack, chunks) || has_no_memory(copy, chunks);
}

bool copy_may_write(const struct copy *copy)
{
    return copy == copy->limits->favoured ||
           (copy->limits->files_used_bytes < copy->limits->files_max_bytes && !is_held_back(copy));
}

bool copy_is_whole(const struct copy *copy)
{
    return copy->memory_from <= copy->file.bytes;
}

/* The position of the slowest reader. */
static uint64_t passed_by_all(const struct copy *copy)
{
    uint64_t least = copy->length;

    LIST_EACH (link, &copy->readers) {
        const struct reader *reader = LIST_ENTRY(link, struct reader, link);
        if (reader->at < least)
            least = reader->at;
    }
    return least;
}

/* Frees chunks that all readers have passed. */
static void shed(struct copy *copy)
{
    uint64_t passed = passed_by_all(copy);

    if (passed < copy->memory_from + CHUNK_BYTES)
        return;
    size_t count = (size_t)((passed - copy->memory_from) / CHUNK_BYTES);
    copy->memory_from += count * CHUNK_BYTES;
    copy_drop_chunks(copy, count);
}

static bool has_room_ahead_of_readers(struct copy *copy)
{
    if (copy_is_whole(copy) && !copy_is_over(copy, 0, 1))
        return true;
    shed(copy);
    return copy->length - passed_by_all(copy) < AHEAD_MAX && !copy_is_over(copy, AHEAD_MAX, 1);
}

static bool has_room(struct copy *copy)
{
    if (copy->error != 0)
        return true;
    return copy->is_let_go ? has_room_ahead_of_readers(copy)
                           : !copy_is_over(copy, (uint64_t)SLACK_MAX * CHUNK_BYTES, 1);
}

/* ---- waiting ---- */

void copy_look_again(struct copy *copy)
{
    if (copy_waits_for_readers(copy))
        copy_tell_later(copy);
}

bool copy_waits_for_readers(const struct copy *copy)
{
    return copy->is_let_go && !list_is_empty(&copy->wait.link);
}

static void favour_oldest(struct copy_limits *limits)
{
    LIST_EACH (link, &limits->unfinished) {
        struct copy *copy = LIST_ENTRY(link, struct copy, in_unfinished);
        if (!copy->wait.lacks_room)
            continue;
        limits->favoured = copy;
        set_lacking(copy, false);
        copy_file_next_job(copy);
        return;
    }
}

void copy_give_favour_up(struct copy *copy)
{
    if (copy->limits->favoured != copy)
        return;
    copy->limits->favoured = NULL;
    wake_waiting(copy->limits);
}

static void wait_for_room(struct copy *copy)
{
    struct copy_limits *limits = copy->limits;

    if (list_is_empty(&limits->waiting))
        deadline_set(limits->loop, &limits->deadline, loop_now_ms(limits->loop) + LOOK_MS);
    if (list_is_empty(&copy->wait.link))
        list_append(&limits->waiting, &copy->wait.link);
    if (copy->is_let_go)
        set_lacking(copy, false);
    else if (!copy_may_write(copy))
        set_lacking(copy, true);
    if (copy->wait.lacks_room && limits->favoured == NULL)
        favour_oldest(limits);
}

void copy_stop_waiting(struct copy *copy)
{
    set_lacking(copy, false);
    list_remove(&copy->wait.link);
    if (list_is_empty(&copy->limits->waiting))
        deadline_clear(copy->limits->loop, &copy->limits->deadline);
}

size_t copy_room(struct copy *copy)
{
    if (has_room(copy))
        return CHUNK_BYTES;
    wait_for_room(copy);
    copy_file_next_job(copy);
    return 0;
}

/* ---- taking room back ---- */

static bool finds_no_room(const struct copy *copy)
{
    return copy->wait.lacks_room && !copy_may_write(copy) &&
           copy_is_over(copy, (uint64_t)SLACK_MAX * CHUNK_BYTES, 1);
}

/* The oldest copy that finds no room, and whose net is not held back. */
static const struct copy *find_needy(const struct copy_limits *limits)
{
    LIST_EACH (link, &limits->unfinished) {
        const struct copy *copy = LIST_ENTRY(link, struct copy, in_unfinished);
        if (!is_held_back(copy) && finds_no_room(copy))
            return copy;
    }
    return NULL;
}

/* Would it help `needy` if this copy were gone? */
static bool has_what_is_needed(const struct copy *copy, const struct copy *needy)
{
    uint64_t slack = (uint64_t)SLACK_MAX * CHUNK_BYTES;
    return copy->file.bytes != 0 ||
           (copy->chunk_count > FLOOR && !is_over_its_own(needy, slack, 1));
}

/* Which copies are refused first: those that their client or net has no claim to any more, then
 * those that could grow and do not, then those that lack room. */
enum { CLAIM_NONE, CLAIM_IDLE, CLAIM_WAITING, CLAIM_GOOD };

static int claim_of(const struct copy *copy, const struct copy *needy)
{
    const struct copy_limits *limits = copy->limits;
    bool lacks_room = finds_no_room(copy);
    bool waits_otherwise = !lacks_room && !list_is_empty(&copy->wait.link);

    if (waits_otherwise || (!lacks_room && !has_what_is_needed(copy, needy)))
        return CLAIM_GOOD;
    if ((lacks_room && copy->wait.is_ending) || (is_held_back(copy) && copy != limits->favoured))
        return CLAIM_NONE;
    if (loop_now_ms(limits->loop) - copy->moved_ms < PATIENCE_MS)
        return CLAIM_GOOD;
    return lacks_room ? CLAIM_WAITING : CLAIM_IDLE;
}

/* The copy whose message is refused next, or NULL. Among copies of equal claim it is the one that
 * has not grown for the longest time. */
static struct copy *find_victim(struct copy_limits *limits)
{
    const struct copy *needy = find_needy(limits);
    struct copy *found = NULL;
    int least = CLAIM_GOOD;

    if (needy == NULL)
        return NULL;
    LIST_EACH (link, &limits->unfinished) {
        struct copy *copy = LIST_ENTRY(link, struct copy, in_unfinished);
        int claim = claim_of(copy, needy);
        if (claim < least ||
            (found != NULL && claim == least && copy->moved_ms < found->moved_ms)) {
            found = copy;
            least = claim;
        }
    }
    return found;
}

static void on_deadline(struct deadline *deadline)
{
    struct copy_limits *limits = CONTAINER_OF(deadline, struct copy_limits, deadline);
    struct copy *victim;

    LIST_EACH (link, &limits->waiting) {
        struct copy *copy = LIST_ENTRY(link, struct copy, wait.link);
        copy->wait.is_ending = copy->use->is_ending(copy->owner);
    }
    while ((victim = find_victim(limits)) != NULL)
        victim->use->refused(victim->owner);
    wake_waiting(limits); /* copies of nets that were held back may have room now */
    if (!list_is_empty(&limits->waiting))
        deadline_set(limits->loop, deadline, loop_now_ms(limits->loop) + LOOK_MS);
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

int copy_limits_init(struct copy_limits *limits, struct loop *loop)
{
    limits->loop = loop;
    limits->nets = mem_zalloc(COPY_NETS * sizeof(*limits->nets));
    limits->net_key = loop_hash_key(loop);
    list_init(&limits->unfinished);
    list_init(&limits->waiting);
    deadline_init(&limits->deadline, &deadline_use);
    return limits->nets == NULL ? ERR_MEMORY : 0;
}

void copy_limits_done(struct copy_limits *limits)
{
    bool is_made = limits->nets != NULL;

    assert(!is_made || (list_is_empty(&limits->unfinished) && list_is_empty(&limits->waiting)));
    assert(limits->memory_used_bytes == 0 && limits->files_used_bytes == 0);
    mem_free(limits->nets);
}
