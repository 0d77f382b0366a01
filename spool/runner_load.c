/* SPDX-License-Identifier: BSD-2-Clause */
/* Which messages there are: the queue is listed at start and now and then, and what is not known is
 * read. */
#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/runner_private.h"
#include "spool/spool_index.h"

#define BATCH         256   /* messages of one job */
#define RESCAN_MS     30000 /* hints may be lost */
#define RELOOK_MS     1000  /* ... and where this is likely */
#define RESCAN_FACTOR 20    /* listing takes at most one part in so many of the time */
#define LOOK_MAX      4096  /* places of one turn of the loop, of which most may be known */

/* ---- places ---- */

static bool push(struct runner_places *p, const struct store_place *place)
{
    struct store_place *grown = mem_make_room(p->at, p->count, &p->capacity, sizeof(*grown));

    if (grown == NULL)
        return false;
    p->at = grown;
    p->at[p->count++] = *place;
    return true;
}

static void clear(struct runner_places *p)
{
    mem_free(p->at);
    *p = (struct runner_places){0};
}

static bool take(struct runner_places *p, struct store_place *place_out)
{
    assert(p->first <= p->count);
    if (p->first == p->count)
        return false;
    *place_out = p->at[p->first++];
    if (p->first == p->count)
        clear(p);
    return true;
}

/* The first arrival that nobody has begun to read. */
static uint64_t next_arrival(const struct runner *r)
{
    assert(r->load.arrived.count - r->load.arrived.first <= r->load.arrivals);
    return r->load.arrivals - (r->load.arrived.count - r->load.arrived.first);
}

/* Not known yet; or held, as far as is known, and found in the queue: another process has released
 * it. */
static bool is_news(struct runner *r, const struct store_place *place)
{
    struct runner_message *known = runner_find(r, &place->id);

    if (known == NULL)
        return true;
    if (known->is_busy || known->place.folder != STORE_HOLD || place->folder != STORE_QUEUE)
        return false;
    runner_forget(r, known);
    return true;
}

/* The next message that is not known yet. `left`: so many places may be looked at. */
static bool next_place(struct runner *r, unsigned *left, struct store_place *place_out)
{
    while (*left != 0 && (take(&r->load.arrived, place_out) || take(&r->load.found, place_out))) {
        --*left;
        if (is_news(r, place_out))
            return true;
    }
    return false;
}

/* ---- reading ---- */

struct read_item {
    struct store_place place;
    struct spool_message message;
    int error;
    bool is_bad; /* it was moved to bad/ */
};

struct reading {
    struct work work;
    struct runner *runner;
    unsigned slot; /* in runner_load.oldest_read */
    struct pool pool;
    struct arena arena;
    bool uses_index;  /* while the queue is being loaded: later, what is read is new */
    uint32_t indexed; /* the directory that `index` is of; 0: none yet */
    struct spool_index index;
    size_t count;
    struct read_item items[BATCH];
};

/* Nobody else changes it now: what was found is looked at again. */
static int read_taken(const struct store *store, int fd, struct arena *arena,
                      struct read_item *item)
{
    struct store_place bad;
    int error = store_read(fd, &item->place.id, arena, &item->message);

    if (error == 0 && item->message.is_held && item->place.folder == STORE_QUEUE)
        return store_move(store, &item->place, STORE_HOLD, 0, &item->place);
    if (store_is_damaged(error)) {
        int move_error = store_move(store, &item->place, STORE_BAD, 0, &bad);
        item->is_bad = move_error == 0;
        return move_error != 0 ? move_error : error;
    }
    return error;
}

/* It is damaged, or held and lies among those that are delivered, since a crash came between. Or
 * somebody has changed it while it was read. */
static void mend(const struct store *store, struct arena *arena, struct read_item *item)
{
    int fd, error = store_take(store, &item->place, &fd);

    if (error == 0) {
        error = read_taken(store, fd, arena, item);
        disk_close(fd);
    }
    item->error = error;
}

/* Without the lock: what is there may be known, whoever delivers it, and where nothing can be
 * written. */
