/* SPDX-License-Identifier: BSD-2-Clause */
/* What was learnt of targets, and the file in which it outlives the process. */
#include "route/relay/relay_memory.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/io/deadline.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"
#include "route/relay/relay_announced.h"

#define FILE_MAX_BYTES  (1 << 30)
#define PAUSE_MS        1000         /* between two writings of the file, */
#define BYTES_A_PAUSE   (256 * 1024) /* and as much longer as it is larger than this */
#define FAILED_PAUSE_MS 60000
#define RECENT_S        300

struct relay_memory {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct relay_facts facts;
    const struct relay_memory_events *events;
    void *owner;
    char *directory, *path, *fresh_path; /* the job's too */
    struct work work;
    struct deadline deadline; /* to write what is_dirty */
    struct deadline tell_deadline;
    uint8_t *image; /* what the job writes */
    size_t image_len;
    uint64_t next_ms; /* not before then */
    int error;        /* of the job */
    bool writes, is_closing;
    bool is_writing, is_dirty;
    bool is_urgent; /* when the job has ended, at once again */
};

static int64_t now_s(const struct relay_memory *m)
{
    return loop_wall_ms(m->loop) / 1000;
}

/* ---- the file ---- */

/* The path of the directory and a name in it, as a C string of its own. */
static char *join(struct bytes directory, const char *name)
{
    size_t len = strlen(name);
    char *path = mem_zalloc(directory.len + 1 + len + 1);

    if (path == NULL)
        return NULL;
    memcpy(path, directory.at, directory.len);
    if (len != 0) {
        path[directory.len] = '/';
        memcpy(path + directory.len + 1, name, len);
    }
    return path;
}

static int write_image(const struct relay_memory *m)
{
    int fd, error;

    disk_unlink(m->fresh_path); /* left over by a crash, perhaps */
    fd = disk_create(m->fresh_path);
    if (fd < 0)
        return fd;
    error = disk_write_at(fd, 0, bytes_make(m->image, m->image_len));
    if (error == 0)
        error = disk_sync(fd);
    if (disk_close(fd) != 0 && error == 0)
        error = -EIO;
    if (error == 0)
        error = disk_replace(m->fresh_path, m->path);
    return error == 0 ? disk_sync_directory(m->directory) : error;
}

static void run(struct work *work)
{
    struct relay_memory *m = CONTAINER_OF(work, struct relay_memory, work);
    m->error = write_image(m);
}

static void log_failure(struct relay_memory *m, int error)
{
    struct log_line line = log_begin(m->log, m->log_sinks, LOG_LEVEL_ERROR, "targets-not-written");

    log_put_text(&line, "path", m->path);
    log_put_error(&line, "error", error);
    log_end(&line);
}

static void write_now(struct relay_memory *m);

static void write_later(struct relay_memory *m)
{
    if (m->is_writing || m->is_closing)
        return; /* when that has ended */
    if (loop_now_ms(m->loop) >= m->next_ms)
        write_now(m);
    else
        deadline_set(m->loop, &m->deadline, m->next_ms);
}

static void ended(struct relay_memory *m, int error)
{
    uint64_t pause_ms = PAUSE_MS * (1 + m->image_len / BYTES_A_PAUSE);

    assert(m->is_writing);
    mem_free(m->image);
    m->image = NULL;
    m->is_writing = false;
    if (error != 0) {
        log_failure(m, error);
        m->is_dirty = true;
        pause_ms = FAILED_PAUSE_MS;
    }
    m->next_ms = loop_now_ms(m->loop) + pause_ms;
}

static void done(struct work *work)
{
    struct relay_memory *m = CONTAINER_OF(work, struct relay_memory, work);
    bool was_urgent = m->is_urgent;

    ended(m, m->error);
    m->is_urgent = false;
    if (m->is_dirty && (was_urgent || (m->is_closing && m->error == 0)))
        write_now(m);
    else if (m->is_dirty)
        write_later(m);
}

/* Deadlines are set by write_later() alone: what fails here is not tried without a pause. */
static void write_now(struct relay_memory *m)
{
    int error;

    if (m->is_writing) {
        m->is_urgent = true;
        return;
    }
    deadline_clear(m->loop, &m->deadline);
    m->is_writing = true;
    m->is_dirty = false;
    error = relay_facts_image(&m->facts, now_s(m), &m->image, &m->image_len);
    if (error == 0)
        error = work_run(m->loop, &m->work);
    if (error == 0)
        return;
    ended(m, error);
    write_later(m);
}

