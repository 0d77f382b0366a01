/* SPDX-License-Identifier: BSD-2-Clause */
/* --explain: shows the walk of one address, table by table and line by line. */
#include "proxy/base/error.h"
#include "route/route_private.h"

static void put_table(struct buf *out, const struct route_table *table)
{
    buf_text(out, "    [route");
    if (table->source->name.len > 0) {
        buf_byte(out, ' ');
        cf_put_shown(out, table->source->name);
    }
    buf_text(out, "]: ");
}

static void put_line(struct buf *out, const struct route_line *line)
{
    buf_text(out, line->place.file);
    buf_byte(out, ':');
    buf_decimal(out, line->place.line);
    buf_byte(out, ':');
    buf_decimal(out, line->place.column);
    buf_text(out, ": ");
    for (uint32_t i = 0; i < line->word_count; i++) {
        if (i > 0)
            buf_text(out, i > 1 && line->words[i - 1].ends_target ? ", " : " ");
        cf_put_word(out, line->words[i].text, line->words[i].is_quoted);
    }
    buf_byte(out, '\n');
}

static void put_target(struct buf *out, const struct target *target)
{
    struct bytes address = target_own_address(target);
    buf_cat(out, target->kind->section->kind, " ", NULL);
    cf_put_shown(out, target_section(target));
    if (address.len == 0)
        return;
    buf_text(out, " at ");
    buf_put(out, address);
}

static void put_step(struct buf *out, const struct route_set *set, const struct route_step *step)
{
    address_put(out, &(struct address){.local = step->address.local,
                                       .domain = step->is_name ? bytes_make(NULL, 0)
                                                               : step->address.domain});
    buf_text(out, step->is_name ? " (a local name)\n" : "\n");
    for (size_t i = 0; i < set->table_count; i++) {
        const struct route_table *table = set->tables[i];
        put_table(out, table);
        if (table == step->table) {
            put_line(out, step->match.rule->line);
            break;
        }
        buf_text(out, "none of ");
        buf_decimal(out, table->rule_count);
        buf_text(out, table->rule_count == 1 ? " line matches\n" : " lines matches\n");
    }
    if (step->match.is_stripped) {
        buf_text(out, "        matches by the local part in front of the recipient delimiter: ");
        cf_put_shown(out, route_table_strip(step->table, step->address.local));
        buf_byte(out, '\n');
    }
    if (step->stand_in == NULL)
        return;
    buf_text(out, "    postmaster is never refused for want of a route: ");
    put_target(out, step->stand_in);
    buf_byte(out, '\n');
}

static void put_reply(struct buf *out, const char *before, struct reply reply)
{
    buf_text(out, before);
    reply_put_text(out, &reply);
    buf_byte(out, '\n');
}

static void put_guard(struct buf *out, enum reply_id guard)
{
    if (guard == REPLY_ROUTED_RECIPIENT)
        put_reply(out,
                  "routed-recipients: unless the relay itself judges the client by XCLIENT or "
                  "PROXY: ",
                  reply_own(guard));
    if (guard == REPLY_RELAYING_DENIED)
        put_reply(out, "relay-from: for clients outside it, unless the relay itself judges them: ",
                  reply_own(guard));
}

/* What clients hear while the target is away, as relay_outage.c has it. */
static void put_outage(struct buf *out, const struct target *target, enum reply_id guard)
{
    const struct reply away = reply_own(REPLY_TARGET_DOWN);
    bool may_come = target->may_spool && guard != REPLY_ROUTED_RECIPIENT;
    if (!target->kind->is_relay)
        return;
    buf_text(out, "while ");
    put_target(out, target);
    if (!may_come) {
        put_reply(out, " is away: ", away);
        return;
    }
    buf_text(out, " is away: accepted, and the message waits in the spool\n");
    if (guard == REPLY_RELAYING_DENIED)
        put_reply(out, "    but for clients outside relay-from: ", away);
    if (target->defers_unverified)
        put_reply(out, "    but for recipients that it has not accepted lately: ", away);
}

static void put_trouble(struct buf *out, const struct route_walk *walk)
{
    switch (walk->trouble) {
    case ROUTE_TROUBLE_LOOP:
        buf_text(out, "the rewriting comes back to ");
        address_put(out, &walk->again->address);
        buf_byte(out, '\n');
        break;
    case ROUTE_TROUBLE_LONG:
        buf_text(out, "rewritten too many times\n");
        break;
    case ROUTE_TROUBLE_WIDE:
        buf_text(out, "leads to too many addresses\n");
        break;
    case ROUTE_TROUBLE_NOWHERE:
        buf_text(out, "no line matches\n");
        break;
    case ROUTE_TROUBLE_NONE:
        break;
    }
    if (walk->refusal.code == 0 && route_walk_is_unsafe(walk))
        buf_text(out, "two relays for one recipient, one of them with on-failure = tempfail\n");
}

static void put_outcome(struct buf *out, const struct route_walk *walk,
                        const struct route_client *client)
{
    struct reply refusal = route_walk_refusal(walk);
    enum reply_id guard = route_walk_guard(walk, client);
    const struct target *last = NULL;
    put_trouble(out, walk);
    if (refusal.code != 0) {
        put_reply(out, "=> ", refusal);
        return;
    }
    if (walk->leg_count == 0)
        buf_text(out, "=> discarded\n");
    for (const struct route_walk_leg *leg = walk->first_leg; leg != NULL; leg = leg->next) {
        buf_text(out, "=> ");
        put_target(out, leg->leg.target);
        buf_text(out, " gets ");
        address_put(out, &leg->leg.to);
        buf_byte(out, '\n');
    }
    put_guard(out, guard);
    for (const struct route_walk_leg *leg = walk->first_leg; leg != NULL; leg = leg->next)
        if (leg->leg.target != last)
            put_outage(out, last = leg->leg.target, guard);
}

void route_explain(const struct route_set *set, const struct address *to,
                   const struct route_client *client, struct arena *scratch, struct buf *out)
{
    struct address address;
    struct route_walk walk;
    if (address_copy(scratch, to, &address) != 0 ||
        route_walk(set, &address, ROUTE_WALK_ADDRESS, scratch, &walk) != 0) {
        buf_text(out, "out of memory\n");
        return;
    }
    for (const struct route_step *step = walk.first; step != NULL; step = step->next)
        put_step(out, set, step);
    put_outcome(out, &walk, client);
}