static void read_item(const struct store *store, struct arena *arena, struct read_item *item)
{
    int fd;

    item->error = store_look(store, &item->place, &fd);
    if (item->error != 0)
        return;
    item->error = store_read(fd, &item->place.id, arena, &item->message);
    disk_close(fd);
    bool is_misplaced =
        item->error == 0 && item->message.is_held && item->place.folder == STORE_QUEUE;
    if (is_misplaced || store_is_damaged(item->error))
        mend(store, arena, item);
}

/* What is held and still lies in queue/ is opened all the same: it is to be moved. */
static bool is_in_index(struct reading *j, struct read_item *item)
{
    if (!j->uses_index || item->place.folder != STORE_QUEUE)
        return false;
    if (j->indexed != item->place.directory) {
        spool_index_free(&j->index);
        j->indexed = item->place.directory;
        spool_index_read(j->runner->host.store, j->indexed, &j->index); /* or it is empty */
    }
    item->error = 0;
    return spool_index_find(&j->index, &item->place.id, &j->arena, &item->message) == 0 &&
           !item->message.is_held;
}

static void run_reading(struct work *w)
{
    struct reading *j = CONTAINER_OF(w, struct reading, work);

    for (size_t i = 0; i < j->count; i++)
        if (!is_in_index(j, &j->items[i]))
            read_item(j->runner->host.store, &j->arena, &j->items[i]);
}

/* What is left alone is met again by each listing, and told once. */
static void log_unreadable(struct runner *r, const struct read_item *item)
{
    if (!item->is_bad && !runner_see_stray(r, bytes_of(item->place.id.text), item->error))
        return;
    struct log_line line = log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_ERROR, "queue-file");

    log_put_text(&line, "transaction", item->place.id.text);
    log_put_text(&line, "result", item->is_bad ? "moved to bad/" : "left alone");
    if (item->is_bad)
        log_put_text(&line, "reason", store_damage(item->error));
    else
        log_put_error(&line, "error", item->error);
    log_end(&line);
}

static void finish_item(struct runner *r, const struct read_item *item)
{
    if (item->error == 0)
        runner_learn(r, &item->place, &item->message);
    else if (item->error == -ENOENT || item->error == -EAGAIN)
        return; /* gone, or another one's: the next scan will tell */
    else
        log_unreadable(r, item);
    if (item->error == ERR_RANGE) /* of a later version: known, and never touched */
        runner_ignore(r, &item->place);
}

static void free_reading(struct reading *j)
{
    arena_reset(&j->arena);
    pool_done(&j->pool);
    spool_index_free(&j->index);
    mem_free(j);
}

static void done_reading(struct work *w)
{
    struct reading *j = CONTAINER_OF(w, struct reading, work);
    struct runner *r = j->runner;

    for (size_t i = 0; i < j->count; i++)
        finish_item(r, &j->items[i]);
    assert(r->load.readers != 0);
    r->load.oldest_read[j->slot] = UINT64_MAX;
    r->load.readers--;
    free_reading(j);
    runner_load_pump(r);
    if (r->host.has_read != NULL)
        r->host.has_read(r->host.owner);
    runner_job_done(r);
}

static unsigned free_slot(const struct runner *r)
{
    unsigned slot = 0;

    while (r->load.oldest_read[slot] != UINT64_MAX) {
        slot++;
        assert(slot < RUNNER_READERS_MAX);
    }
    return slot;
}

static bool start_reading(struct runner *r, unsigned *left)
{
    struct reading *j = mem_alloc(sizeof(*j));

    if (j == NULL)
        return false;
    j->work = (struct work){.run = run_reading, .done = done_reading};
    j->runner = r;
    j->uses_index = !r->load.is_loaded;
    j->indexed = 0;
    j->index = (struct spool_index){0};
    j->count = 0;
    j->slot = free_slot(r);
    uint64_t first = next_arrival(r);
    pool_init(&j->pool, 4096, 4);
    arena_init(&j->arena, &j->pool, SIZE_MAX);
    while (j->count < BATCH && next_place(r, left, &j->items[j->count].place))
        j->items[j->count++].is_bad = false;
    if (j->count != 0 && work_run(r->host.loop, &j->work) == 0) {
        r->load.oldest_read[j->slot] = first;
        r->load.readers++;
        r->job_count++;
        return true;
    }
    free_reading(j); /* what it would have read comes with the next scan */
    return false;
}

