/* SPDX-License-Identifier: BSD-2-Clause */
/* show and cat: a message's envelope and the fate of each recipient, or its content. */
#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/control/control_private.h"

#define PIECE_BYTES 32768 /* of content in one step */

static void ask_for(struct control_run *run, enum runner_act act,
                    void (*done)(struct runner_request *request))
{
    run->act = (struct runner_request){.act = act, .done = done};
    memcpy(run->act.id.text, run->asked.words[0].at, ID_LENGTH); /* check_id() accepted it */
    run->has_begun = true;
    run->is_waiting = true;
    runner_request(run->runner, &run->act);
}

/* ---- show ---- */

void control_put_address(struct control_run *run, struct control_row *row, const char *key,
                         int width, const struct address *address)
{
    struct buf text;

    buf_init(&text, &loop_pools(run->services->loop)->medium, 2 * ADDRESS_PATH_MAX);
    buf_byte(&text, '<');
    address_put(&text, address);
    buf_byte(&text, '>');
    struct bytes whole = buf_bytes(&text);
    if (row->style == CONTROL_JSON)
        whole = bytes_make(whole.at + 1, whole.len - 2);
    control_put(row, key, width, whole);
    buf_done(&text);
}

static const char *fate_name(const struct spool_recipient *recipient)
{
    switch (recipient->fate) {
    case FATE_ACCEPTED:
        return "delivered";
    case FATE_REFUSED:
        return recipient->is_reported ? "bounced" : "refused";
    case FATE_DISCARDED:
        return "deleted";
    case FATE_UNKNOWN:
        return "unknown";
    case FATE_DEFERRED:
    case FATE_LOST:
        return "deferred";
    case FATE_OPEN:
    case FATE_HELD: /* in no file */
        break;
    }
    return "open";
}

static void put_recipient(struct control_run *run, struct control_row *row,
                          const struct spool_recipient *recipient)
{
    control_open_object(row, CONTROL_ROW);
    control_put_address(run, row, "to", 32, &recipient->to);
    control_put_address(run, row, "original", CONTROL_JSON_ONLY, &recipient->original);
    control_put(row, "target", 20, recipient->target);
    control_put_text(row, "state", 9, fate_name(recipient));
    control_put_number(row, "tries", -3, recipient->tries);
    control_put_time(row, "tried", 20, recipient->tried_ms / 1000);
    control_put(row, "params", CONTROL_JSON_ONLY, recipient->params);
    control_put_bool(row, "unverified", CONTROL_JSON_ONLY, recipient->is_unverified);
    control_put_bool(row, "duplicate_possible", CONTROL_JSON_ONLY, recipient->may_be_duplicate);
    control_put(row, "remote", CONTROL_JSON_ONLY, recipient->remote);
    control_put(row, "reply", CONTROL_REST, recipient->reply);
    control_close_object(row);
}

static void put_client(struct control_row *row, const struct identity *client)
{
    char text[NETADDR_TEXT_MAX];

    control_put_text(row, "client", CONTROL_REST, netaddr_text_with_port(&client->client, text));
    control_put(row, "name", CONTROL_REST, client->name);
    control_put(row, "helo", CONTROL_REST, client->helo);
}

static void put_hold(struct control_row *row, const struct spool_message *message)
{
    static const char *const holders[] = {[SPOOL_HELD_BY_OPERATOR] = "operator",
                                          [SPOOL_HELD_BY_FILTER] = "filter",
                                          [SPOOL_HELD_BY_QUEUE] = "queue"};
    const struct spool_hold *hold = &message->hold;
    bool is_listed = message->is_held || row->style == CONTROL_JSON;

    control_put_bool(row, "held", CONTROL_REST, message->is_held);
    if (!is_listed)
        return;
    control_put_text(row, "held_by", CONTROL_REST, message->is_held ? holders[hold->by] : "");
    control_put_time(row, "held_since", CONTROL_REST, message->is_held ? hold->since_ms / 1000 : 0);
    control_put(row, "reason", CONTROL_REST, message->is_held ? hold->reason : bytes_make(NULL, 0));
}

static void put_message(struct control_run *run, const struct spool_message *message)
{
    struct spool_shown shown = spool_shown_to_all(message);
    struct control_row row;

    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_LIST);
    control_put_text(&row, "id", CONTROL_REST, message->head.id.text);
    put_hold(&row, message);
    control_put_bool(&row, "report", CONTROL_REST, message->is_report);
    control_put_time(&row, "arrived", CONTROL_REST, message->arrived_ms / 1000);
    control_put_number(&row, "size", CONTROL_REST, spool_shown_bytes(&shown));
    control_put_address(run, &row, "from", CONTROL_REST, &message->envelope.from);
    control_put(&row, "params", CONTROL_REST, message->envelope.params);
    control_put(&row, "listener", CONTROL_REST, message->listener);
    put_client(&row, &message->client);
    control_open_array(&row, "recipients");
    for (uint32_t i = 0; i < message->recipient_count; i++)
        put_recipient(run, &row, &message->recipients[i]);
    control_close_array(&row);
    control_row_end(&row);
}

static void on_shown(struct runner_request *request)
{
    struct control_run *run = CONTAINER_OF(request, struct control_run, act);

    if (request->error == 0) {
        put_message(run, request->message);
        control_finish(run, 0, NULL);
    } else {
        control_finish_error(run, run->asked.words[0], request->error);
    }
    control_wake(run);
}

void control_step_show(struct control_run *run)
{
    ask_for(run, RUNNER_SHOW, on_shown);
}

/* ---- cat ---- */

static void on_content(struct runner_request *request)
{
    struct control_run *run = CONTAINER_OF(request, struct control_run, act);

    run->content = (struct control_content){.at = request->content, .len = request->content_bytes};
    if (request->error != 0)
        control_finish_error(run, run->asked.words[0], request->error);
    control_wake(run);
}

/* Puts the content up to its next line end, or as much as fits in a step. */
static void put_line(struct control_run *run)
{
    struct bytes rest =
        bytes_skip(bytes_make(run->content.at, run->content.len), run->content.told);
    struct bytes piece = bytes_first(rest, PIECE_BYTES);
    size_t end = bytes_find(piece, '\n');

    buf_byte(&run->out, end == piece.len ? '-' : ' ');
    buf_put(&run->out, bytes_first(piece, end));
    buf_byte(&run->out, '\n');
    run->content.told += end == piece.len ? end : end + 1;
}

void control_step_cat(struct control_run *run)
{
    if (!run->has_begun)
        ask_for(run, RUNNER_CAT, on_content);
    else if (run->content.told < run->content.len)
        put_line(run);
    else
        control_finish(run, 0, NULL);
}
