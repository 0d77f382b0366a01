/* SPDX-License-Identifier: BSD-2-Clause */
/* One routing table: compiling its lines, and finding the first that matches. */
#include "route/route_table.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"

#define RULES_MAX   ((size_t)UINT32_MAX - 1)
#define FIRST_SLOTS 8
#define LOCAL_MAX   255 /* of a line */
#define KEY_MAX     (LOCAL_MAX + 1 + ADDRESS_DOMAIN_MAX)

static const char expected_pattern[] =
    "user@domain, @domain, @.domain, user@, user or @, in the form of RFC 5321";

/* ---- slots ---- */

/* What is looked for; local parts and domains are in any case. */
struct wanted {
    unsigned kind; /* enum route_pattern, or ROUTE_SLOTS_DOMAIN */
    struct bytes local, domain;
};

/* RFC 5321 4.5.1: postmaster is the same in any case, everywhere. */
static bool is_exact(bool is_case_sensitive, struct bytes local)
{
    return is_case_sensitive && !bytes_is_nocase(local, "postmaster");
}

static bool is_wanted(const struct route_rule *rule, bool is_case_sensitive,
                      const struct wanted *wanted)
{
    if (!bytes_equal_nocase(route_rule_domain(rule), wanted->domain))
        return false;
    if (wanted->kind == ROUTE_SLOTS_DOMAIN)
        return true;
    return is_exact(is_case_sensitive, wanted->local)
               ? bytes_equal(route_rule_local(rule), wanted->local)
               : bytes_equal_nocase(route_rule_local(rule), wanted->local);
}

static uint64_t hash_of(const struct hash_key *key, bool is_case_sensitive,
                        const struct wanted *wanted)
{
    uint8_t text[KEY_MAX];
    size_t len = wanted->local.len;
    bool keeps_case = is_exact(is_case_sensitive, wanted->local);
    assert(len <= LOCAL_MAX && wanted->domain.len <= ADDRESS_DOMAIN_MAX);
    for (size_t i = 0; i < len; i++)
        text[i] = keeps_case ? wanted->local.at[i] : byte_lower(wanted->local.at[i]);
    if (wanted->domain.len > 0)
        text[len++] = '@';
    for (size_t i = 0; i < wanted->domain.len; i++)
        text[len++] = byte_lower(wanted->domain.at[i]);
    return hash_bytes(key, bytes_make(text, len));
}

/* The slot that holds what is wanted, or the empty one where it belongs. */
static struct route_slot *probe(const struct route_slots *slots, const struct route_rule *rules,
                                bool is_case_sensitive, uint64_t hash, const struct wanted *wanted)
{
    size_t at = (size_t)hash & (slots->count - 1);
    uint32_t tag = (uint32_t)(hash >> 32);
    assert(slots->used < slots->count);
    while (slots->at[at].rule != 0 &&
           (slots->at[at].tag != tag ||
            !is_wanted(&rules[slots->at[at].rule - 1], is_case_sensitive, wanted)))
        at = (at + 1) & (slots->count - 1);
    return &slots->at[at];
}

/* ---- reading ---- */

struct reading {
    const struct route_table_names *names;
    struct arena *arena;
    struct cf_problems *problems;
    struct route_table *table;
    struct route_rule *rules;
    struct route_action *actions;
    size_t action_count, action_max;
    size_t pattern_counts[ROUTE_PATTERN_COUNT];
    struct route_slots domains; /* grow here, and are copied into the arena at the end */
    bool is_bad;
};

static void refuse(struct reading *reading, const struct route_line *line,
                   const struct route_word *word, const char *expected)
{
    cf_error(reading->problems, route_source_place(line, word), word->text, bytes_of(expected),
             bytes_make(NULL, 0));
    reading->is_bad = true;
}

static int refuse_name(struct reading *reading, const struct route_line *line,
                       const struct route_word *word)
{
    cf_error(reading->problems, route_source_place(line, word), word->text,
             reading->names->expected, bytes_make(NULL, 0));
    reading->is_bad = true;
    return ERR_SYNTAX;
}

/* A host name or a literal. */
static bool is_domain(struct bytes text)
{
    return text.len <= ADDRESS_DOMAIN_MAX && (text_is_host_name(text) || address_is_literal(text));
}

