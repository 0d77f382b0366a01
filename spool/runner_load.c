/* SPDX-License-Identifier: BSD-2-Clause */
/* Which messages there are. The queue is listed at start and now and then, and messages that are
 * not known are read. */
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
#define RESCAN_FACTOR 20    /* listing takes at most one part in so many of all time */
#define LOOK_MAX      4096  /* places looked at in one turn of the loop; most may be known */

/* ---- places ---- */

static bool push(struct runner_places *places, const struct store_place *place)
{
    struct store_place *grown =
        mem_make_room(places->at, places->count, &places->capacity, sizeof(*grown));

    if (grown == NULL)
        return false;
    places->at = grown;
    places->at[places->count++] = *place;
    return true;
}

static void clear(struct runner_places *places)
{
    mem_free(places->at);
    *places = (struct runner_places){0};
}

static bool take(struct runner_places *places, struct store_place *place_out)
{
    assert(places->first <= places->count);
    if (places->first == places->count)
        return false;
    *place_out = places->at[places->first++];
    if (places->first == places->count)
        clear(places);
    return true;
}

/* The first arrival that nobody has begun to read. */
static uint64_t next_arrival(const struct runner *r)
{
    assert(r->load.arrived.count - r->load.arrived.first <= r->load.arrivals);
    return r->load.arrivals - (r->load.arrived.count - r->load.arrived.first);
}

/* Is the message not known yet? One that is known as held and lies in queue/ was released by
 * another process, and counts as new. */
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

/* The next message that is not known yet. `left`: how many places may still be looked at. */
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
    bool uses_index;  /* only while the queue is being loaded: messages that come later are in no
                       * index */
    uint32_t indexed; /* the directory that `index` is of; 0: none yet */
    struct spool_index index;
    size_t count;
    struct read_item items[BATCH];
};

/* Reads the file again, which is locked: nobody else changes it now. */
static int read_taken(const struct store *store, struct store_taken *taken, struct arena *arena,
                      struct read_item *item)
{
    const struct store_change change = {.place = &item->place, .message = &item->message};
    struct store_place bad;
    int error = store_read(taken->fd, &item->place.id, arena, &item->message);

    if (error == 0 && item->message.is_held && item->place.folder == STORE_QUEUE)
        return store_end_hold(store, &change, taken, &item->place);
    if (store_is_damaged(error)) {
        int move_error = store_move(store, &item->place, STORE_BAD, 0, &bad);
        item->is_bad = move_error == 0;
        return move_error != 0 ? move_error : error;
    }
    return error;
}

/* The message is damaged, or it is held and a crash left it in queue/. Or somebody has changed it
 * while it was read. */
static void mend(const struct store *store, struct arena *arena, struct read_item *item)
{
    struct store_taken taken = {.fd = -1};
    int error = store_take(store, &item->place, &taken.fd);
    int before = taken.fd;

    if (error == 0) {
        error = read_taken(store, &taken, arena, item);
        disk_close(before);
        if (taken.fd != before)
            disk_close(taken.fd);
    }
    item->error = error;
}

/* Reads without the lock: a message can be learnt while somebody delivers it, and from a disk that
 * cannot be written. */
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

/* A held message in queue/ is opened all the same, because it is to be moved. */
static bool is_in_index(struct reading *reading, struct read_item *item)
{
    if (!reading->uses_index || item->place.folder != STORE_QUEUE)
        return false;
    if (reading->indexed != item->place.directory) {
        spool_index_free(&reading->index);
        reading->indexed = item->place.directory;
        spool_index_read(reading->runner->host.store, reading->indexed,
                         &reading->index); /* or it is empty */
    }
    item->error = 0;
    int error = spool_index_find(&reading->index, &item->place.id, &reading->arena, &item->message);

    return error == 0 && !item->message.is_held;
}

static void run_reading(struct work *w)
{
    struct reading *reading = CONTAINER_OF(w, struct reading, work);

    for (size_t i = 0; i < reading->count; i++)
        if (!is_in_index(reading, &reading->items[i]))
            read_item(reading->runner->host.store, &reading->arena, &reading->items[i]);
}

/* A file that is left alone is met again by each listing, and logged once. */
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

static void finish_item(struct runner *r, struct read_item *item)
{
    if (item->error == 0)
        runner_learn(r, &item->place, &item->message);
    else if (item->error == -ENOENT || item->error == -EAGAIN)
        return; /* gone, or taken by another process: the next listing will tell */
    else
        log_unreadable(r, item);
    if (item->error == ERR_RANGE) /* of a later version: known, and left alone */
        runner_ignore(r, &item->place);
}

static void free_reading(struct reading *reading)
{
    arena_reset(&reading->arena);
    pool_done(&reading->pool);
    spool_index_free(&reading->index);
    mem_free(reading);
}