static void look_on(void *owner)
{
    runner_load_pump(owner);
}

void runner_load_pump(struct runner *r)
{
    unsigned left = LOOK_MAX;

    while (!r->is_stopping && r->load.readers < RUNNER_READERS_MAX && start_reading(r, &left))
        ;
    if (left == 0 && !r->is_stopping)
        loop_post(r->host.loop, &r->load.look, look_on, r);
    if (!r->load.is_listing && r->load.readers == 0 && r->load.found.count == 0)
        r->load.is_loaded = true;
}

/* ---- listing ---- */

/* What a listing found that is no message, or could not be read. */
struct stray {
    char *path; /* ours */
    int error;
};

struct listing {
    struct work work;
    struct runner *runner;
    struct runner_places places;
    struct runner_directories directories; /* of them */
    struct stray strays[RUNNER_STRAYS_MAX];
    size_t stray_count;
    uint64_t began_us;
    int error;
    struct id mark_id;
    int mark_fd; /* -1: it need not be made, or could not be */
    bool marks, was_left;
};

static bool keep_stray(struct listing *j, const struct store_found *found)
{
    size_t len = strlen(found->stray) + 1;
    char *path = j->stray_count == RUNNER_STRAYS_MAX ? NULL : mem_alloc(len);

    if (path == NULL)
        return true; /* the next listing tells */
    memcpy(path, found->stray, len);
    j->strays[j->stray_count++] = (struct stray){.path = path, .error = found->error};
    return true;
}

static bool on_found(void *owner, const struct store_found *found)
{
    struct listing *j = owner;

    if (found->stray != NULL)
        return keep_stray(j, found);
    if (found->place.folder == STORE_BAD || push(&j->places, &found->place))
        return true;
    j->error = ERR_MEMORY;
    return false;
}

static void run_listing(struct work *w)
{
    struct listing *j = CONTAINER_OF(w, struct listing, work);
    const struct store *store = j->runner->host.store;
    int error;

    if (j->marks)
        j->mark_fd = store_mark(store, &j->mark_id, &j->was_left);
    error = store_list(store, on_found, j);
    if (error != 0)
        j->error = error;
    j->directories = runner_directories_of(&j->places);
}

static void log_not_listed(struct runner *r, int error)
{
    struct log_line line =
        log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_ERROR, "queue-not-read");

    log_put_text(&line, "directory", store_directory(r->host.store));
    log_put_error(&line, "error", error);
    log_end(&line);
}

static void log_stray(struct runner *r, const struct stray *stray)
{
    struct log_line line = log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_ERROR,
                                     stray->error == 0 ? "queue-stray" : "queue-not-read");

    log_put_text(&line, "path", stray->path);
    if (stray->error != 0)
        log_put_error(&line, "error", stray->error);
    log_end(&line);
}

static void tell_strays(struct runner *r, struct listing *j)
{
    runner_next_strays(r);
    for (size_t i = 0; i < j->stray_count; i++) {
        if (runner_see_stray(r, bytes_of(j->strays[i].path), j->strays[i].error))
            log_stray(r, &j->strays[i]);
        mem_free(j->strays[i].path);
    }
}

/* What a target took and we did not write down is delivered again. */
static void log_unclean(struct runner *r)
{
    struct log_line line = log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_WARNING, "unclean");

    log_put_text(&line, "directory", store_directory(r->host.store));
    log_put_text(&line, "duplicates", "possible");
    log_end(&line);
}

static void keep_mark(struct runner *r, const struct listing *j)
{
    if (j->was_left)
        log_unclean(r);
    if (j->mark_fd < 0)
        return;
    r->mark.id = j->mark_id;
    r->mark.fd = j->mark_fd;
}

