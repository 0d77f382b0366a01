/* SPDX-License-Identifier: BSD-2-Clause */
/* What the filter of a scenario makes of messages: fields, another body, a recipient less; and what
 * must come of it. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/scenario.h"

#define SUBJECT    "Subject: "
#define BODY_LINES 300
#define PIECE      1000

/* What may be done to the content, as bits. */
enum { EDIT_TOP = 1, EDIT_END = 2, EDIT_SUBJECT = 4, EDIT_NO_SUBJECT = 8, EDIT_BODY = 16 };

void edit_plan(struct scenario *s)
{
    struct filter *filter = &s->plan.filter.filter;

    if (scenario_chance(s, 40))
        return;
    filter->edits = FILTER_EDITS_CONTENT;
    if (s->plan.filter.target < 0 && scenario_chance(s, 40))
        filter->edits |= FILTER_EDITS_ENVELOPE;
    if (s->plan.filter.target < 0 && scenario_chance(s, 40))
        filter->edits |= FILTER_EDIT(FILTER_QUARANTINE);
    filter->stages |= 1U << SESSION_STAGE_END;
}

/* ---- making them ---- */

/* Each message has its own words, so that one's edits are not taken for another's. */
static void plan_content(struct scenario *s, struct message *m)
{
    struct edited *e = &m->edited;
    char line[40];

    e->kinds = (unsigned)scenario_below(s, 32);
    if ((e->kinds & EDIT_BODY) == 0)
        return;
    for (uint64_t i = scenario_below(s, BODY_LINES); i > 0; i--) {
        snprintf(line, sizeof(line), "%snew %u %u\r\n", i % 7 == 0 ? "." : "", m->id, (unsigned)i);
        sim_put(&e->body, bytes_of(line));
    }
}

static void plan_recipient(struct scenario *s, struct message *m)
{
    m->edited.excluded = -1;
    if ((s->plan.filter.filter.edits & FILTER_EDITS_ENVELOPE) != 0 && scenario_chance(s, 50))
        m->edited.excluded = (int)scenario_below(s, m->recipient_count);
    m->edited.is_held = (s->plan.filter.filter.edits & FILTER_EDIT(FILTER_QUARANTINE)) != 0 &&
                        scenario_chance(s, 30);
}

bool edit_holds(const struct message *m)
{
    return m->edited.is_made && m->edited.is_held;
}

void edit_begin(struct scenario *s, struct message *m)
{
    edit_forget(m);
    m->edited.is_planned = true;
    plan_content(s, m);
    plan_recipient(s, m);
}

void edit_forget(struct message *m)
{
    free(m->edited.body.at);
    m->edited = (struct edited){.excluded = -1};
}

static void give(struct filter_seat *seat, enum filter_edit_kind kind, uint32_t index,
                 const char *name, const char *value)
{
    const struct filter_edit edit = {
        .kind = kind, .index = index, .name = bytes_of(name), .value = bytes_of(value)};

    (void)filter_edit(seat, &edit);
}

static void give_fields(struct filter_seat *seat, const struct message *m)
{
    unsigned kinds = m->edited.kinds;
    char value[24], other[32];

    snprintf(value, sizeof(value), " %u", m->id);
    snprintf(other, sizeof(other), " other %u", m->id);
    if ((kinds & EDIT_TOP) != 0)
        give(seat, FILTER_INSERT_FIELD, 1, "X-Top", value);
    if ((kinds & EDIT_END) != 0)
        give(seat, FILTER_ADD_FIELD, 0, "X-End", value);
    if ((kinds & EDIT_NO_SUBJECT) != 0)
        give(seat, FILTER_CHANGE_FIELD, 1, "Subject", "");
    else if ((kinds & EDIT_SUBJECT) != 0)
        give(seat, FILTER_CHANGE_FIELD, 1, "Subject", other);
}

