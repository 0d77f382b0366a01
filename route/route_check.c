/* SPDX-License-Identifier: BSD-2-Clause */
/* What can be said of tables before any mail comes: each line is tried with an address that it
 * alone was written for. */
#include "proxy/base/error.h"
#include "route/route_private.h"

/* In no address and in no pattern: stands for whatever no line names. */
#define ANY "\x01"

#define TRIALS_MAX 5000000 /* of lists with other lines' addresses */

struct check {
    const struct route_set *set;
    const struct route_directory *directory;
    struct cf_problems *problems;
    struct pool pool;
    struct arena arena; /* of one trial */
    size_t trial_count;
    bool is_bad;
};

/* ---- trials ---- */

/* The address that a pattern is the narrowest description of. */
static int typical(const struct route_rule *rule, struct arena *arena, struct address *address_out)
{
    struct bytes local = route_rule_local(rule), domain = route_rule_domain(rule);
    if (rule->pattern == ROUTE_PATTERN_SUBDOMAIN) {
        uint8_t *text = arena_alloc(arena, domain.len + 2);
        if (text == NULL)
            return ERR_MEMORY;
        memcpy(text, ANY ".", 2);
        memcpy(text + 2, domain.at, domain.len);
        domain = bytes_make(text, domain.len + 2);
    }
    *address_out = (struct address){
        .local = local.len > 0 ? local : bytes_of(ANY),
        .domain = domain.len > 0 ? domain : bytes_of(ANY),
        .is_literal = domain.len > 0 && domain.at[0] == '[',
    };
    return 0;
}

/* False: an earlier line takes that address. */
static int try_line(struct check *c, const struct route_rule *rule, const struct address *address,
                    struct route_walk *walk, bool *is_reached_out)
{
    int error = route_walk(c->set, address, rule->pattern == ROUTE_PATTERN_NAME, &c->arena, walk);
    *is_reached_out = error == 0 && walk->first->match.rule == rule;
    return error;
}

/* ---- loops ---- */

static size_t table_index(const struct route_set *set, const struct route_table *table)
{
    size_t i = 0;
    while (set->tables[i] != table)
        i++;
    return i;
}

static bool is_earlier(const struct route_set *set, const struct route_step *a,
                       const struct route_step *b)
{
    size_t i = table_index(set, a->table), j = table_index(set, b->table);
    return i != j ? i < j : a->match.rule < b->match.rule;
}

/* All lines of one loop find the same loop: it is told from the earliest. */
static void report_loop(struct check *c, const struct route_walk *walk)
{
    const struct route_step *steps[ROUTE_DEPTH_MAX + 1];
    size_t count = 0, first = 0;
    for (const struct route_step *s = walk->step;; s = s->parent) {
        steps[count++] = s;
        if (s == walk->again)
            break;
    }
    for (size_t i = 1; i < count; i++)
        if (is_earlier(c->set, steps[i], steps[first]))
            first = i;
    struct buf text;
    buf_init(&text, &c->pool, 4096);
    for (size_t i = 0; i <= count; i++) {
        const struct route_rule *rule = steps[(first + count * 2 - i) % count]->match.rule;
        buf_text(&text, i == 0 ? "a loop: " : i == 1 ? " leads to " : ", which leads to ");
        cf_put_shown(&text, rule->line->words[0].text);
    }
    if (text.has_failed)
        c->problems->has_no_memory = true;
    cf_fault(c->problems, steps[first]->match.rule->line->place, buf_bytes(&text));
    buf_done(&text);
    c->is_bad = true;
}

/* ---- lists ---- */

static const struct route_step *common_step(const struct route_step *a, const struct route_step *b)
{
    for (; a != NULL; a = a->parent)
        for (const struct route_step *s = b; s != NULL; s = s->parent)
            if (s == a)
                return a;
    return NULL;
}

/* The list whose members lead to two of them is the one that is wrong. */
static void report_firm(struct check *c, const struct route_walk *walk)
{
    const struct route_step *list = common_step(walk->firm[0]->step, walk->firm[1]->step);
    const struct route_action *member = walk->firm[1]->by;
    for (const struct route_step *s = walk->firm[1]->step; s != list; s = s->parent)
        member = s->by;
    const struct route_rule *rule = list->match.rule;
    cf_error(c->problems, route_rule_place(rule, member), rule->line->words[member->word].text,
             bytes_of("one relay at most in a list where one has on-failure = tempfail"),
             bytes_make(NULL, 0));
    c->is_bad = true;
}

/* A member that keeps a part of the address leads elsewhere for addresses that other lines name. */
static bool is_open_list(const struct route_table *table, const struct route_rule *rule)
{
    size_t count;
    const struct route_action *actions = route_rule_actions(table, rule, &count);
    if (count < 2 || rule->pattern == ROUTE_PATTERN_ADDRESS || rule->pattern == ROUTE_PATTERN_NAME)
        return false;
    for (size_t i = 0; i < count; i++)
        if (actions[i].kind == ROUTE_ACTION_ADDRESS &&
            (actions[i].address->local.len == 0 || actions[i].address->domain.len == 0))
            return true;
    return false;
}

static int try_list_with(struct check *c, const struct route_rule *rule,
                         const struct route_rule *other, bool *is_bad_out)
{
    struct address address, others;
    struct route_walk walk;
    bool is_reached = false;
    int error = typical(rule, &c->arena, &address);
    if (error == 0)
        error = typical(other, &c->arena, &others);
    if (error == 0) {
        if (rule->local_len == 0)
            address.local = others.local;
        if (rule->domain_len == 0)
            address.domain = others.domain;
        error = try_line(c, rule, &address, &walk, &is_reached);
    }
    if (error == 0 && is_reached && route_walk_is_unsafe(&walk)) {
        report_firm(c, &walk);
        *is_bad_out = true;
    }
    arena_reset(&c->arena);
    return error;
}

