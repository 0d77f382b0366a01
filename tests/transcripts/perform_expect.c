/* SPDX-License-Identifier: BSD-2-Clause */
/* What a script expects. */
#include <stdio.h>

#include "tests/transcripts/perform_private.h"

static bool expect_words(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);

    bool ends_in_lf = a->peer != NULL && strncmp(sim_target_address(a->peer), "unix:", 5) == 0;
    size_t at = 0, cr = ends_in_lf ? 0 : 1;

    for (uint64_t i = 0; i < step->number; i++) {
        const char *begin = a->heard + at;
        const char *end = a->length - at <= cr ? NULL : memchr(begin, '\n', a->length - at);
        size_t len = end == NULL ? a->length - at : (size_t)(end - begin) - cr;

        if (end == NULL || end - begin < (ptrdiff_t)cr || (cr != 0 && end[-1] != '\r') ||
            !script_matches(step->text, begin, len)) {
            perform_fail(p, "expected \"%s\", got \"%.*s\"", step->text, (int)len, begin);
            return false;
        }
        at += len + cr + 1;
    }
    actor_forget(a, at);
    return true;
}

static bool expect_end(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);

    if (a->peer == NULL || (!sim_has_eof(a->peer) && !sim_was_reset(a->peer))) {
        perform_fail(p, "expected postern to close");
        return false;
    }
    a->is_ended = true;
    return true;
}

static bool expect_waiting(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);

    if (a->peer != NULL && sim_pending(a->peer) > 0)
        return true;
    perform_fail(p, "expected postern not to read");
    return false;
}

static bool expect_log(struct play *p, const struct step *step)
{
    struct bytes log = bytes_skip(sim_log(p->world), p->log_at);

    while (log.len > 0) {
        struct bytes line = bytes_first(log, bytes_find(log, '\n'));
        char pattern[1024];
        log = bytes_skip(log, line.len + 1);
        snprintf(pattern, sizeof(pattern), "*%s*", step->text);
        if (script_matches(pattern, (const char *)line.at, line.len)) {
            p->log_at = sim_log(p->world).len - log.len;
            return true;
        }
    }
    log = bytes_skip(sim_log(p->world), p->log_at);
    perform_fail(p, "no line \"%s\" in the log:\n%.*s", step->text, (int)log.len,
                 (const char *)log.at);
    return false;
}

static bool file_holds(struct play *p, const struct step *step, const char *path)
{
    char pattern[1024];
    struct bytes octets;

    snprintf(pattern, sizeof(pattern), "*%s*", step->text);
    if (!sim_file(p->world, path, &octets))
        return false;
    while (octets.len > 0) {
        struct bytes line = bytes_first(octets, bytes_find(octets, '\n'));
        octets = bytes_skip(octets, line.len < octets.len ? line.len + 1 : line.len);
        if (script_matches(pattern, (const char *)line.at, line.len))
            return true;
    }
    return false;
}

static bool expect_file(struct play *p, const struct step *step)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(p->world, step->about, i)) != NULL; i++) {
        bool holds = (step->kind == STEP_NO_FILE && strcmp(step->text, "*") == 0) ||
                     file_holds(p, step, path);
        if (holds && step->kind == STEP_NO_FILE)
            perform_fail(p, "there is a file %s", path);
        if (holds)
            return step->kind == STEP_FILE;
    }
    if (step->kind == STEP_FILE)
        perform_fail(p, "no file below %s holds \"%s\"", step->about, step->text);
    return step->kind == STEP_NO_FILE;
}

bool perform_is_expectation(const struct step *step)
{
    return step->kind >= STEP_HEAR;
}

bool perform_expect(struct play *p, const struct step *step)
{
    if (step->kind == STEP_HEAR || step->kind == STEP_ASKED)
        return expect_words(p, step);
    if (step->kind == STEP_ENDED)
        return expect_end(p, step);
    if (step->kind == STEP_WAITING)
        return expect_waiting(p, step);
    if (step->kind == STEP_LOG)
        return expect_log(p, step);
    return expect_file(p, step);
}

bool perform_is_settled(struct play *p, const struct step *next)
{
    struct actor *all[] = {p->clients, p->targets};
    bool is_accepting =
        next != NULL && next->is_target &&
        (next->kind == STEP_CONNECT || next->kind == STEP_REFUSE || next->kind == STEP_HANG);
    struct sim_peer *asked = sim_target(p->world, p->targets_known);

    if (p->filter.ear.length > 0) {
        perform_fail(p, "the filter was asked: \"%.*s\"", (int)p->filter.ear.length,
                     p->filter.ear.heard);
        return false;
    }
    for (int i = 0; i < 2 * SCRIPT_ACTORS; i++) {
        struct actor *a = all[i % 2] + i / 2;
        char name[16];
        perform_name(p, a, name);
        if (a->peer == NULL)
            continue;
        if (a->length > 0) {
            perform_fail(p, "%s got more than expected: \"%.*s\"", name, (int)a->length, a->heard);
            return false;
        }
        if (!a->is_ended && sim_peer_state(a->peer) == SIM_PEER_OPEN &&
            (sim_has_eof(a->peer) || sim_was_reset(a->peer))) {
            perform_fail(p, "postern has closed %s", name);
            return false;
        }
    }
    if (asked == NULL || is_accepting)
        return true;
    perform_fail(p, "postern connects to %s", sim_target_address(asked));
    return false;
}
