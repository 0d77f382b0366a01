/* SPDX-License-Identifier: BSD-2-Clause */
/* Plays of a queue at work. */
#include "tests/unit/queue_world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "proxy/smtp/address.h"

#define CONTROL STAGE_SPOOL "/control"

/* ---- the spool ---- */

void queue_world_begin(struct queue_world *w, uint64_t seed, const char *config)
{
    *w = (struct queue_world){.sim = sim_new(seed)};
    w->config = stage_config(config);
    assert_non_null(w->config);
    disk_make_directories(STAGE_SPOOL);
}

void queue_world_end(struct queue_world *w)
{
    config_free(&w->config);
    sim_free(&w->sim);
}

static struct address address_of(const char *text)
{
    struct bytes all = bytes_of(text);
    size_t at = bytes_find(all, '@');

    return (struct address){.local = bytes_first(all, at),
                            .domain =
                                at == all.len ? bytes_make(NULL, 0) : bytes_skip(all, at + 1)};
}

static void put_records(const struct queue_message *m, const struct id *id, struct buf *records)
{
    int64_t now_ms = sim_wall_ms(sim_current());
    struct spool_writer writer = {.id = *id, .out = records};
    struct spool_message message = {.view = m->view == NULL ? view_whole() : *m->view,
                                    .envelope = {.id = *id, .from = address_of(m->from)},
                                    .listener =
                                        bytes_of(m->listener == NULL ? "mx.test" : m->listener),
                                    .hostname = bytes_of("mx.test"),
                                    .arrived_ms = now_ms - m->arrived_ms,
                                    .recipient_count = m->also == NULL ? 1 : 2};
    struct spool_recipient r = {.original = address_of(m->to),
                                .to = address_of(m->to),
                                .target = bytes_of(m->target),
                                .view = m->own == NULL ? 0 : 1,
                                .fate = m->fate,
                                .reply = bytes_of(m->reply == NULL ? "" : m->reply),
                                .tries = m->tries,
                                .tried_ms = m->tried_ms == 0 ? 0 : now_ms - m->tried_ms};

    if (m->reason != NULL) {
        message.is_held = true;
        message.hold = (struct spool_hold){.by = SPOOL_HELD_BY_FILTER,
                                           .since_ms = now_ms - m->held_ms,
                                           .reason = bytes_of(m->reason)};
    }
    struct spool_view own;
    if (m->own != NULL) {
        own = *m->own;
        message.views = &own;
        message.view_count = 1;
    }
    writer.at = spool_records_at(&(struct spool_head){.body_bytes = strlen(m->body)});
    spool_put_message(&writer, &message);
    spool_put_recipient(&writer, &r);
    if (m->also != NULL)
        spool_put_recipient(&writer, &(struct spool_recipient){.original = r.original,
                                                               .to = r.to,
                                                               .target = bytes_of(m->also)});
    if (m->fate != FATE_OPEN)
        spool_put_outcome(&writer, 0, &r);
}

static int put_message(void *owner)
{
    const struct queue_message *m = owner;
    struct loop *loop = loop_new();
    int error = 0;
    struct store *store = store_open(loop, bytes_of(STAGE_SPOOL), NULL, &error);
    struct bytes body = bytes_of(m->body);
    struct copy_image image = {.fd = -1,
                               .length = body.len,
                               .pieces = &body,
                               .piece_count = 1,
                               .drafts = store_drafts(store)};
    struct id id;
    struct pool pool;
    struct buf records;

    memcpy(id.text, m->id, ID_LENGTH + 1);
    struct store_place place = store_next_place(store, &id);
    if (m->reason != NULL && !m->is_misplaced)
        place = (struct store_place){.id = id, .folder = STORE_HOLD};
    pool_init(&pool, 4096, 1);
    buf_init(&records, &pool, 1 << 20);
    put_records(m, &id, &records);
    error = store_commit(store, &image, &place, buf_bytes(&records));
    buf_done(&records);
    pool_done(&pool);
    draft_close(image.drafts, image.fd);
    store_close(store);
    store_free(&store);
    loop_free(&loop);
    return error;
}

