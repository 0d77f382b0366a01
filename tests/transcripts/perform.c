/* SPDX-License-Identifier: BSD-2-Clause */
/* Performs a script: one step whenever the world is quiet. Between two actions everything that
 * postern did must have been expected. */
#include "tests/transcripts/perform_private.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/mem.h"
#include "tests/sim/stage.h"

#define LAST_WORDS_MS  100    /* until what is under way has come */
#define WRECK_WAITS_MS 900000 /* long enough for every deadline */

/* ---- what is wrong ---- */

void perform_fail(struct play *p, const char *format, ...)
{
    const struct script *s = p->script;
    const struct step *step = &s->steps[p->at < s->count ? p->at : s->count - 1];
    va_list list;

    if (p->way->fail_nth != 0) {
        p->is_wreck = true;
        return;
    }
    p->has_failed = true;
    printf("%s:%d: (%s) ", step->file, step->line, p->way->name);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

struct actor *perform_actor(struct play *p, const struct step *step)
{
    if (step->kind == STEP_ASKED)
        return &p->filter.ear;
    return step->is_target ? &p->targets[step->actor] : &p->clients[step->actor];
}

void perform_name(const struct play *p, const struct actor *a, char text[16])
{
    bool is_target = a >= p->targets && a < p->targets + SCRIPT_ACTORS;

    snprintf(text, 16, "%c%d", is_target ? 'T' : 'C',
             (int)(a - (is_target ? p->targets : p->clients)) + 1);
}

static void print_said(const struct play *p, const struct actor *a, const char *sign,
                       struct bytes octets)
{
    char name[16];

    perform_name(p, a, name);
    while (octets.len > 0) {
        struct bytes line = bytes_first(octets, bytes_find(octets, '\n') + 1);
        octets = bytes_skip(octets, line.len);
        printf("%8llu %s%s %.*s", (unsigned long long)sim_now_ms(p->world), name, sign,
               (int)line.len, (const char *)line.at);
        if (line.at[line.len - 1] != '\n')
            printf("|\n");
    }
}

/* ---- hearing ---- */

static void listen_to(struct play *p, struct actor *a)
{
    if (a->peer == NULL || sim_received(a->peer).len == 0)
        return;
    if (p->way->is_loud)
        print_said(p, a, p->clients <= a && a < p->clients + SCRIPT_ACTORS ? "<" : ">",
                   sim_received(a->peer));
    actor_listen(a);
    if (a->is_ignored)
        actor_forget(a, a->length);
}

/* True: an answer was given, see what follows. */
static bool listen_to_all(struct play *p)
{
    bool has_answered = false;

    for (int i = 0; i < SCRIPT_ACTORS; i++) {
        listen_to(p, &p->clients[i]);
        listen_to(p, &p->targets[i]);
        has_answered = has_answered || p->targets[i].has_answered;
        p->targets[i].has_answered = false;
    }
    return has_answered;
}

/* ---- actions ---- */

static void begin_client(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);
    struct netaddr from, to;
    const char *address = step->about[0] == '\0' ? "192.0.2.9:40001" : step->about;

    netaddr_parse_with_port(bytes_of(address), 40001, &from);
    netaddr_parse_with_port(
        bytes_of(from.family == NETADDR_IPV4 ? "192.0.2.1:25" : "[2001:db8::1]:25"), 25, &to);
    a->peer = sim_connect(p->world, &from, &to);
    if (a->peer == NULL)
        perform_fail(p, "nobody listens");
}

static void meet_target(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);
    struct sim_peer *peer = sim_target(p->world, p->targets_known);

    if (peer == NULL) {
        perform_fail(p, "postern does not connect to %s", step->about);
        return;
    }
    if (strcmp(sim_target_address(peer), step->about) != 0) {
        perform_fail(p, "postern connects to %s", sim_target_address(peer));
        return;
    }
    p->targets_known++;
    a->peer = peer;
    if (step->kind == STEP_CONNECT)
        sim_accept(peer);
    else if (step->kind == STEP_REFUSE)
        sim_refuse(peer, -ECONNREFUSED);
}

