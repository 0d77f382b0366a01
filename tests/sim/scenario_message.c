/* SPDX-License-Identifier: BSD-2-Clause */
/* The messages of a scenario: what clients send, and how it is known again. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/scenario.h"

#define ID_FIELD     "X-Id: "
#define NARROW_BYTES 1000

/* ---- making them ---- */

/* As it is, and as it is said. */
static void put_line(struct sim_text *body, struct sim_text *said, const char *words,
                     unsigned number)
{
    char text[40] = ".";
    size_t len = 1;

    while (*words != '\0')
        text[len++] = *words++;
    if (len > 1) {
        text[len++] = ' ';
        if (number >= 10)
            text[len++] = (char)('0' + number / 10);
        text[len++] = (char)('0' + number % 10);
    }
    text[len++] = '\r';
    text[len++] = '\n';
    sim_put(body, bytes_make(text + 1, len - 1));
    sim_put(said, text[1] == '.' ? bytes_make(text, len) : bytes_make(text + 1, len - 1));
}

/* Of the lines of a message: some do not fit into memory. Where a connection takes few octets at a
 * time, one of those would take as long as a hundred others. */
static unsigned repetitions(struct scenario *s)
{
    uint32_t window = s->world->ways.window_bytes;

    if (!scenario_chance(s, s->plan.has_rot ? 12 : 3))
        return 1;
    return window > 0 && window < NARROW_BYTES ? 40 : 400;
}

static void put_content(struct scenario *s, struct message *m)
{
    static const char *const lines[] = {".", "..dots", "", "some text", ". a dot", "the last one?"};
    unsigned times = repetitions(s);
    struct sim_text body = {.len = 0}, said = {.len = 0};
    char text[80];

    snprintf(text, sizeof(text), ID_FIELD "%06u\r\nSubject: message %u\r\n\r\n", m->id, m->id);
    sim_put(&m->text, bytes_of(text));
    sim_put(&m->said, bytes_of(text));
    for (uint64_t i = scenario_below(s, 30); i > 0; i--)
        put_line(&body, &said, lines[scenario_below(s, ARRAY_LENGTH(lines))], (unsigned)i);
    for (unsigned i = 0; i < times; i++) {
        sim_put(&m->text, bytes_make(body.at, body.len));
        sim_put(&m->said, bytes_make(said.at, said.len));
    }
    sim_put(&m->said, bytes_of(".\r\n"));
    free(body.at);
    free(said.at);
}

/* The second leg of a list is a Maildir. */
static void plan_ways(struct story *r, uint64_t domain)
{
    static const unsigned ways[] = {1, 2, 1 << SCENARIO_BOX, 1 | 1 << SCENARIO_BOX,
                                    1 << SCENARIO_BOX};

    r->ways = ways[domain];
    r->legs = domain == 3 ? 2 : 1;
}

static uint64_t plan_domain(struct scenario *s)
{
    if (s->plan.crowds_boxes)
        return 2 + scenario_below(s, 3);
    return scenario_below(s, s->plan.has_boxes && scenario_chance(s, 20) ? 4 : 2);
}

static void plan_recipient(struct scenario *s, struct message *m, struct story *r, unsigned index)
{
    static const char *const domains[] = {"a.test", "b.test", "box.test", "list.test",
                                          "shelf.test"};
    uint64_t domain = plan_domain(s);
    const char *local = scenario_chance(s, 50) ? "joe" : "own";

    if (domain == 1 && s->targets.count < 2)
        domain = 0;
    plan_ways(r, domain);
    if (domain < 2 && scenario_chance(s, 25))
        local = scenario_chance(s, 30) ? "no" : "full"; /* 550; often 452 */
    r->wants_no_report = scenario_chance(s, 10);
    r->wants_success = !r->wants_no_report && scenario_chance(s, 20);
    if (scenario_chance(s, 50))
        snprintf(r->address, sizeof(r->address), "%s%ux%u@%s", local, m->id, index,
                 domains[domain]);
    else
        snprintf(r->address, sizeof(r->address), "%s%u@%s", local, index, domains[domain]);
}

struct message *message_new(struct scenario *s, unsigned client, unsigned recipient_count)
{
    struct message *m = sim_alloc(sizeof(*m));

    m->id = ++s->message_count;
    m->edited.excluded = -1;
    m->client = client;
    snprintf(m->sender, sizeof(m->sender), "s%u@%s", m->id,
             scenario_chance(s, 85) ? "client.test" : "far.test"); /* where no route leads */
    m->recipient_count = recipient_count;
    for (unsigned i = 0; i < recipient_count; i++)
        plan_recipient(s, m, &m->recipients[i], i);
    put_content(s, m);
    list_append(&s->messages, &m->link);
    return m;
}

void messages_free(struct scenario *s)
{
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        free(m->text.at);
        free(m->said.at);
        edit_forget(m);
        free(m);
    }
}

/* ---- knowing them again ---- */

const char *scenario_search(struct bytes in, const char *what)
{
    return in.len == 0 ? NULL : memmem(in.at, in.len, what, strlen(what));
}

static struct message *message_of_id(struct scenario *s, unsigned id)
{
    LIST_EACH (link, &s->messages) {
        struct message *m = LIST_ENTRY(link, struct message, link);
        if (m->id == id)
            return m;
    }
    return NULL;
}

struct message *message_find(struct scenario *s, struct bytes content)
{
    const char *field = scenario_search(content, ID_FIELD);

    return field == NULL ? NULL : message_of_id(s, (unsigned)atoi(field + strlen(ID_FIELD)));
}

struct message *message_of_sender(struct scenario *s, struct bytes address)
{
    char text[16] = "";
    struct message *m;

    snprintf(text, sizeof(text), "%.*s", (int)address.len, (const char *)address.at);
    m = text[0] == 's' ? message_of_id(s, (unsigned)atoi(text + 1)) : NULL;
    return m != NULL && bytes_is(address, m->sender) ? m : NULL;
}

struct story *message_story(struct message *m, struct bytes address)
{
    for (unsigned i = 0; m != NULL && i < m->recipient_count; i++)
        if (bytes_is(address, m->recipients[i].address))
            return &m->recipients[i];
    return NULL;
}
