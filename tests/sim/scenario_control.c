/* SPDX-License-Identifier: BSD-2-Clause */
/* The operator of a scenario: what posternctl asks over the control socket, at any moment. */
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define CONTROL_PATH STAGE_SPOOL "/control"
#define RELEASES_MAX 20 /* of one message, when all is well */

enum act { FLUSH, HOLD, RELEASE, SHOW, REROUTE, BOUNCE, DELETE, ACTS, OTHER };

static const char *const verbs[ACTS] = {"flush",   "hold",   "release", "show",
                                        "reroute", "bounce", "delete"};

struct request {
    struct list link;
    struct scenario *scenario;
    struct sim_peer *peer;
    enum act act;
    struct spool_file *file; /* NULL: it is about none alone */
    bool is_settled;
    bool is_crossed; /* HOLD: a release was asked for before it was answered */
};

/* ---- what it means ---- */

/* From when it is asked on: it may be done before it is answered. */
static void may_happen(const struct request *q)
{
    struct message *m = q->file == NULL ? NULL : q->file->message;

    if (q->file != NULL && q->act == HOLD)
        q->file->holds++;
    if (q->file != NULL && q->act == RELEASE) {
        LIST_EACH (link, &q->scenario->requests) {
            struct request *other = LIST_ENTRY(link, struct request, link);
            other->is_crossed = other->is_crossed || other->file == q->file;
        }
        q->file->releases++;
        if (m != NULL)
            m->was_released = true;
        q->file->is_on_hold = false;
    }
    if (m != NULL && q->act == FLUSH)
        m->was_flushed = true;
    if (m != NULL && q->act == BOUNCE)
        m->bounces++;
}

/* `was_done`: or it may have been. */
static void has_happened(const struct request *q, bool was_done)
{
    struct message *m = q->file->message;

    if (q->act == HOLD) {
        q->file->holds--;
        q->file->is_held = q->file->is_held || was_done;
    }
    if (m == NULL)
        return;
    if (q->act == BOUNCE && !was_done)
        m->bounces--;
    if (q->act == DELETE && q->file->is_report)
        m->was_report_deleted = m->was_report_deleted || was_done;
    else if (q->act == DELETE)
        m->was_deleted = m->was_deleted || was_done;
}

/* `code`: its answer, or OPERATOR_UNANSWERED. What has failed in the middle may have been done. */
static void settle(struct request *q, int code)
{
    bool was_refused =
        code == EX_TEMPFAIL || code == EX_NOINPUT || code == EX_USAGE || code == EX_UNAVAILABLE;

    if (q->is_settled)
        return;
    q->is_settled = true;
    if (q->file == NULL)
        return;
    if (q->act == RELEASE) {
        q->file->releases--;
        q->file->is_held = q->file->is_held && code != 0;
    }
    if (q->act == HOLD && code == 0)
        q->file->is_on_hold = q->file->releases == 0 && !q->is_crossed;
    has_happened(q, !was_refused);
}

/* ---- asking ---- */

static void on_news(void *owner)
{
    struct request *q = owner;
    struct bytes heard = sim_received(q->peer);

    while (heard.len > 0 && sim_peer_state(q->peer) == SIM_PEER_OPEN) {
        size_t len = bytes_find(heard, '\n') + 1;
        if (len > heard.len)
            break;
        scenario_heard(q->scenario, "P<", 0, bytes_first(heard, len));
        secret_check(q->scenario, "the operator", bytes_first(heard, len));
        if (heard.at[0] == '.') {
            settle(q, atoi((const char *)heard.at + 1));
            sim_close(q->peer);
        }
        sim_take(q->peer, len);
        heard = sim_received(q->peer);
    }
    if (sim_has_eof(q->peer) || sim_was_reset(q->peer))
        settle(q, OPERATOR_UNANSWERED);
}

static void on_cold_end(void *owner, int code)
{
    settle(owner, code);
}

/* Where no server answers, posternctl does it. */
static void ask(struct scenario *s, enum act act, struct spool_file *file, const char *text)
{
    struct sim_peer *p = sim_connect_path(s->world, CONTROL_PATH);
    struct request *q;

    if (p == NULL && !life_may_be_cold(s))
        return;
    q = sim_alloc(sizeof(*q));
    *q = (struct request){.scenario = s, .peer = p, .act = act, .file = file};
    list_append(&s->requests, &q->link);
    scenario_heard(s, "P>", p == NULL, bytes_of(text));
    scenario_count(s, COUNT_REQUESTS);
    may_happen(q);
    if (p == NULL) {
        life_start_cold(s, text, on_cold_end, q);
        return;
    }
    if (act != OTHER)
        life_endanger(s);
    sim_on_news(p, on_news, q);
    sim_send(p, bytes_of("text "));
    sim_send(p, bytes_of(text));
}