static void done_reading(struct work *w)
{
    struct reading *reading = CONTAINER_OF(w, struct reading, work);
    struct runner *r = reading->runner;

    for (size_t i = 0; i < reading->count; i++)
        finish_item(r, &reading->items[i]);
    assert(r->load.readers != 0);
    r->load.oldest_read[reading->slot] = UINT64_MAX;
    r->load.readers--;
    free_reading(reading);
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
    struct reading *reading = mem_alloc(sizeof(*reading));

    if (reading == NULL)
        return false;
    reading->work = (struct work){.run = run_reading, .done = done_reading};
    reading->runner = r;
    reading->uses_index = !r->load.is_loaded;
    reading->indexed = 0;
    reading->index = (struct spool_index){0};
    reading->count = 0;
    reading->slot = free_slot(r);
    uint64_t first = next_arrival(r);
    pool_init(&reading->pool, 4096, 4);
    arena_init(&reading->arena, &reading->pool, SIZE_MAX);
    while (reading->count < BATCH && next_place(r, left, &reading->items[reading->count].place))
        reading->items[reading->count++].is_bad = false;
    if (reading->count != 0 && work_run(r->host.loop, &reading->work) == 0) {
        r->load.oldest_read[reading->slot] = first;
        r->load.readers++;
        r->job_count++;
        return true;
    }
    free_reading(reading); /* the next listing finds again what it would have read */
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

/* What a listing found that is no message or cannot be read. */
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
    int mark_fd; /* -1: none was needed, or none could be made */
    bool marks, was_left;
};

static bool keep_stray(struct listing *listing, const struct store_found *found)
{
    size_t len = strlen(found->stray) + 1;
    char *path = listing->stray_count == RUNNER_STRAYS_MAX ? NULL : mem_alloc(len);

    if (path == NULL)
        return true; /* the next listing finds it again */
    memcpy(path, found->stray, len);
    listing->strays[listing->stray_count++] = (struct stray){.path = path, .error = found->error};
    return true;
}

static bool on_found(void *owner, const struct store_found *found)
{
    struct listing *listing = owner;

    if (found->stray != NULL)
        return keep_stray(listing, found);
    if (found->place.folder == STORE_BAD || push(&listing->places, &found->place))
        return true;
    listing->error = ERR_MEMORY;
    return false;
}

static void run_listing(struct work *w)
{
    struct listing *listing = CONTAINER_OF(w, struct listing, work);
    const struct store *store = listing->runner->host.store;
    int error;

    if (listing->marks)
        listing->mark_fd = store_mark(store, &listing->mark_id, &listing->was_left);
    error = store_list(store, on_found, listing);
    if (error != 0)
        listing->error = error;
    listing->directories = runner_directories_of(&listing->places);
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

static void tell_strays(struct runner *r, struct listing *listing)
{
    runner_next_strays(r);
    for (size_t i = 0; i < listing->stray_count; i++) {
        if (runner_see_stray(r, bytes_of(listing->strays[i].path), listing->strays[i].error))
            log_stray(r, &listing->strays[i]);
        mem_free(listing->strays[i].path);
    }
}

/* Messages that targets took before a crash may be delivered again. */
static void log_unclean(struct runner *r)
{
    struct log_line line = log_begin(r->host.log, r->host.log_sinks, LOG_LEVEL_WARNING, "unclean");

    log_put_text(&line, "directory", store_directory(r->host.store));
    log_put_text(&line, "duplicates", "possible");
    log_end(&line);
}

static void keep_mark(struct runner *r, const struct listing *listing)
{
    if (listing->was_left)
        log_unclean(r);
    if (listing->mark_fd < 0)
        return;
    r->mark.id = listing->mark_id;
    r->mark.fd = listing->mark_fd;
}

static void done_listing(struct work *w)
{
    struct listing *listing = CONTAINER_OF(w, struct listing, work);
    struct runner *r = listing->runner;
    uint64_t took_ms = (loop_precise_us(r->host.loop) - listing->began_us) / 1000;
    uint64_t least_ms = r->load.wants_rescan ? RELOOK_MS : RESCAN_MS;
    uint64_t pause_ms = took_ms * RESCAN_FACTOR;

    assert(r->load.is_listing);
    r->load.is_listing = false;
    r->load.wants_rescan = false;
    keep_mark(r, listing);
    if (listing->error != 0)
        log_not_listed(r, listing->error);
    tell_strays(r, listing);
    runner_index_start(r, listing->directories);
    clear(&r->load.found); /* what is still there was listed again */
    r->load.found = listing->places;
    mem_free(listing);
    if (!r->is_stopping)
        deadline_set(r->host.loop, &r->load.rescan,
                     loop_now_ms(r->host.loop) + (pause_ms < least_ms ? least_ms : pause_ms));
    runner_load_pump(r);
    runner_job_done(r);
}

static void start_listing(struct runner *r)
{
    struct listing *listing = mem_alloc(sizeof(*listing));

    assert(!r->load.is_listing);
    if (listing != NULL) {
        listing->work = (struct work){.run = run_listing, .done = done_listing};
        listing->runner = r;
        listing->places = (struct runner_places){0};
        listing->stray_count = 0;
        listing->error = 0;
        listing->was_left = false;
        listing->began_us = loop_precise_us(r->host.loop);
        listing->marks = r->mark.fd < 0 && !r->host.is_cold;
        listing->mark_fd = -1;
        if (listing->marks)
            listing->mark_id = r->host.next_id(r->host.owner);
        if (work_run(r->host.loop, &listing->work) == 0) {
            r->load.is_listing = true;
            r->job_count++;
            return;
        }
    }
    mem_free(listing);
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
