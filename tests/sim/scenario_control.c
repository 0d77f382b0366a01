/* SPDX-License-Identifier: BSD-2-Clause */
/* The operator of a scenario: what posternctl asks over the control socket, at any moment. */
#include <stdio.h>
#include <stdlib.h>

#include "spool/spool_format.h"
#include "tests/sim/scenario.h"
#include "tests/sim/stage.h"

#define CONTROL_PATH STAGE_SPOOL "/control"

static void on_news(void *owner)
{
    struct sim_peer *p = owner;
    struct bytes heard = sim_received(p);

    while (heard.len > 0 && sim_peer_state(p) == SIM_PEER_OPEN) {
        size_t len = bytes_find(heard, '\n') + 1;
        if (len > heard.len)
            return;
        if (heard.at[0] == '.')
            sim_close(p);
        sim_take(p, len);
        heard = sim_received(p);
    }
}

static void ask(struct scenario *s, const char *command, const char *what)
{
    struct sim_peer *p = sim_connect_path(s->world, CONTROL_PATH);
    char text[64];

    if (p == NULL)
        return;
    snprintf(text, sizeof(text), "text %s %s\n", command, what);
    scenario_heard(s, "P>", 0, bytes_of(text));
    scenario_count(s, COUNT_REQUESTS);
    sim_on_news(p, on_news, p);
    sim_send(p, bytes_of(text));
}

static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* One of the messages in that folder. NULL: there is none. */
static const char *pick(struct scenario *s, const char *folder)
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
            return path;
    }
}

static void act_on(struct scenario *s, const char *path)
{
    static const char *const commands[] = {"flush",   "hold",   "release", "show",
                                           "reroute", "bounce", "delete"};
    uint64_t which = scenario_below(s, ARRAY_LENGTH(commands));
    struct bytes file;
    struct message *m = NULL;

    if (sim_file(s->world, path, &file) && file.len > SPOOL_HEAD_BYTES)
        m = ledger_find(s, bytes_skip(file, SPOOL_HEAD_BYTES));
    if (m != NULL && which == 0)
        m->was_flushed = true;
    if (m != NULL && which == 6)
        m->was_deleted = true;
    if (which == 5)
        s->targets.refusals++; /* the operator's word */
    ask(s, commands[which], name_of(path));
}

void operator_interferes(struct scenario *s)
{
    const char *path = pick(s, scenario_chance(s, 80) ? STAGE_SPOOL "/queue" : STAGE_SPOOL "/hold");

    if (path != NULL && scenario_chance(s, 60))
        act_on(s, path);
    else if (scenario_chance(s, 30))
        ask(s, "fsck", "");
    else
        ask(s, "flush", scenario_chance(s, 50) ? "--all" : "@a.test");
}

/* What was to be held may still lie in queue/: death came before the move. */
void operator_releases(struct scenario *s)
{
    const char *path = pick(s, STAGE_SPOOL "/hold");

    if (path == NULL && s->has_operator && scenario_chance(s, 2))
        path = pick(s, STAGE_SPOOL "/queue");
    if (path != NULL)
        ask(s, "release", name_of(path));
}
