/* SPDX-License-Identifier: BSD-2-Clause */
/* Checks tables before any mail comes: each line is tried with an address that the line was written
 * for. */
#include "proxy/base/error.h"
#include "route/route_private.h"

/* Occurs in no address and in no pattern: stands for any part that no line names. */
#define ANY "\x01"

#define TRIALS_MAX 5000000 /* of lists with addresses of other lines */

struct check {
    const struct route_set *set;
    const struct route_directory *directory;
    struct cf_problems *problems;
    struct pool pool;
    struct arena arena; /* emptied after each trial */
    size_t trial_count;
    bool is_bad;
};

/* ---- trials ---- */

/* The address that matches this pattern and, if possible, no other. */
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

/* *is_reached_out: false when an earlier line matches the address. */
static int try_line(struct check *check, const struct route_rule *rule,
                    const struct address *address, struct route_walk *walk, bool *is_reached_out)
{
    bool is_name = rule->pattern == ROUTE_PATTERN_NAME;
    int error = route_walk(check->set, address, is_name ? ROUTE_WALK_NAME : ROUTE_WALK_ADDRESS,
                           &check->arena, walk);
    *is_reached_out = error == 0 && walk->first->match.rule == rule;
    return error;
}

/* ---- loops ---- */

static size_t table_index(const struct route_set *set, const struct route_table *table)
{
    size_t i = 0;
    while (i < set->table_count && set->tables[i] != table)
        i++;
    assert(i < set->table_count);
    return i;
}

static bool is_earlier(const struct route_set *set, const struct route_step *a,
                       const struct route_step *b)
{
    size_t i = table_index(set, a->table), j = table_index(set, b->table);
    return i != j ? i < j : a->match.rule < b->match.rule;
}

/* Every line of a loop finds the loop. It is reported at the earliest of them, and so only once. */
static void report_loop(struct check *check, const struct route_walk *walk)
{
    const struct route_step *steps[ROUTE_DEPTH_MAX + 1];
    size_t count = 0, first = 0;
    for (const struct route_step *step = walk->step;; step = step->parent) {
        assert(step != NULL && count < ARRAY_LENGTH(steps));
        steps[count++] = step;
        if (step == walk->again)
            break;
    }
    for (size_t i = 1; i < count; i++)
        if (is_earlier(check->set, steps[i], steps[first]))
            first = i;
    struct buf text;
    buf_init(&text, &check->pool, 4096);
    for (size_t i = 0; i <= count; i++) {
        const struct route_rule *rule = steps[(first + count * 2 - i) % count]->match.rule;
        buf_text(&text, i == 0 ? "a loop: " : i == 1 ? " leads to " : ", which leads to ");
        cf_put_shown(&text, rule->line->words[0].text);
    }
    if (text.has_failed)
        check->problems->has_no_memory = true;
    cf_fault(check->problems, steps[first]->match.rule->line->place, buf_bytes(&text));
    buf_done(&text);
    check->is_bad = true;
}

/* ---- lists ---- */

static const struct route_step *common_step(const struct route_step *a, const struct route_step *b)
{
    for (; a != NULL; a = a->parent)
        for (const struct route_step *step = b; step != NULL; step = step->parent)
            if (step == a)
                return a;
    return NULL;
}

/* Reports the list whose members lead to two firm targets. */
static void report_firm(struct check *check, const struct route_walk *walk)
{
    const struct route_step *list = common_step(walk->firm[0]->step, walk->firm[1]->step);
    const struct route_action *member = walk->firm[1]->by;
    for (const struct route_step *step = walk->firm[1]->step; step != list; step = step->parent)
        member = step->by;
    assert(list != NULL && member != NULL);
    const struct route_rule *rule = list->match.rule;
    cf_error(check->problems, route_rule_place(rule, member), rule->line->words[member->word].text,
             bytes_of("one relay at most in a list where one has on-failure = tempfail"),
             bytes_make(NULL, 0));
    check->is_bad = true;
}

/* A list with a member that keeps a part of the address leads elsewhere for addresses that other
 * lines name. */
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

static int try_list_with(struct check *check, const struct route_rule *rule,
                         const struct route_rule *other, bool *is_bad_out)
{
    struct address address, others;
    struct route_walk walk;
    bool is_reached = false;
    int error = typical(rule, &check->arena, &address);
    if (error == 0)
        error = typical(other, &check->arena, &others);
    if (error == 0) {
        if (rule->local_len == 0)
            address.local = others.local;
        if (rule->domain_len == 0)
            address.domain = others.domain;
        error = try_line(check, rule, &address, &walk, &is_reached);
    }
    if (error == 0 && is_reached && route_walk_is_unsafe(&walk)) {
        report_firm(check, &walk);
        *is_bad_out = true;
    }
    arena_reset(&check->arena);
    return error;
}

static int check_list(struct check *check, const struct route_rule *rule)
{
    bool is_bad = false;
    for (size_t t = 0; t < check->set->table_count; t++) {
        const struct route_table *table = check->set->tables[t];
        for (size_t i = 0; i < table->rule_count && !is_bad; i++) {
            if (table->rules[i].pattern == ROUTE_PATTERN_NAME || check->trial_count++ > TRIALS_MAX)
                continue;
            if (try_list_with(check, rule, &table->rules[i], &is_bad) != 0)
                return ERR_MEMORY;
        }
    }
    return 0;
}

