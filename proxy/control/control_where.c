/* SPDX-License-Identifier: BSD-2-Clause */
/* where: which line, target and address mail for a recipient goes to now, a line each. */
#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/control/control_private.h"
#include "route/route.h"
#include "route/target_kind.h"

#define LINE_TEXT_MAX 512

const char *control_check_where(const struct bytes *words, int count)
{
    if (count == 2 || (count == 3 && !bytes_is(words[1], "on")))
        return "bad arguments";
    return NULL;
}

/* Of several addresses the first that is not down; a member has one. */
static bool find_address(struct target *target, struct target_address *address_out)
{
    struct target_address one;
    bool is_any = false;

    for (unsigned i = 0; target->ops->address != NULL && target->ops->address(target, i, &one);
         i++) {
        if (!is_any || strcmp(one.state, "down") != 0)
            *address_out = one;
        is_any = true;
        if (strcmp(one.state, "down") != 0)
            break;
    }
    return is_any;
}

static void put_line(struct control_row *row, struct pool *pool, const struct route_lead *lead)
{
    struct buf text;

    buf_init(&text, pool, LINE_TEXT_MAX);
    if (lead->table != NULL) {
        buf_text(&text, lead->line.file);
        buf_byte(&text, ':');
        buf_decimal(&text, lead->line.line);
        buf_byte(&text, ':');
        buf_decimal(&text, lead->line.column);
    }
    control_put(row, "line", 24, buf_bytes(&text));
    buf_done(&text);
}

static void put_leg(struct control_run *run, const struct routed_leg *leg,
                    const struct route_lead *lead)
{
    struct target *target = leg->target;
    struct target_view view = target->ops->view(target);
    struct bytes address = target_own_address(target);
    struct target_address found = {.state = view.state};
    struct pool *pool = &loop_pools(run->services->loop)->medium;
    struct buf to;
    struct control_row row;

    if (find_address(target, &found) && address.len == 0)
        address = bytes_of(found.text);
    buf_init(&to, pool, 2 * ADDRESS_PATH_MAX);
    address_put(&to, &leg->to);
    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_ROW);
    control_put(&row, "table", 12,
                lead->table == NULL          ? bytes_of("-")
                : lead->table->name.len == 0 ? bytes_of("[route]")
                                             : lead->table->name);
    put_line(&row, pool, lead);
    control_put_text(&row, "kind", 7, target->kind->section->kind);
    control_put(&row, "target", 16, target_section(target));
    control_put(&row, "address", 22, address);
    control_put_text(&row, "state", 7, found.state);
    control_put(&row, "to", CONTROL_REST, buf_bytes(&to));
    control_row_end(&row);
    buf_done(&to);
}

static void put_reply(struct control_run *run, const struct routed *routed)
{
    struct control_row row;
    struct buf text;

    buf_init(&text, &loop_pools(run->services->loop)->medium, REPLY_MAX_BYTES);
    reply_put_text(&text, &routed->reply);
    control_row_begin(&row, &run->out, run->asked.is_json, CONTROL_LIST);
    control_put(&row, routed->is_discarded ? "discarded" : "reply", CONTROL_REST,
                routed->is_discarded ? bytes_of("yes") : buf_bytes(&text));
    control_row_end(&row);
    buf_done(&text);
}

/* The first listener's where none is named; NULL: there is none of that name. */
static struct route_set *find_routes(const struct control_run *run)
{
    const struct services *s = run->services;
    bool is_named = run->asked.word_count == 3;

    return services_find_routes(s, is_named ? run->asked.words[2] : s->config->smtpds[0]->section);
}

void control_step_where(struct control_run *run)
{
    struct route_set *routes = find_routes(run);
    const struct route_lead *leads;
    struct routed routed;
    struct address to;
    struct pool *pool = &loop_pools(run->services->loop)->medium;
    struct arena mail;

    if (routes == NULL) {
        control_finish_with(run, EX_NOINPUT, run->asked.words[2], "no such listener");
        return;
    }
    arena_init(&mail, pool, SIZE_MAX);
    if (address_parse_mailbox(run->asked.words[0], &mail, &to) != 0) {
        control_finish_with(run, EX_USAGE, run->asked.words[0], "no address of RFC 5321");
    } else {
        route_locate(routes, &to, &mail, &routed, &leads);
        for (int i = 0; i < routed.leg_count; i++)
            put_leg(run, &routed.legs[i], &leads[i]);
        if (routed.leg_count == 0)
            put_reply(run, &routed);
        control_finish(run, 0, NULL);
    }
    arena_reset(&mail);
}