void queue_world_put(struct queue_world *w, const struct queue_message *m)
{
    struct queue_message copy = *m;
    int code;

    assert_true(sim_process(w->sim, put_message, &copy, &code));
    assert_int_equal(code, 0);
}

static int touch(void *owner)
{
    return disk_close(disk_create(owner));
}

void queue_world_touch(struct queue_world *w, const char *path)
{
    char copy[256];
    int code;

    snprintf(copy, sizeof(copy), "%s", path);
    assert_true(sim_process(w->sim, touch, copy, &code));
    assert_int_equal(code, 0);
}

/* ---- plays ---- */

struct play {
    struct queue_world *w;
    const char *const *next; /* step */
    struct sim_peer *asked;
    bool has_begun; /* the control socket is there */
};

static void ask(struct play *p, const char *command)
{
    char text[256];

    p->asked = sim_connect_path(p->w->sim, CONTROL);
    assert_non_null(p->asked);
    snprintf(text, sizeof(text), "text %s\n", command);
    sim_send(p->asked, bytes_of(text));
}

/* False: the answer is not whole. */
static bool is_answered(struct play *p)
{
    struct bytes heard = sim_received(p->asked);

    if (!sim_has_eof(p->asked) && sim_peer_state(p->asked) == SIM_PEER_OPEN)
        return false;
    lib_put(&p->w->seen, "%.*s", (int)heard.len, (const char *)heard.at);
    sim_close(p->asked);
    p->asked = NULL;
    return true;
}

static bool has_word(const char *step, const char *word, const char **rest_out)
{
    size_t len = strlen(word);

    *rest_out = step + len;
    return strncmp(step, word, len) == 0;
}

/* True: something was done. */
static void take_step(struct play *p, const char *step)
{
    struct sim *sim = p->w->sim;
    const char *rest;

    if (has_word(step, "wait ", &rest))
        sim_wait(sim, strtoull(rest, NULL, 10) * 1000);
    else if (has_word(step, "jump ", &rest))
        sim_wall_jump(sim, strtoll(rest, NULL, 10) * 1000);
    else if (has_word(step, "ask ", &rest))
        ask(p, rest);
    else if (has_word(step, "spoil ", &rest))
        assert_true(sim_disk_spoil(sim, rest, -EIO));
    else if (has_word(step, "heal ", &rest))
        assert_true(sim_disk_spoil(sim, rest, 0));
    else if (has_word(step, "go on", &rest))
        sim_disk_go_on(sim);
    else if (has_word(step, "fail ", &rest))
        sim_disk_fail(sim, SIM_DISK_SYNC, strtoull(rest, NULL, 10), -EIO);
    else
        fail_msg("no step: %s", step);
}

static bool on_quiet(void *owner)
{
    struct play *p = owner;

    if (p->asked != NULL && !is_answered(p))
        return false;
    if (*p->next == NULL)
        return false;
    const char *step = *p->next++;
    if (strcmp(step, "stop") == 0)
        sim_signal(p->w->sim, SIGTERM);
    else
        take_step(p, step);
    return true;
}

static int serve(void *owner)
{
    return stage_run(owner);
}

bool queue_world_play(struct queue_world *w, const char *const *steps)
{
    struct play play = {.w = w, .next = steps};
    int code = 0;

    w->seen.len = 0;
    w->seen.at[0] = '\0';
    sim_on_quiet(w->sim, on_quiet, &play);
    bool has_ended = sim_process(w->sim, serve, w->config, &code);
    sim_on_quiet(w->sim, NULL, NULL);
    return has_ended && code == 0 && *play.next == NULL;
}

unsigned queue_world_count_logged(struct queue_world *w, const char *text)
{
    struct bytes log = sim_log(w->sim);
    unsigned count = 0;

    for (const uint8_t *at = log.at;
         (at = memmem(at, log.len - (size_t)(at - log.at), text, strlen(text))) != NULL;
         at += strlen(text))
        count++;
    return count;
}

bool queue_world_has_logged(struct queue_world *w, const char *text)
{
    return queue_world_count_logged(w, text) != 0;
}