static int check_list(struct check *c, const struct route_rule *rule)
{
    bool is_bad = false;
    for (size_t t = 0; t < c->set->table_count; t++) {
        const struct route_table *table = c->set->tables[t];
        for (size_t i = 0; i < table->rule_count && !is_bad; i++) {
            if (table->rules[i].pattern == ROUTE_PATTERN_NAME || c->trial_count++ > TRIALS_MAX)
                continue;
            if (try_list_with(c, rule, &table->rules[i], &is_bad) != 0)
                return ERR_MEMORY;
        }
    }
    return 0;
}

/* ---- names ---- */

static struct bytes nearest_name(const struct check *c, struct bytes name)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    if (c->problems->kept == CF_PROBLEMS_MAX)
        return bytes_make(NULL, 0); /* nobody would see it */
    if (c->directory->offer != NULL)
        c->directory->offer(c->directory->owner, &nearest);
    for (size_t t = 0; t < c->set->table_count; t++) {
        const struct route_table *table = c->set->tables[t];
        for (size_t i = 0; i < table->rule_count; i++)
            if (table->rules[i].pattern == ROUTE_PATTERN_NAME)
                cf_nearest_offer(&nearest, route_rule_local(&table->rules[i]));
    }
    return cf_nearest_name(&nearest);
}

static int check_name(struct check *c, const struct route_rule *rule,
                      const struct route_action *action)
{
    struct address name = {.local = action->address->local};
    const struct route_table *unused;
    struct route_match match;
    struct route_walk walk;
    if (route_set_find_name(c->set, name.local, &unused, &match))
        return 0;
    int error = route_walk(c->set, &name, true, &c->arena, &walk);
    if (error == 0 && walk.trouble == ROUTE_TROUBLE_NOWHERE && walk.step == walk.first) {
        struct buf expected;
        buf_init(&expected, &c->pool, 4096);
        buf_put(&expected, c->directory->expected);
        buf_text(&expected, " that some line matches");
        cf_error(c->problems, route_rule_place(rule, action), rule->line->words[action->word].text,
                 buf_bytes(&expected), nearest_name(c, name.local));
        buf_done(&expected);
        c->is_bad = true;
    }
    arena_reset(&c->arena);
    return error;
}

/* ---- lines ---- */

static void report_nowhere(struct check *c, const struct route_walk *walk)
{
    const struct route_step *step = walk->step;
    if (step->parent != walk->first || step->is_name || step->by->address->local.len == 0 ||
        step->by->address->domain.len == 0)
        return;
    const struct route_rule *rule = step->parent->match.rule;
    cf_warning(c->problems, route_rule_place(rule, step->by),
               cf_phrase(c->problems, "no line matches ", rule->line->words[step->by->word].text,
                         ": such mail is refused"));
}

static void report(struct check *c, const struct route_rule *rule, const struct route_walk *walk)
{
    switch (walk->trouble) {
    case ROUTE_TROUBLE_LOOP:
        report_loop(c, walk);
        break;
    case ROUTE_TROUBLE_LONG:
        cf_fault(c->problems, rule->line->place,
                 bytes_of("rewritten more than 32 times without an end"));
        c->is_bad = true;
        break;
    case ROUTE_TROUBLE_WIDE:
        cf_fault(c->problems, rule->line->place,
                 bytes_of("leads to more than 1024 addresses, the most for one recipient"));
        c->is_bad = true;
        break;
    case ROUTE_TROUBLE_NOWHERE:
        report_nowhere(c, walk);
        break;
    case ROUTE_TROUBLE_NONE:
        break;
    }
    if (route_walk_is_unsafe(walk))
        report_firm(c, walk);
}

static int try_typical(struct check *c, const struct route_rule *rule)
{
    struct address address;
    struct route_walk walk;
    bool is_reached = false;
    int error = typical(rule, &c->arena, &address);
    if (error == 0)
        error = try_line(c, rule, &address, &walk, &is_reached);
    if (is_reached)
        report(c, rule, &walk);
    arena_reset(&c->arena);
    return error;
}

static int check_rule(struct check *c, const struct route_table *table,
                      const struct route_rule *rule)
{
    size_t count;
    const struct route_action *actions = route_rule_actions(table, rule, &count);
    int error = 0;
    if (count == 1 && actions->kind != ROUTE_ACTION_ADDRESS && actions->kind != ROUTE_ACTION_NAME)
        return 0;
    for (size_t i = 0; i < count && error == 0; i++)
        if (actions[i].kind == ROUTE_ACTION_NAME)
            error = check_name(c, rule, &actions[i]);
    if (error == 0)
        error = try_typical(c, rule);
    if (error == 0 && is_open_list(table, rule))
        error = check_list(c, rule);
    return error;
}

int route_check(const struct route_set *set, const struct route_directory *directory,
                struct cf_problems *problems)
{
    struct check c = {.set = set, .directory = directory, .problems = problems};
    int error = 0;
    pool_init(&c.pool, 4096, 4);
    arena_init(&c.arena, &c.pool, SIZE_MAX);
    for (size_t t = 0; t < set->table_count; t++)
        for (size_t i = 0; i < set->tables[t]->rule_count && error == 0; i++)
            error = check_rule(&c, set->tables[t], &set->tables[t]->rules[i]);
    arena_reset(&c.arena);
    pool_done(&c.pool);
    return error == 0 && c.is_bad ? ERR_SYNTAX : error;
}