static void prepare_cuts(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);

    if (a->peer != NULL && p->way->is_bytewise)
        sim_cut_always(a->peer);
    if (a->peer != NULL && p->way->cut_at != 0 && step->is_target == p->way->cuts_target &&
        step->actor == p->way->cut_actor)
        sim_cut_at(a->peer, p->way->cut_at);
}

/* All of one block goes out at once. */
static void send_block(struct play *p)
{
    const struct step *first = &p->script->steps[p->at], *step = first;
    const struct step *end = p->script->steps + p->script->count;
    char *block = NULL;
    size_t length = 0;
    struct actor *a = perform_actor(p, first);

    for (; step < end && step->kind == STEP_SEND && step->is_target == first->is_target &&
           step->actor == first->actor && (step == first || !step->begins);
         step++) {
        block = realloc(block, length + step->length);
        if (block == NULL)
            abort();
        memcpy(block + length, step->text, step->length);
        length += step->length;
        p->at = (size_t)(step - p->script->steps);
    }
    if (p->way->is_loud)
        print_said(p, a, first->is_target ? "<" : ">", bytes_make(block, length));
    if (a->peer == NULL || !sim_may_send(a->peer))
        perform_fail(p, "has not begun, or has ended");
    else
        sim_send(a->peer, bytes_make(block, length));
    free(block);
}

static void answer_dns(struct play *p, const struct step *step)
{
    static const char statuses[] = "fna"; /* found, none, away */
    enum sim_question what = step->text[0] == 'n'   ? SIM_NAMES
                             : step->text[0] == 'm' ? SIM_MX
                                                    : SIM_ADDRESSES;
    const char *status = strchr(statuses, step->text[1]);

    if (status == NULL)
        perform_fail(p, "found, none or away?");
    else
        sim_dns(p->world, what, step->about, (enum dns_status)(status - statuses), step->number,
                step->text + 2);
}

static void break_disk(struct play *p, const struct step *step)
{
    static const char *const calls[SIM_DISK_CALLS] = {"open", "write", "read", "sync", "name"};

    for (int i = 0; i < SIM_DISK_CALLS; i++)
        if (strcmp(step->about, calls[i]) == 0)
            sim_disk_fail(p->world, (enum sim_disk_call)i, step->number, -(int)step->length);
}

static void do_to_peer(struct play *p, const struct step *step)
{
    struct actor *a = perform_actor(p, step);

    if (a->peer == NULL)
        perform_fail(p, "has not begun");
    else if (step->kind == STEP_CLOSE)
        sim_close(a->peer);
    else if (step->kind == STEP_RESET)
        sim_reset(a->peer);
    else if (step->kind == STEP_SHUT)
        sim_shutdown(a->peer);
    else if (step->kind == STEP_CHUNKS)
        a->takes_chunks = true;
    else if (step->kind == STEP_IGNORE)
        a->is_ignored = true;
    else
        sim_set_reading(a->peer, step->kind == STEP_READ);
}

static void act(struct play *p, const struct step *step)
{
    switch (step->kind) {
    case STEP_SEND:
        send_block(p);
        break;
    case STEP_CONNECT:
    case STEP_REFUSE:
    case STEP_HANG:
        if (step->is_target)
            meet_target(p, step);
        else
            begin_client(p, step);
        prepare_cuts(p, step);
        break;
    case STEP_CLOSE:
    case STEP_RESET:
    case STEP_SHUT:
    case STEP_STOP_READING:
    case STEP_READ:
    case STEP_CHUNKS:
    case STEP_IGNORE:
        do_to_peer(p, step);
        break;
    case STEP_WAIT:
        sim_wait(p->world, step->number);
        break;
    case STEP_DNS:
        answer_dns(p, step);
        break;
    case STEP_DISK:
        break_disk(p, step);
        break;
    case STEP_SIGNAL:
        sim_signal(p->world, (int)step->number);
        break;
    case STEP_VERDICT:
        if (!scripted_answer(&p->filter, step->text))
            perform_fail(p, "the filter was not asked");
        break;
    case STEP_VERDICT_AHEAD:
        p->filter.ahead = step->text;
        break;
    case STEP_HEAR:
    case STEP_ENDED:
    case STEP_WAITING:
    case STEP_ASKED:
    case STEP_LOG:
    case STEP_FILE:
    case STEP_NO_FILE:
        break;
    }
}