/* Splits a pattern, or an address on the right-hand side, into its parts. */
static int parse_parts(struct reading *reading, struct bytes text, unsigned *kind_out,
                       struct address *parts_out)
{
    struct address parts = {.is_literal = false};
    assert(text.len > 0);
    if (text.at[0] == '@') {
        bool is_subdomain = text.len > 1 && text.at[1] == '.';
        parts.domain = bytes_skip(text, is_subdomain ? 2 : 1);
        *kind_out = text.len == 1  ? ROUTE_PATTERN_ALL
                    : is_subdomain ? ROUTE_PATTERN_SUBDOMAIN
                                   : ROUTE_PATTERN_DOMAIN;
        if (text.len > 1 &&
            !(is_subdomain ? text_is_host_name(parts.domain) : is_domain(parts.domain)))
            return ERR_SYNTAX;
    } else {
        bool has_no_domain = text.at[text.len - 1] == '@';
        int error = address_parse_mailbox(bytes_first(text, text.len - has_no_domain),
                                          reading->arena, &parts);
        if (error != 0)
            return error == ERR_MEMORY ? error : ERR_SYNTAX;
        if ((has_no_domain && parts.domain.len > 0) || parts.local.len > LOCAL_MAX)
            return ERR_SYNTAX;
        *kind_out = has_no_domain          ? ROUTE_PATTERN_USER
                    : parts.domain.len > 0 ? ROUTE_PATTERN_ADDRESS
                                           : ROUTE_PATTERN_NAME;
    }
    parts.is_literal = parts.domain.len > 0 && parts.domain.at[0] == '[';
    *parts_out = parts;
    return 0;
}

/* Stores both parts side by side. In most lines they stand so already. */
static int set_text(struct reading *reading, struct route_rule *rule, const struct address *parts)
{
    size_t local_len = parts->local.len, domain_len = parts->domain.len;
    assert(local_len <= UINT8_MAX && domain_len <= UINT8_MAX);
    rule->local_len = (uint8_t)local_len;
    rule->domain_len = (uint8_t)domain_len;
    if (domain_len == 0) {
        rule->text = parts->local.at;
    } else if (local_len == 0) {
        rule->text = parts->domain.at - 1;
    } else if (parts->local.at + local_len + 1 == parts->domain.at) {
        rule->text = parts->local.at;
    } else {
        uint8_t *text = arena_alloc(reading->arena, local_len + 1 + domain_len);
        if (text == NULL)
            return ERR_MEMORY;
        memcpy(text, parts->local.at, local_len);
        text[local_len] = '@';
        memcpy(text + local_len + 1, parts->domain.at, domain_len);
        rule->text = text;
    }
    return 0;
}

static int read_pattern(struct reading *reading, const struct route_line *line,
                        struct route_rule *rule)
{
    struct address parts;
    unsigned kind;
    int error = line->words[0].text.len == 0
                    ? ERR_SYNTAX
                    : parse_parts(reading, line->words[0].text, &kind, &parts);
    if (error == ERR_SYNTAX) {
        refuse(reading, line, &line->words[0], expected_pattern);
        return error;
    }
    if (error == 0)
        error = set_text(reading, rule, &parts);
    rule->pattern = (uint8_t)kind;
    return error;
}

/* ---- right-hand sides ---- */

/* reject "5xx text", defer "4xx text" */
static int read_answer(struct reading *reading, const struct route_line *line,
                       const struct route_word *words, size_t count, struct route_action *action)
{
    bool is_reject = bytes_is(words[0].text, "reject");
    const char *expected = is_reject ? "a reply in quotes: reject \"550 5.1.1 text\""
                                     : "a reply in quotes: defer \"450 4.2.1 text\"";
    struct reply reply, *kept;
    if (count != 2 || words[1].text.len == 0 || words[1].text.at[0] != (is_reject ? '5' : '4')) {
        refuse(reading, line, &words[count > 2 ? 2 : count - 1], expected);
        return ERR_SYNTAX;
    }
    int error = reply_make(reading->arena, words[1].text, &reply);
    if (error == ERR_SYNTAX)
        refuse(reading, line, &words[1], expected);
    if (error != 0)
        return error;
    kept = arena_alloc(reading->arena, sizeof(*kept));
    if (kept == NULL)
        return ERR_MEMORY;
    *kept = reply;
    action->kind = ROUTE_ACTION_REPLY;
    action->reply = kept;
    return 0;
}

