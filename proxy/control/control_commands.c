/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of queue control: one row and one step each. */
#include <errno.h>
#include <stdio.h>
#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/control/control_private.h"

/* ---- arguments ---- */

static bool read_id(struct bytes word, struct id *id_out)
{
    if (word.len != ID_LENGTH)
        return false;
    for (size_t i = 0; i < word.len; i++)
        if (!byte_is_digit(word.at[i]) && !(word.at[i] >= 'A' && word.at[i] <= 'Z'))
            return false;
    *id_out = (struct id){.text = ""};
    memcpy(id_out->text, word.at, ID_LENGTH);
    return true;
}

static const char *check_id(const struct bytes *words, int count)
{
    struct id id;
    (void)count;
    return read_id(words[0], &id) ? NULL : "not an id";
}

static bool read_selection(struct bytes word, struct runner_selection *which_out)
{
    struct bytes rest = word.len == 0 ? word : bytes_skip(word, 1);
    struct id id;

    if (bytes_is(word, "--all"))
        *which_out = (struct runner_selection){.by = RUNNER_ALL};
    else if (word.len > 1 && word.at[0] == '@' &&
             (text_is_host_name(rest) || address_is_literal(rest)))
        *which_out = (struct runner_selection){.by = RUNNER_DOMAIN, .text = rest};
    else if (word.len > 1 && word.at[0] == '#')
        *which_out = (struct runner_selection){.by = RUNNER_TARGET, .text = rest};
    else if (read_id(word, &id))
        *which_out = (struct runner_selection){.by = RUNNER_ID, .text = word};
    else
        return false;
    return true;
}

static const char *check_selection(const struct bytes *words, int count)
{
    struct runner_selection which;
    (void)count;
    return read_selection(words[0], &which) ? NULL : "not an id, a domain or a target";
}

static const char *check_reroute(const struct bytes *words, int count)
{
    if (count == 2 || (count == 3 && !bytes_is(words[1], "to")))
        return "bad arguments";
    return words[0].len > 1 && words[0].at[0] == '#' ? NULL : check_id(words, count);
}

/* Mail cannot be sent to one address of a group, which is the mailbox's own or is not. */
static bool can_reroute_to(const struct control_run *run, struct bytes name)
{
    const struct target *target = targets_find(&run->services->targets, name);
    return target != NULL && target->group == NULL;
}

/* Is there such a target, or was there one for which messages still wait? */
static bool is_target(const struct control_run *run, struct bytes name)
{
    return control_find_queue(run, name) != NULL || control_has_target(run, name);
}

/* ---- flush ---- */

/* What is zero is no news to people. */
static void on_flushed(struct runner_flush *flush)
{
    struct control_run *run = CONTAINER_OF(flush, struct control_run, flush);
    const struct {
        const char *what;
        uint64_t count;
    } kinds[] = {{"started", flush->started},
                 {"probed", flush->probed},
                 {"running", flush->running},
                 {"held", flush->held},
                 {"left", flush->left}};
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_LIST);
    control_put_number(&row, "flushed", CONTROL_REST, flush->flushed);
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++)
        if (run->asked.is_json || kinds[i].count != 0)
            control_put_number(&row, kinds[i].what, CONTROL_REST, kinds[i].count);
    control_row_end(&row);
    control_finish(run, 0, NULL);
    control_wake(run);
}

static void step_flush(struct control_run *run)
{
    struct runner_selection which;
    struct id id;

    if (!read_selection(run->asked.words[0], &which)) {
        control_finish(run, EX_USAGE, "bad arguments");
        return;
    }
    if (run->services->is_cold) {
        control_finish(run, EX_UNAVAILABLE, "no server runs that could try now");
        return;
    }
    if (which.by == RUNNER_TARGET && !is_target(run, which.text)) {
        control_finish_with(run, EX_NOINPUT, which.text, "no such target");
        return;
    }
    if (which.by == RUNNER_ID && read_id(which.text, &id) &&
        runner_next_of(run->runner, &id, NULL) == NULL) {
        control_finish_error(run, which.text, -ENOENT);
        return;
    }
    run->has_begun = run->is_waiting = true;
    run->flush = (struct runner_flush){.which = which, .done = on_flushed};
    runner_flush(run->runner, &run->flush);
}

/* ---- hold, release, delete, bounce, reroute ---- */

static const struct act {
    const char *command, *done;
    enum runner_act act;
} acts[] = {
    {"hold", "held", RUNNER_HOLD},           {"release", "released", RUNNER_RELEASE},
    {"delete", "deleted", RUNNER_DELETE},    {"bounce", "bounced", RUNNER_BOUNCE},
    {"reroute", "rerouted", RUNNER_REROUTE},
};

static const struct act *act_of(const struct control_run *run)
{
    size_t i = 0;
    while (strcmp(acts[i].command, run->asked.command->name) != 0)
        i++;
    return &acts[i];
}

static void put_done(struct control_run *run, const struct id *id)
{
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_LIST);
    control_put_text(&row, act_of(run)->done, CONTROL_REST, id->text);
    control_row_end(&row);
}