/* ---- names ---- */

static struct bytes nearest_name(const struct check *check, struct bytes name)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    if (check->problems->kept == CF_PROBLEMS_MAX)
        return bytes_make(NULL, 0); /* it would not be shown */
    if (check->directory->offer != NULL)
        check->directory->offer(check->directory->owner, &nearest);
    for (size_t t = 0; t < check->set->table_count; t++) {
        const struct route_table *table = check->set->tables[t];
        for (size_t i = 0; i < table->rule_count; i++)
            if (table->rules[i].pattern == ROUTE_PATTERN_NAME)
                cf_nearest_offer(&nearest, route_rule_local(&table->rules[i]));
    }
    return cf_nearest_name(&nearest);
}

static int check_name(struct check *check, const struct route_rule *rule,
                      const struct route_action *action)
{
    struct address name = {.local = action->address->local};
    const struct route_table *unused;
    struct route_match match;
    struct route_walk walk;
    if (route_set_find_name(check->set, name.local, &unused, &match))
        return 0;
    int error = route_walk(check->set, &name, ROUTE_WALK_NAME, &check->arena, &walk);
    if (error == 0 && walk.trouble == ROUTE_TROUBLE_NOWHERE && walk.step == walk.first) {
        struct buf expected;
        buf_init(&expected, &check->pool, 4096);
        buf_put(&expected, check->directory->expected);
        buf_text(&expected, " that some line matches");
        cf_error(check->problems, route_rule_place(rule, action),
                 rule->line->words[action->word].text, buf_bytes(&expected),
                 nearest_name(check, name.local));
        buf_done(&expected);
        check->is_bad = true;
    }
    arena_reset(&check->arena);
    return error;
}

/* ---- lines ---- */

static void report_nowhere(struct check *check, const struct route_walk *walk)
{
    const struct route_step *step = walk->step;
    if (step->parent != walk->first || step->is_name || step->by->address->local.len == 0 ||
        step->by->address->domain.len == 0)
        return;
    const struct route_rule *rule = step->parent->match.rule;
    cf_warning(check->problems, route_rule_place(rule, step->by),
               cf_phrase(check->problems, "no line matches ",
                         rule->line->words[step->by->word].text, ": such mail is refused"));
}

static void report(struct check *check, const struct route_rule *rule,
                   const struct route_walk *walk)
{
    switch (walk->trouble) {
    case ROUTE_TROUBLE_LOOP:
        report_loop(check, walk);
        break;
    case ROUTE_TROUBLE_LONG:
        cf_fault(check->problems, rule->line->place,
                 bytes_of("rewritten more than 32 times without an end"));
        check->is_bad = true;
        break;
    case ROUTE_TROUBLE_WIDE:
        cf_fault(check->problems, rule->line->place,
                 bytes_of("leads to more than 1024 addresses, the most for one recipient"));
        check->is_bad = true;
        break;
    case ROUTE_TROUBLE_NOWHERE:
        report_nowhere(check, walk);
        break;
    case ROUTE_TROUBLE_NONE:
        break;
    }
    if (route_walk_is_unsafe(walk))
        report_firm(check, walk);
}

static int try_typical(struct check *check, const struct route_rule *rule)
{
    struct address address;
    struct route_walk walk;
    bool is_reached = false;
    int error = typical(rule, &check->arena, &address);
    if (error == 0)
        error = try_line(check, rule, &address, &walk, &is_reached);
    if (is_reached)
        report(check, rule, &walk);
    arena_reset(&check->arena);
    return error;
}

static int check_rule(struct check *check, const struct route_table *table,
                      const struct route_rule *rule)
{
    size_t count;
    const struct route_action *actions = route_rule_actions(table, rule, &count);
    int error = 0;
    if (count == 1 && actions->kind != ROUTE_ACTION_ADDRESS && actions->kind != ROUTE_ACTION_NAME)
        return 0;
    for (size_t i = 0; i < count && error == 0; i++)
        if (actions[i].kind == ROUTE_ACTION_NAME)
            error = check_name(check, rule, &actions[i]);
    if (error == 0)
        error = try_typical(check, rule);
    if (error == 0 && is_open_list(table, rule))
        error = check_list(check, rule);
    return error;
}

int route_check(const struct route_set *set, const struct route_directory *directory,
                struct cf_problems *problems)
{
    struct check check = {.set = set, .directory = directory, .problems = problems};
    int error = 0;
    pool_init(&check.pool, 4096, 4);
    arena_init(&check.arena, &check.pool, SIZE_MAX);
    for (size_t t = 0; t < set->table_count; t++)
        for (size_t i = 0; i < set->tables[t]->rule_count && error == 0; i++)
            error = check_rule(&check, set->tables[t], &set->tables[t]->rules[i]);
    arena_reset(&check.arena);
    pool_done(&check.pool);
    return error == 0 && check.is_bad ? ERR_SYNTAX : error;
}