/* user@domain, @domain, user@, user */
static int read_address(struct reading *reading, const struct route_line *line,
                        const struct route_word *word, struct route_action *action)
{
    struct address parts, *kept;
    unsigned kind;
    int error = parse_parts(reading, word->text, &kind, &parts);
    if (error == ERR_MEMORY)
        return error;
    if (error != 0 || kind == ROUTE_PATTERN_ALL || kind == ROUTE_PATTERN_SUBDOMAIN ||
        (kind == ROUTE_PATTERN_ADDRESS && parts.local.len == 0))
        return refuse_name(reading, line, word);
    kept = arena_alloc(reading->arena, sizeof(*kept));
    if (kept == NULL)
        return ERR_MEMORY;
    *kept = parts;
    action->kind = kind == ROUTE_PATTERN_NAME ? ROUTE_ACTION_NAME : ROUTE_ACTION_ADDRESS;
    action->address = kept;
    return 0;
}

/* One word that is no keyword: the name of a section, else a host, else an address. */
static int read_name(struct reading *reading, const struct route_line *line,
                     const struct route_word *word, struct route_action *action)
{
    if (word->text.len == 0 || word->text.at[0] == '|')
        return refuse_name(reading, line, word);
    action->kind = ROUTE_ACTION_TARGET;
    action->target = reading->names->find(reading->names->owner, word->text);
    if (action->target != NULL)
        return 0;
    if (word->is_quoted || bytes_find(word->text, '@') < word->text.len ||
        bytes_find(word->text, '.') == word->text.len)
        return read_address(reading, line, word, action);
    if (!text_is_host_name(word->text))
        return refuse_name(reading, line, word);
    action->target = reading->names->find_implicit(reading->names->owner, word->text);
    return action->target == NULL ? ERR_MEMORY : 0;
}

static int read_target(struct reading *reading, const struct route_line *line,
                       const struct route_word *words, size_t count, struct route_action *action)
{
    bool is_discard = !words[0].is_quoted && bytes_is(words[0].text, "discard");
    bool is_answer = !words[0].is_quoted &&
                     (bytes_is(words[0].text, "reject") || bytes_is(words[0].text, "defer"));
    action->word = (uint32_t)(words - line->words);
    if (is_answer)
        return read_answer(reading, line, words, count, action);
    if (count > 1) {
        refuse(reading, line, &words[1], "a comma or the end of the line");
        return ERR_SYNTAX;
    }
    if (!is_discard)
        return read_name(reading, line, words, action);
    action->kind = ROUTE_ACTION_DISCARD;
    return 0;
}

static bool stands_alone(const struct route_action *action)
{
    return action->kind == ROUTE_ACTION_REPLY || action->kind == ROUTE_ACTION_DISCARD;
}

static int read_targets(struct reading *reading, const struct route_line *line)
{
    size_t first = reading->action_count;
    for (uint32_t i = 1, end; i < line->word_count; i = end) {
        struct route_action *action = &reading->actions[reading->action_count];
        assert(reading->action_count < reading->action_max);
        for (end = i; end < line->word_count && !line->words[end++].ends_target;)
            ;
        int error = read_target(reading, line, &line->words[i], end - i, action);
        if (error == ERR_MEMORY)
            return error;
        if (error != 0)
            continue;
        reading->action_count++;
        if (stands_alone(action) && (i > 1 || end < line->word_count))
            refuse(reading, line, &line->words[i], "a target: what stands here has to stand alone");
    }
    return reading->action_count == first ? ERR_SYNTAX : 0;
}

static int read_line(struct reading *reading, const struct route_line *line)
{
    struct route_table *table = reading->table;
    struct route_rule *rule = &reading->rules[table->rule_count];
    size_t first = reading->action_count;
    assert(table->rule_count < table->source->line_count);
    int error = read_pattern(reading, line, rule);
    int targets_error = error == ERR_MEMORY ? 0 : read_targets(reading, line);
    if (error != 0 || targets_error != 0) {
        reading->action_count = first;
        return error == ERR_MEMORY ? error : targets_error;
    }
    rule->line = line;
    rule->first_action = (uint32_t)first;
    reading->pattern_counts[rule->pattern]++;
    table->rule_count++;
    if (rule->pattern == ROUTE_PATTERN_ALL && table->all == 0)
        table->all = (uint32_t)table->rule_count;
    return 0;
}

static int read_lines(struct reading *reading)
{
    const struct route_source *source = reading->table->source;
    size_t targets = 0;
    for (const struct route_line *line = source->first; line != NULL; line = line->next)
        for (uint32_t i = 1; i < line->word_count; i++)
            targets += line->words[i].ends_target || i + 1 == line->word_count;
    if (source->line_count > RULES_MAX || targets > UINT32_MAX)
        return ERR_MEMORY;
    reading->rules =
        arena_alloc(reading->arena, (source->line_count + 1) * sizeof(*reading->rules));
    reading->action_max = targets;
    reading->actions = arena_alloc(reading->arena, (targets + 1) * sizeof(*reading->actions));
    if (reading->rules == NULL || reading->actions == NULL)
        return ERR_MEMORY;
    for (const struct route_line *line = source->first; line != NULL; line = line->next)
        if (read_line(reading, line) == ERR_MEMORY)
            return ERR_MEMORY;
    reading->rules[reading->table->rule_count].first_action = (uint32_t)reading->action_count;
    reading->table->rules = reading->rules;
    reading->table->actions = reading->actions;
    return 0;
}