static void on_act_done(struct runner_request *request)
{
    struct control_run *run = CONTAINER_OF(request, struct control_run, act);

    if (request->error == 0) {
        put_done(run, &request->id);
        control_finish(run, 0, NULL);
    } else {
        control_finish_error(run, bytes_of(request->id.text), request->error);
    }
    control_wake(run);
}

static void ask_runner(struct control_run *run, const struct id *id,
                       void (*done)(struct runner_request *request))
{
    struct bytes nothing = bytes_make(NULL, 0);

    run->act = (struct runner_request){
        .act = act_of(run)->act,
        .id = *id,
        .to = run->asked.word_count == 3 ? run->asked.words[2] : nothing,
        .from = run->asked.words[0].at[0] == '#' ? bytes_skip(run->asked.words[0], 1) : nothing,
        .done = done,
    };
    run->is_waiting = true;
    runner_request(run->runner, &run->act);
}

static void step_act(struct control_run *run)
{
    struct id id;

    run->has_begun = true;
    if (read_id(run->asked.words[0], &id))
        ask_runner(run, &id, on_act_done);
    else
        control_finish(run, EX_USAGE, "not an id");
}

/* ---- reroute '#TARGET' ---- */

static void on_one_rerouted(struct runner_request *request)
{
    struct control_run *run = CONTAINER_OF(request, struct control_run, act);

    if (request->error == 0) {
        put_done(run, &request->id);
    } else if (request->error != -ENOENT) { /* -ENOENT: the message has left the queue meanwhile */
        run->failed++;
    }
    control_wake(run);
}

/* The ids are collected once: a message that the tables lead to the same target again is not met
 * twice. */
static void step_reroute_all(struct control_run *run)
{
    struct bytes target = bytes_skip(run->asked.words[0], 1);

    if (!run->has_begun) {
        run->has_begun = true;
        if (is_target(run, target))
            control_collect(run, target);
        else
            control_finish_with(run, EX_NOINPUT, target, "no such target");
    } else if (run->ids.next < run->ids.count) {
        ask_runner(run, &run->ids.at[run->ids.next++], on_one_rerouted);
    } else if (run->failed != 0) {
        control_finish_with(run, EX_TEMPFAIL, target, "some could not be rerouted now, try again");
    } else {
        control_finish(run, 0, NULL);
    }
}

static void step_reroute(struct control_run *run)
{
    if (run->asked.word_count == 3 && !can_reroute_to(run, run->asked.words[2]))
        control_finish_with(run, EX_NOINPUT, run->asked.words[2], "no such target");
    else if (run->asked.words[0].at[0] == '#')
        step_reroute_all(run);
    else
        step_act(run);
}

/* ---- fsck ---- */

static void on_found(struct runner_fsck *fsck, const struct store_place *place, const char *what)
{
    struct control_run *run = CONTAINER_OF(fsck, struct control_run, fsck);
    static const char *const folders[] = {"queue", "hold", "bad"};
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put_text(&row, "id", 16, place->id.text);
    control_put_text(&row, "folder", 5, folders[place->folder]);
    control_put_text(&row, "found", CONTROL_REST, what);
    control_row_end(&row);
    control_news(run);
}

static void on_checked(struct runner_fsck *fsck, uint64_t messages, uint64_t problems)
{
    struct control_run *run = CONTAINER_OF(fsck, struct control_run, fsck);
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_LIST);
    control_put_number(&row, "messages", CONTROL_REST, messages);
    control_put_number(&row, "problems", CONTROL_REST, problems);
    control_row_end(&row);
    control_finish(run, problems == 0 ? 0 : EX_DATAERR, NULL);
    control_wake(run);
}

static void step_fsck(struct control_run *run)
{
    run->has_begun = true;
    run->is_waiting = true;
    run->fsck = (struct runner_fsck){.owner = run, .found = on_found, .done = on_checked};
    runner_check(run->runner, &run->fsck);
}

/* ---- the table ---- */

const struct control_command control_commands[] = {
    {"queue", "[--shape]", 0, 1, CONTROL_NEEDS_QUEUE, control_check_queue, control_step_queue},
    {"show", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, control_step_show},
    {"cat", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, control_step_cat},
    {"flush", "ID | @DOMAIN | '#TARGET' | --all", 1, 1, CONTROL_NEEDS_QUEUE, check_selection,
     step_flush},
    {"hold", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, step_act},
    {"release", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, step_act},
    {"delete", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, step_act},
    {"bounce", "ID", 1, 1, CONTROL_NEEDS_QUEUE, check_id, step_act},
    {"reroute", "ID | '#TARGET' [to NAME]", 1, 3, CONTROL_NEEDS_QUEUE, check_reroute, step_reroute},
    {"fsck", "", 0, 0, CONTROL_NEEDS_QUEUE, NULL, step_fsck},
    {"targets", "", 0, 0, CONTROL_NEEDS_NOTHING, NULL, control_step_targets},
    {"where", "ADDRESS [on LISTENER]", 1, 3, CONTROL_NEEDS_NOTHING, control_check_where,
     control_step_where},
    {NULL, NULL, 0, 0, CONTROL_NEEDS_NOTHING, NULL, NULL},
};