/* ---- the end ---- */

static void end_play(struct play *p)
{
    for (int i = 0; i < SCRIPT_ACTORS; i++) {
        if (p->clients[i].peer != NULL && sim_peer_state(p->clients[i].peer) == SIM_PEER_OPEN)
            sim_reset(p->clients[i].peer);
    }
    sim_signal(p->world, SIGTERM);
    p->is_over = true;
}

static bool script_has(const struct play *p, const char *text, size_t length)
{
    for (size_t i = 0; i < p->script->count; i++) {
        const struct step *step = &p->script->steps[i];
        if (step->kind == STEP_HEAR && !step->is_target && script_matches(step->text, text, length))
            return true;
    }
    return false;
}

static bool has_file(const struct play *p, const char *directory, const char *text)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(p->world, directory, i)) != NULL; i++) {
        struct bytes octets;
        if (sim_file(p->world, path, &octets) && octets.len >= strlen(text) &&
            memcmp(octets.at, text, strlen(text)) == 0)
            return true;
    }
    return false;
}

/* A client is logged in whose name is known, or not at all. */
static void check_logins(struct play *p)
{
    static const char nobody[] = " login=\"\"";
    struct bytes log = sim_log(p->world);

    if (log.len == 0 || memmem(log.at, log.len, nobody, strlen(nobody)) == NULL)
        return;
    printf("%s: (%s) nobody is logged in\n", p->script->path, p->way->name);
    p->has_failed = true;
}

/* What clients heard behind the point where the story changed: a 250 for a message may only be one
 * that the script has there too, and a target's words can only come from a target. Without memory
 * for those words a bare Ok stands for them. What is delivered or queued must lie somewhere. */
static void check_wreck(struct play *p)
{
    for (int i = 0; i < SCRIPT_ACTORS; i++) {
        struct bytes heard = bytes_make(p->clients[i].heard, p->clients[i].length);
        while (heard.len > 0) {
            struct bytes line = bytes_first(heard, bytes_find(heard, '\n'));
            heard = bytes_skip(heard, line.len < heard.len ? line.len + 1 : line.len);
            bool is_queued = bytes_start_with_nocase(line, "250 2.0.0 Ok: queued as 23");
            if ((bytes_start_with_nocase(line, "250 2.0.0 Ok: delivered") &&
                 !has_file(p, "/mail", "")) ||
                (is_queued && !has_file(p, "/spool/queue", "POSTERN"))) {
                printf("%s: (%s) it is nowhere: \"%.*s\"\n", p->script->path, p->way->name,
                       (int)line.len - 1, (const char *)line.at);
                p->has_failed = true;
            }
            if (line.len > 1 && line.at[0] == '2' && line.at[3] == ' ' &&
                !bytes_is(line, "250 2.0.0 Ok\r") && !bytes_is(line, "250 2.1.5 Ok\r") &&
                !is_queued && !script_has(p, (const char *)line.at, line.len - 1)) {
                printf("%s: (%s) a client hears \"%.*s\"\n", p->script->path, p->way->name,
                       (int)line.len - 1, (const char *)line.at);
                p->has_failed = true;
            }
        }
    }
}

static bool go_on_in_wreck(struct play *p)
{
    listen_to_all(p);
    if (p->at < p->script->count) {
        p->at = p->script->count;
        sim_wait(p->world, WRECK_WAITS_MS);
        return true;
    }
    check_wreck(p);
    check_logins(p);
    end_play(p);
    return true;
}