static void on_deadline(struct deadline *deadline)
{
    write_now(CONTAINER_OF(deadline, struct relay_memory, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

static int take_lines(struct relay_memory *m, struct bytes text)
{
    while (text.len != 0) {
        struct bytes line = bytes_first(text, bytes_find(text, '\n'));

        text = bytes_skip(text, line.len == text.len ? line.len : line.len + 1);
        if (relay_facts_learn(&m->facts, line, now_s(m)) == RELAY_FACTS_NO_MEMORY)
            return ERR_MEMORY;
    }
    return 0;
}

static int read_file(struct relay_memory *m)
{
    uint8_t *octets;
    size_t len;
    int error = disk_read_file(m->path, FILE_MAX_BYTES, &octets, &len);

    if (error == -ENOENT)
        return 0;
    if (error != 0)
        return error;
    error = take_lines(m, bytes_make(octets, len));
    mem_free(octets);
    return error;
}

/* ---- learning ---- */

static void tell_later(struct relay_memory *m)
{
    deadline_set(m->loop, &m->tell_deadline, loop_now_ms(m->loop) + PAUSE_MS);
}

static void on_tell_deadline(struct deadline *deadline)
{
    struct relay_memory *m = CONTAINER_OF(deadline, struct relay_memory, tell_deadline);

    if (m->events != NULL && !relay_facts_tell(&m->facts, m->events->learnt, m->owner))
        tell_later(m);
}

static const struct deadline_use tell_use = {.reached = on_tell_deadline};

static void hold(struct relay_memory *m, struct bytes line)
{
    relay_facts_hold(&m->facts, line);
    if (!m->is_closing)
        tell_later(m);
}

static enum relay_facts_result learn(struct relay_memory *m, struct bytes line, bool is_ours)
{
    enum relay_facts_result result = relay_facts_learn(&m->facts, line, now_s(m));

    if (result == RELAY_FACTS_NOTHING || result == RELAY_FACTS_NO_MEMORY)
        return result; /* without memory it is as if it had not been said */
    if (is_ours && m->events != NULL && !m->events->learnt(m->owner, line))
        hold(m, line);
    if (!m->writes)
        return result;
    m->is_dirty = true;
    if (result == RELAY_FACTS_XCLIENT)
        write_now(m);
    else
        write_later(m);
    return result;
}

static void learn_ours(struct relay_memory *m, enum relay_fact_kind kind, struct bytes target,
                       const struct address *rcpt, const struct reply *reply)
{
    struct buf line;

    buf_init(&line, &loop_pools(m->loop)->small, RELAY_FACTS_LINE_MAX);
    relay_facts_put(&m->facts, &line, kind, now_s(m), target, rcpt, reply);
    if (!line.has_failed)
        learn(m, buf_bytes(&line), true);
    buf_done(&line);
}

void relay_memory_tell(struct relay_memory *m, const struct relay_memory_events *events,
                       void *owner)
{
    m->events = events;
    m->owner = owner;
}

bool relay_memory_hear(struct relay_memory *m, struct bytes line)
{
    return learn(m, line, false) == RELAY_FACTS_ANNOUNCED;
}

void relay_memory_tell_recent(struct relay_memory *m, bool (*tell)(void *owner, struct bytes line),
                              void *owner)
{
    relay_facts_tell_recent(&m->facts, now_s(m) - RECENT_S, tell, owner);
}

const struct relay_facts_target *relay_memory_limit(struct relay_memory *m, struct bytes target,
                                                    const struct relay_remember *how)
{
    return relay_facts_limit(&m->facts, target, how);
}

void relay_memory_note_xclient(struct relay_memory *m, struct bytes target)
{
    learn_ours(m, RELAY_FACT_XCLIENT, target, NULL, NULL);
}

bool relay_memory_note_announced(struct relay_memory *m, struct bytes target,
                                 const struct capability *caps)
{
    bool is_news = false;
    struct buf line;

    buf_init(&line, &loop_pools(m->loop)->small, RELAY_FACTS_LINE_MAX);
    relay_announced_put(&line, now_s(m), target, caps);
    if (!line.has_failed)
        is_news = learn(m, buf_bytes(&line), true) == RELAY_FACTS_ANNOUNCED;
    buf_done(&line);
    return is_news;
}

bool relay_memory_announced(const struct relay_memory *m, struct bytes target,
                            struct capability *caps_out)
{
    return relay_facts_announced(&m->facts, target, caps_out);
}

/* ---- recipients ---- */

/* It says of the recipient that there is none: not of the client, the sender or the message. */
static bool is_refusal_of_recipient(const struct reply *reply)
{
    static const uint8_t details[][3] = {{5, 1, 1}, {5, 1, 2}, {5, 1, 6}, {5, 1, 10}, {5, 2, 1}};

    for (size_t i = 0; i < ARRAY_LENGTH(details) && reply->code / 10 == 55; i++)
        if (memcmp(reply->enhanced, details[i], sizeof details[i]) == 0)
            return true;
    return false;
}

void relay_memory_note(struct relay_memory *m, struct bytes target, const struct address *rcpt,
                       bool names_domain, const struct reply *reply)
{
    enum relay_fact_kind kind = names_domain ? RELAY_FACT_ACCEPTED : RELAY_FACT_OPEN;

    if (is_refusal_of_recipient(reply))
        kind = RELAY_FACT_REFUSED;
    else if (!reply_is_positive(reply))
        return;
    if (relay_facts_would_learn(&m->facts, kind, now_s(m), target, rcpt))
        learn_ours(m, kind, target, rcpt, reply);
}

/* The words as they were heard; false: they are none that could have been kept. */
static bool recall_words(const struct relay_memory *m, struct bytes xtext, struct arena *mail,
                         struct reply *reply_out)
{
    struct reply_parser parser;
    struct bytes wire;
    struct reply reply;
    bool is_found;

    if (text_from_xtext(xtext, mail, &wire) != 0)
        return false;
    reply_parser_init(&parser, &loop_pools(m->loop)->small);
    is_found = reply_parser_take(&parser, &wire, &reply) == 0 && is_refusal_of_recipient(&reply) &&
               reply_copy(mail, &reply, reply_out) == 0;
    reply_parser_done(&parser);
    return is_found;
}

enum relay_recall relay_memory_recall(const struct relay_memory *m, struct bytes target,
                                      const struct address *rcpt, struct arena *mail,
                                      struct reply *reply_out)
{
    enum relay_fact_kind kind;
    struct bytes xtext;

    if (!relay_facts_find(&m->facts, target, rcpt, now_s(m), &kind, &xtext))
        return RELAY_RECALL_NOTHING;
    if (kind == RELAY_FACT_ACCEPTED)
        return RELAY_RECALL_ACCEPTED;
    if (kind == RELAY_FACT_REFUSED && recall_words(m, xtext, mail, reply_out))
        return RELAY_RECALL_REFUSED;
    return RELAY_RECALL_NOTHING;
}

/* ---- life ---- */

struct relay_memory *relay_memory_new(struct loop *l, struct log *log, uint32_t log_sinks,
                                      struct bytes directory, bool writes, int *error_out)
{
    struct relay_memory *m = mem_zalloc(sizeof(*m));
    int error = ERR_MEMORY;

    if (m != NULL) {
        m->loop = l;
        m->log = log;
        m->log_sinks = log_sinks;
        m->writes = writes;
        m->work = (struct work){.run = run, .done = done};
        deadline_init(&m->deadline, &deadline_use);
        deadline_init(&m->tell_deadline, &tell_use);
        relay_facts_init(&m->facts, loop_hash_key(l), &loop_pools(l)->small);
        m->directory = join(directory, "");
        m->path = join(directory, "targets");
        m->fresh_path = join(directory, "targets.new");
        if (m->directory != NULL && m->path != NULL && m->fresh_path != NULL)
            error = read_file(m);
    }
    if (error != 0) {
        relay_memory_free(&m);
        *error_out = error;
    }
    return m;
}

void relay_memory_close(struct relay_memory *m)
{
    m->is_closing = true;
    deadline_clear(m->loop, &m->deadline);
    deadline_clear(m->loop, &m->tell_deadline);
    if (m->is_dirty)
        write_now(m);
}

void relay_memory_free(struct relay_memory **memory)
{
    struct relay_memory *m = *memory;

    if (m == NULL)
        return;
    deadline_clear(m->loop, &m->deadline);
    deadline_clear(m->loop, &m->tell_deadline);
    relay_facts_done(&m->facts);
    mem_free(m->directory);
    mem_free(m->path);
    mem_free(m->fresh_path);
    mem_free(m);
    *memory = NULL;
}

void relay_memory_count(const struct relay_memory *m, struct bytes target, uint32_t *accepted_out,
                        uint32_t *refused_out)
{
    relay_facts_count(&m->facts, target, accepted_out, refused_out);
}