/* ---- filling the slots ---- */

static size_t slots_for(size_t rule_count)
{
    size_t count = FIRST_SLOTS;
    while (count / 4 * 3 < rule_count)
        count *= 2;
    return count;
}

static uint64_t hash_rule(const struct reading *reading, const struct route_rule *rule,
                          unsigned kind, struct wanted *wanted_out)
{
    *wanted_out = (struct wanted){.kind = kind, .domain = route_rule_domain(rule)};
    if (kind != ROUTE_SLOTS_DOMAIN)
        wanted_out->local = route_rule_local(rule);
    return hash_of(&reading->table->key, reading->table->source->is_case_sensitive, wanted_out);
}

static bool has_target(const struct reading *reading, uint32_t rule)
{
    return reading->actions[reading->rules[rule - 1].first_action].kind == ROUTE_ACTION_TARGET;
}

/* The first line of a pattern has the slot; among the lines of a domain, the first one with a
 * target. */
static void fill_slot(struct reading *reading, struct route_slots *slots, unsigned kind,
                      uint32_t rule)
{
    struct wanted wanted;
    uint64_t hash = hash_rule(reading, &reading->rules[rule - 1], kind, &wanted);
    struct route_slot *slot =
        probe(slots, reading->rules, reading->table->source->is_case_sensitive, hash, &wanted);
    if (slot->rule == 0)
        slots->used++;
    else if (kind != ROUTE_SLOTS_DOMAIN || has_target(reading, slot->rule) ||
             !has_target(reading, rule))
        return;
    *slot = (struct route_slot){.tag = (uint32_t)(hash >> 32), .rule = rule};
}

static int grow_domains(struct reading *reading)
{
    struct route_slots old = reading->domains;
    struct route_slots grown = {.count = slots_for(2 * old.used)};
    grown.at = mem_zalloc(grown.count * sizeof(*grown.at));
    if (grown.at == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < old.count; i++)
        if (old.at[i].rule != 0)
            fill_slot(reading, &grown, ROUTE_SLOTS_DOMAIN, old.at[i].rule);
    mem_free(old.at);
    reading->domains = grown;
    return 0;
}

static int make_slots(struct reading *reading, size_t count, struct route_slots *slots)
{
    slots->count = count;
    slots->at = arena_alloc(reading->arena, count * sizeof(*slots->at));
    return slots->at == NULL ? ERR_MEMORY : 0;
}

/* Copies the slots of the domains, whose number is known only now. */
static int keep_domains(struct reading *reading)
{
    struct route_slots *slots = &reading->table->slots[ROUTE_SLOTS_DOMAIN];
    if (reading->domains.used == 0)
        return 0;
    if (make_slots(reading, reading->domains.count, slots) != 0)
        return ERR_MEMORY;
    memcpy(slots->at, reading->domains.at, slots->count * sizeof(*slots->at));
    slots->used = reading->domains.used;
    return 0;
}

static int fill_slots(struct reading *reading)
{
    struct route_slots *slots = reading->table->slots;
    for (unsigned kind = 0; kind < ROUTE_PATTERN_COUNT; kind++)
        if (reading->pattern_counts[kind] > 0 && kind != ROUTE_PATTERN_ALL &&
            make_slots(reading, slots_for(reading->pattern_counts[kind]), &slots[kind]) != 0)
            return ERR_MEMORY;
    for (uint32_t i = 1; i <= reading->table->rule_count; i++) {
        unsigned kind = reading->rules[i - 1].pattern;
        if (kind != ROUTE_PATTERN_ALL)
            fill_slot(reading, &slots[kind], kind, i);
        if (kind != ROUTE_PATTERN_ADDRESS)
            continue;
        if (reading->domains.used >= reading->domains.count / 4 * 3 && grow_domains(reading) != 0)
            return ERR_MEMORY;
        fill_slot(reading, &reading->domains, ROUTE_SLOTS_DOMAIN, i);
    }
    return keep_domains(reading);
}