/* An actor that says something and then ends does both at once, but for a blank line between. */
static bool goes_on(const struct play *p)
{
    const struct step *now = &p->script->steps[p->at - 1], *next = now + 1;

    return p->at < p->script->count && now->kind == STEP_SEND && !next->begins &&
           next->is_target == now->is_target && next->actor == now->actor &&
           (next->kind == STEP_CLOSE || next->kind == STEP_SHUT || next->kind == STEP_RESET);
}

static bool on_quiet(void *owner)
{
    struct play *p = owner;
    const struct script *s = p->script;

    if (p->is_over)
        return false;
    if (!p->has_begun) {
        p->has_begun = true;
        sim_ask_targets(p->world, true);
        mem_fail_nth(p->way->fail_nth);
    }
    if (listen_to_all(p))
        return true;
    while (!p->is_wreck && !p->has_failed && p->at < s->count) {
        const struct step *step = &s->steps[p->at];
        if (!perform_is_expectation(step)) {
            if (!perform_is_settled(p, step))
                break;
            act(p, step);
            p->at++;
            if (goes_on(p))
                act(p, &s->steps[p->at++]);
            return true;
        }
        if (perform_expect(p, step))
            p->at++;
    }
    if (!p->is_wreck && !p->has_failed)
        perform_is_settled(p, NULL);
    if (p->is_wreck)
        return go_on_in_wreck(p);
    end_play(p);
    return true;
}

/* Postern has ended of itself: what it did last must have been expected, and be all of the script.
 * (Where writes are cut, octets that found no room ended with it.) */
static void hear_last_words(struct play *p)
{
    uint64_t until_ms = sim_now_ms(p->world) + LAST_WORDS_MS;

    sim_on_quiet(p->world, NULL, NULL);
    for (; sim_now_ms(p->world) < until_ms; sim_run_for(p->world, 1))
        listen_to_all(p);
    for (; p->at < p->script->count; p->at++) {
        const struct step *step = &p->script->steps[p->at];
        if (!perform_is_expectation(step)) {
            perform_fail(p, "postern has ended before this");
            return;
        }
        if (!perform_expect(p, step))
            return;
    }
    perform_is_settled(p, NULL);
}

/* "STAGE...", or "at TARGET STAGE...": that target's own. */
static void stage_scripted(struct play *p, const struct config *config)
{
    const char *stages = p->script->filtered;
    char target[64] = "";
    int used = 0;

    if (stages != NULL && sscanf(stages, "at %63s%n", target, &used) == 1)
        stages += used;
    if (!scripted_init(&p->filter, stages))
        perform_fail(p, "no such stage: %s", stages);
    struct filter *filter = stages == NULL ? NULL : &p->filter.filter;
    stage_filter(config, target[0] == '\0' ? filter : NULL);
    stage_target_filter(config, filter, bytes_of(target));
}

bool perform(const struct script *s, const struct config *config, const struct way *way,
             uint64_t *allocations_out)
{
    struct play p = {.script = s, .way = way, .world = sim_new(way->seed)};
    int code;

    sim_set_ways(p.world, &way->sim);
    sim_on_quiet(p.world, on_quiet, &p);
    stage_scripted(&p, config);
    code = stage_run(config);
    *allocations_out = mem_fail_nth(0);
    if (code != 0 && !p.has_failed) {
        printf("%s: (%s) exit code %d\n", s->path, way->name, code);
        p.has_failed = true;
    }
    if (!p.is_over && !p.is_wreck && !p.has_failed && !way->sim.cuts)
        hear_last_words(&p);
    if (!list_is_empty(&p.filter.unanswered)) {
        printf("%s: (%s) a question was never given up\n", s->path, way->name);
        p.has_failed = true;
    }
    if (way->is_loud)
        printf("%.*s", (int)sim_log(p.world).len, (const char *)sim_log(p.world).at);
    for (int i = 0; i < SCRIPT_ACTORS; i++) {
        free(p.clients[i].heard);
        free(p.targets[i].heard);
    }
    free(p.filter.ear.heard);
    sim_free(&p.world);
    return !p.has_failed;
}