static void done_listing(struct work *w)
{
    struct listing *j = CONTAINER_OF(w, struct listing, work);
    struct runner *r = j->runner;
    uint64_t took_ms = (loop_precise_us(r->host.loop) - j->began_us) / 1000;
    uint64_t least_ms = r->load.wants_rescan ? RELOOK_MS : RESCAN_MS;
    uint64_t pause_ms = took_ms * RESCAN_FACTOR;

    assert(r->load.is_listing);
    r->load.is_listing = false;
    r->load.wants_rescan = false;
    keep_mark(r, j);
    if (j->error != 0)
        log_not_listed(r, j->error);
    tell_strays(r, j);
    runner_index_start(r, j->directories);
    clear(&r->load.found); /* what was listed before, and is there still, was listed again */
    r->load.found = j->places;
    mem_free(j);
    if (!r->is_stopping)
        deadline_set(r->host.loop, &r->load.rescan,
                     loop_now_ms(r->host.loop) + (pause_ms < least_ms ? least_ms : pause_ms));
    runner_load_pump(r);
    runner_job_done(r);
}

static void start_listing(struct runner *r)
{
    struct listing *j = mem_alloc(sizeof(*j));

    assert(!r->load.is_listing);
    if (j != NULL) {
        j->work = (struct work){.run = run_listing, .done = done_listing};
        j->runner = r;
        j->places = (struct runner_places){0};
        j->stray_count = 0;
        j->error = 0;
        j->was_left = false;
        j->began_us = loop_precise_us(r->host.loop);
        j->marks = r->mark.fd < 0 && !r->host.is_cold;
        j->mark_fd = -1;
        if (j->marks)
            j->mark_id = r->host.next_id(r->host.owner);
        if (work_run(r->host.loop, &j->work) == 0) {
            r->load.is_listing = true;
            r->job_count++;
            return;
        }
    }
    mem_free(j);
    deadline_set(r->host.loop, &r->load.rescan, loop_now_ms(r->host.loop) + RESCAN_MS);
}

static void on_rescan(struct deadline *d)
{
    start_listing(CONTAINER_OF(d, struct runner, load.rescan));
}

static const struct deadline_use rescan_use = {.reached = on_rescan};

void runner_look_again(struct runner *r)
{
    if (r->load.is_listing)
        r->load.wants_rescan = true;
    else if (!r->is_stopping)
        deadline_set(r->host.loop, &r->load.rescan, loop_now_ms(r->host.loop) + RELOOK_MS);
}

/* ---- life ---- */

void runner_load_start(struct runner *r)
{
    for (size_t i = 0; i < RUNNER_READERS_MAX; i++)
        r->load.oldest_read[i] = UINT64_MAX;
    deadline_init(&r->load.rescan, &rescan_use);
    start_listing(r);
}

void runner_arrived(struct runner *r, const struct store_place *place)
{
    if (!push(&r->load.arrived, place))
        return;
    r->load.arrivals++;
    runner_load_pump(r);
}

void runner_heard(struct runner *r, const struct store_place *place, uint64_t body_bytes,
                  struct bytes records)
{
    struct spool_head head = {.id = place->id, .body_bytes = body_bytes};
    struct spool_message message;
    struct arena arena;

    arena_init(&arena, &loop_pools(r->host.loop)->medium, SIZE_MAX);
    if (spool_message_parse(&head, records, &arena, &message) != 0 ||
        !runner_learn(r, place, &message))
        runner_arrived(r, place);
    arena_reset(&arena);
}

uint64_t runner_arrivals(const struct runner *r)
{
    return r->load.arrivals;
}

bool runner_knows(const struct runner *r, uint64_t arrivals)
{
    uint64_t oldest = next_arrival(r);

    for (size_t i = 0; i < RUNNER_READERS_MAX; i++)
        if (r->load.oldest_read[i] < oldest)
            oldest = r->load.oldest_read[i];
    return oldest >= arrivals;
}

bool runner_is_loaded(const struct runner *r)
{
    return r->load.is_loaded;
}

void runner_load_done(struct runner *r)
{
    clear(&r->load.arrived);
    clear(&r->load.found);
}