int route_table_new(const struct route_source *source, const struct route_table_names *names,
                    struct hash_key key, struct arena *arena, struct cf_problems *problems,
                    struct route_table **table_out)
{
    struct reading reading = {.names = names, .arena = arena, .problems = problems};
    reading.table = arena_alloc(arena, sizeof(*reading.table));
    if (reading.table == NULL)
        return ERR_MEMORY;
    reading.table->source = source;
    reading.table->key = key;
    int error = read_lines(&reading);
    if (error == 0)
        error = fill_slots(&reading);
    mem_free(reading.domains.at);
    if (error == 0 && reading.is_bad)
        error = ERR_SYNTAX;
    if (error == 0)
        *table_out = reading.table;
    return error;
}

/* ---- looking up ---- */

static const struct route_rule *find(const struct route_table *table, const struct wanted *wanted)
{
    bool is_case_sensitive = table->source->is_case_sensitive;
    const struct route_slots *slots = &table->slots[wanted->kind];
    assert(wanted->kind <= ROUTE_SLOTS_DOMAIN);
    if (slots->count == 0 || wanted->local.len > LOCAL_MAX ||
        wanted->domain.len > ADDRESS_DOMAIN_MAX)
        return NULL;
    uint64_t hash = hash_of(&table->key, is_case_sensitive, wanted);
    uint32_t rule = probe(slots, table->rules, is_case_sensitive, hash, wanted)->rule;
    return rule == 0 ? NULL : &table->rules[rule - 1];
}

/* Looks for a line, and keeps it if it stands before the best one so far. True: it was kept. */
static bool offer(const struct route_table *table, enum route_pattern pattern, struct bytes local,
                  struct bytes domain, struct route_match *best)
{
    const struct route_rule *rule =
        find(table, &(struct wanted){.kind = pattern, .local = local, .domain = domain});
    if (rule == NULL || (best->rule != NULL && rule >= best->rule))
        return false;
    *best = (struct route_match){.rule = rule};
    return true;
}

/* Looks for lines with this local part, and with what stands in front of the delimiter. */
static void offer_local(const struct route_table *table, enum route_pattern pattern,
                        struct bytes local, struct bytes domain, struct route_match *best)
{
    struct bytes stripped = route_table_strip(table, local);
    (void)offer(table, pattern, local, domain, best);
    if (stripped.len < local.len && offer(table, pattern, stripped, domain, best))
        best->is_stripped = true;
}

static void offer_subdomains(const struct route_table *table, struct bytes domain,
                             struct route_match *best)
{
    struct bytes none = bytes_make(NULL, 0), rest = domain;
    if (table->slots[ROUTE_PATTERN_SUBDOMAIN].count == 0)
        return;
    for (size_t dot = bytes_find(rest, '.'); dot < rest.len; dot = bytes_find(rest, '.')) {
        rest = bytes_skip(rest, dot + 1);
        (void)offer(table, ROUTE_PATTERN_SUBDOMAIN, none, rest, best);
    }
}

struct bytes route_table_strip(const struct route_table *table, struct bytes local)
{
    if (table->source->recipient_delimiter == 0 || local.len < 2)
        return local;
    return bytes_first(local,
                       1 + bytes_find(bytes_skip(local, 1), table->source->recipient_delimiter));
}

static bool finish(const struct route_match *best, struct route_match *match_out)
{
    if (best->rule == NULL)
        return false;
    *match_out = *best;
    return true;
}

bool route_table_find(const struct route_table *table, const struct address *address,
                      struct route_match *match_out)
{
    struct bytes none = bytes_make(NULL, 0), local = address->local, domain = address->domain;
    struct route_match best = {.rule = table->all > 0 ? &table->rules[table->all - 1] : NULL};
    offer_local(table, ROUTE_PATTERN_USER, local, none, &best);
    if (domain.len == 0)
        return finish(&best, match_out);
    offer_local(table, ROUTE_PATTERN_ADDRESS, local, domain, &best);
    (void)offer(table, ROUTE_PATTERN_DOMAIN, none, domain, &best);
    if (domain.at[0] != '[')
        offer_subdomains(table, domain, &best);
    return finish(&best, match_out);
}

bool route_table_find_name(const struct route_table *table, struct bytes name,
                           struct route_match *match_out)
{
    struct route_match best = {.rule = NULL};
    offer_local(table, ROUTE_PATTERN_NAME, name, bytes_make(NULL, 0), &best);
    return finish(&best, match_out);
}

const struct route_rule *route_table_find_domain(const struct route_table *table,
                                                 struct bytes domain)
{
    return find(table, &(struct wanted){.kind = ROUTE_SLOTS_DOMAIN, .domain = domain});
}