void operator_free(struct scenario *s)
{
    LIST_EACH (link, &s->requests)
        free(LIST_ENTRY(link, struct request, link));
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* One of the messages in that folder. NULL: there is none. */
static struct spool_file *pick(struct scenario *s, const char *folder)
{
    unsigned count = 0;
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(s->world, folder, i)) != NULL; i++)
        count += strlen(name_of(path)) == ID_LENGTH;
    if (count == 0)
        return NULL;
    count = (unsigned)scenario_below(s, count);
    for (unsigned i = 0;; i++) {
        path = sim_file_below(s->world, folder, i);
        if (strlen(name_of(path)) == ID_LENGTH && count-- == 0)
            return spool_file_of(s, bytes_of(name_of(path)));
    }
}

/* ---- to another target ---- */

static int choose_target(struct scenario *s)
{
    uint64_t one = scenario_below(s, 3);

    if (s->plan.has_boxes && (s->plan.likes_boxes || one == 0))
        return SCENARIO_BOX;
    return one == 1 && s->targets.count > 1 ? 1 : 0;
}

static const char *name_of_target(int target)
{
    return target == SCENARIO_BOX ? "box" : target == 1 ? "b" : "a";
}

static void lead(struct scenario *s, struct message *m, int target)
{
    for (unsigned i = 0; i < m->recipient_count; i++) {
        struct story *r = &m->recipients[i];
        if ((r->ways & 1u << target) == 0)
            scenario_count(s, COUNT_REROUTED);
        r->ways |= 1u << target;
        r->was_rerouted = true;
    }
}

/* Where the tables lead, or to one that is named. A report stays with relays. */
static void reroute(struct scenario *s, struct spool_file *f)
{
    int target = choose_target(s);
    char text[80];

    if (f->is_report || scenario_chance(s, 30)) {
        snprintf(text, sizeof(text), "reroute %s\n", f->id);
    } else {
        lead(s, f->message, target);
        snprintf(text, sizeof(text), "reroute %s to %s\n", f->id, name_of_target(target));
    }
    ask(s, REROUTE, f, text);
    if (scenario_chance(s, 50)) {
        snprintf(text, sizeof(text), "flush %s\n", f->id);
        ask(s, FLUSH, f, text);
    }
}

/* All that waits for one target. */
static void reroute_all(struct scenario *s)
{
    int from = choose_target(s), to = choose_target(s);
    char text[80];

    if (to == SCENARIO_BOX) /* reports are led there too */
        to = 0;
    LIST_EACH (link, &s->messages)
        if (from != to)
            lead(s, LIST_ENTRY(link, struct message, link), to);
    snprintf(text, sizeof(text), "reroute #%s to %s\n", name_of_target(from), name_of_target(to));
    ask(s, OTHER, NULL, text);
}

/* ---- at any moment ---- */

static enum act choose_act(struct scenario *s)
{
    if (s->plan.likes_boxes && scenario_chance(s, 60))
        return REROUTE;
    if (scenario_chance(s, 30))
        return scenario_chance(s, 50) ? HOLD : RELEASE;
    return (enum act)scenario_below(s, ACTS);
}

static void act_on(struct scenario *s, struct spool_file *f)
{
    enum act act = choose_act(s);
    char text[64];

    if (act == REROUTE && f->message != NULL) {
        reroute(s, f);
        return;
    }
    snprintf(text, sizeof(text), "%s %s\n", verbs[act], f->id);
    ask(s, act, f, text);
}

void operator_interferes(struct scenario *s)
{
    struct spool_file *f =
        pick(s, scenario_chance(s, 80) ? STAGE_SPOOL "/queue" : STAGE_SPOOL "/hold");

    if (f != NULL && scenario_chance(s, 60))
        act_on(s, f);
    else if (scenario_chance(s, 10))
        reroute_all(s);
    else if (scenario_chance(s, 30))
        ask(s, OTHER, NULL, "fsck\n");
    else
        ask(s, OTHER, NULL, scenario_chance(s, 50) ? "flush --all\n" : "flush @a.test\n");
}

/* What was to be held may still lie in queue/: death came before the move. */
void operator_releases(struct scenario *s)
{
    struct spool_file *f = pick(s, STAGE_SPOOL "/hold");
    char text[64];

    if (f == NULL && s->plan.has_operator && scenario_chance(s, 2))
        f = pick(s, STAGE_SPOOL "/queue");
    if (f == NULL || f->release_count++ >= RELEASES_MAX) /* nobody can be told of it */
        return;
    snprintf(text, sizeof(text), "release %s\n", f->id);
    ask(s, RELEASE, f, text);
}