static bool give_body(struct filter_seat *seat, struct edited *e)
{
    struct bytes rest = bytes_skip(bytes_make(e->body.at, e->body.len), e->given);

    do {
        const struct filter_edit edit = {.kind = FILTER_REPLACE_BODY,
                                         .value = bytes_first(rest, PIECE)};
        if (!filter_edit(seat, &edit))
            return false;
        e->given += edit.value.len;
        rest = bytes_skip(rest, edit.value.len);
    } while (rest.len > 0);
    return true;
}

bool edit_give(struct filter_seat *seat, struct message *m)
{
    struct edited *e = &m->edited;

    if (!e->is_begun) {
        e->is_begun = true;
        give_fields(seat, m);
        if (e->excluded >= 0)
            give(seat, FILTER_DELETE_RCPT, 0, "", m->recipients[e->excluded].address);
        if (e->is_held)
            give(seat, FILTER_QUARANTINE, 0, "", "it looks bad");
    }
    return (e->kinds & EDIT_BODY) == 0 || give_body(seat, e);
}

/* ---- what must come of it ---- */

static void put(struct sim_text *text, const char *form, unsigned number)
{
    char line[40];

    snprintf(line, sizeof(line), "%s%u\r\n", form, number);
    sim_put(text, bytes_of(line));
}

/* As plan and give_fields() say. */
static struct sim_text make(const struct message *m)
{
    unsigned kinds = m->edited.kinds;
    struct bytes all = bytes_make(m->text.at, m->text.len);
    size_t subject = (size_t)(scenario_search(all, SUBJECT) - (const char *)all.at);
    size_t body = (size_t)(scenario_search(all, "\r\n\r\n") - (const char *)all.at) + 2;
    struct sim_text text = {.len = 0};

    if ((kinds & EDIT_TOP) != 0)
        put(&text, "X-Top: ", m->id);
    sim_put(&text, bytes_first(all, subject));
    if ((kinds & (EDIT_NO_SUBJECT | EDIT_SUBJECT)) == 0)
        sim_put(&text, bytes_skip(bytes_first(all, body), subject));
    else if ((kinds & EDIT_NO_SUBJECT) == 0)
        put(&text, "Subject: other ", m->id);
    if ((kinds & EDIT_END) != 0)
        put(&text, "X-End: ", m->id);
    if ((kinds & EDIT_BODY) == 0) {
        sim_put(&text, bytes_skip(all, body));
    } else {
        sim_put(&text, bytes_of("\r\n"));
        sim_put(&text, bytes_make(m->edited.body.at, m->edited.body.len));
    }
    return text;
}

static bool matches(struct bytes text, struct bytes content, bool is_in_box)
{
    struct sim_text lines = {.len = 0};
    bool is_same;

    while (is_in_box && text.len > 0) { /* lines end with LF alone there */
        size_t len = bytes_find(text, '\r');
        sim_put(&lines, bytes_first(text, len));
        text = bytes_skip(text, len < text.len ? len + 1 : len);
    }
    if (is_in_box)
        text = bytes_make(lines.at, lines.len);
    is_same = content.len >= text.len &&
              bytes_equal(bytes_skip(content, content.len - text.len), text) &&
              (content.len == text.len || content.at[content.len - text.len - 1] == '\n');
    free(lines.at);
    return is_same;
}

bool message_is_whole(const struct scenario *s, const struct message *m, const struct story *r,
                      int target, struct bytes content)
{
    bool is_of_target = s->plan.filter.target >= 0, is_in_box = target == SCENARIO_BOX;
    bool is_edited = m->edited.is_made && (!is_of_target || s->plan.filter.target == target);
    struct bytes plain = bytes_make(m->text.at, m->text.len);
    struct sim_text text = make(m);
    struct bytes edited = bytes_make(text.at, text.len);
    bool is_whole = matches(is_edited ? edited : plain, content, is_in_box);

    /* Led elsewhere, it goes as it was for the target that it had first. */
    if (!is_whole && m->edited.is_made && is_of_target && r->was_rerouted)
        is_whole = matches(is_edited ? plain : edited, content, is_in_box);
    free(text.at);
    return is_whole;
}
