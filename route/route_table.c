/* SPDX-License-Identifier: BSD-2-Clause */
/* One routing table: reading its lines, and finding the first that matches. */
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

/* What is looked for; local parts and domains may be in any case. */
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
    for (size_t i = 0; i < len; i++)
        text[i] = keeps_case ? wanted->local.at[i] : byte_lower(wanted->local.at[i]);
    if (wanted->domain.len > 0)
        text[len++] = '@';
    for (size_t i = 0; i < wanted->domain.len; i++)
        text[len++] = byte_lower(wanted->domain.at[i]);
    return hash_bytes(key, bytes_make(text, len));
}

/* The slot of what is wanted, or the empty one where it belongs. */
static struct route_slot *probe(const struct route_slots *slots, const struct route_rule *rules,
                                bool is_case_sensitive, uint64_t hash, const struct wanted *wanted)
{
    size_t at = (size_t)hash & (slots->count - 1);
    uint32_t tag = (uint32_t)(hash >> 32);
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
    size_t action_count;
    size_t pattern_counts[ROUTE_PATTERN_COUNT];
    struct route_slots domains; /* grow, and are copied into the arena at the end */
    bool is_bad;
};

static void refuse(struct reading *r, const struct route_line *line, const struct route_word *word,
                   const char *expected)
{
    cf_error(r->problems, route_source_place(line, word), word->text, bytes_of(expected),
             bytes_make(NULL, 0));
    r->is_bad = true;
}

static int refuse_name(struct reading *r, const struct route_line *line,
                       const struct route_word *word)
{
    cf_error(r->problems, route_source_place(line, word), word->text, r->names->expected,
             bytes_make(NULL, 0));
    r->is_bad = true;
    return ERR_SYNTAX;
}

/* A host name or a literal. */
static bool is_domain(struct bytes text)
{
    return text.len <= ADDRESS_DOMAIN_MAX && (text_is_host_name(text) || address_is_literal(text));
}

/* The parts of a pattern, or of an address on the right-hand side. */
static int parse_parts(struct reading *r, struct bytes text, unsigned *kind_out,
                       struct address *parts_out)
{
    struct address parts = {.is_literal = false};
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
        int error =
            address_parse_mailbox(bytes_first(text, text.len - has_no_domain), r->arena, &parts);
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

/* Both parts side by side; in most lines they lie so already. */
static int set_text(struct reading *r, struct route_rule *rule, const struct address *parts)
{
    size_t local_len = parts->local.len, domain_len = parts->domain.len;
    rule->local_len = (uint8_t)local_len;
    rule->domain_len = (uint8_t)domain_len;
    if (domain_len == 0) {
        rule->text = parts->local.at;
    } else if (local_len == 0) {
        rule->text = parts->domain.at - 1;
    } else if (parts->local.at + local_len + 1 == parts->domain.at) {
        rule->text = parts->local.at;
    } else {
        uint8_t *text = arena_alloc(r->arena, local_len + 1 + domain_len);
        if (text == NULL)
            return ERR_MEMORY;
        memcpy(text, parts->local.at, local_len);
        text[local_len] = '@';
        memcpy(text + local_len + 1, parts->domain.at, domain_len);
        rule->text = text;
    }
    return 0;
}

static int read_pattern(struct reading *r, const struct route_line *line, struct route_rule *rule)
{
    struct address parts;
    unsigned kind;
    int error = line->words[0].text.len == 0 ? ERR_SYNTAX
                                             : parse_parts(r, line->words[0].text, &kind, &parts);
    if (error == ERR_SYNTAX) {
        refuse(r, line, &line->words[0], expected_pattern);
        return error;
    }
    if (error == 0)
        error = set_text(r, rule, &parts);
    rule->pattern = (uint8_t)kind;
    return error;
}

/* ---- right-hand sides ---- */

/* reject "5xx text", defer "4xx text" */
static int read_answer(struct reading *r, const struct route_line *line,
                       const struct route_word *words, size_t count, struct route_action *action)
{
    bool is_reject = bytes_is(words[0].text, "reject");
    const char *expected = is_reject ? "a reply in quotes: reject \"550 5.1.1 text\""
                                     : "a reply in quotes: defer \"450 4.2.1 text\"";
    struct reply reply, *kept;
    if (count != 2 || words[1].text.len == 0 || words[1].text.at[0] != (is_reject ? '5' : '4')) {
        refuse(r, line, &words[count > 2 ? 2 : count - 1], expected);
        return ERR_SYNTAX;
    }
    int error = reply_make(r->arena, words[1].text, &reply);
    if (error == ERR_SYNTAX)
        refuse(r, line, &words[1], expected);
    if (error != 0)
        return error;
    kept = arena_alloc(r->arena, sizeof(*kept));
    if (kept == NULL)
        return ERR_MEMORY;
    *kept = reply;
    action->kind = ROUTE_ACTION_REPLY;
    action->reply = kept;
    return 0;
}

/* user@domain, @domain, user@, user */
static int read_address(struct reading *r, const struct route_line *line,
                        const struct route_word *word, struct route_action *action)
{
    struct address parts, *kept;
    unsigned kind;
    int error = parse_parts(r, word->text, &kind, &parts);
    if (error == ERR_MEMORY)
        return error;
    if (error != 0 || kind == ROUTE_PATTERN_ALL || kind == ROUTE_PATTERN_SUBDOMAIN ||
        (kind == ROUTE_PATTERN_ADDRESS && parts.local.len == 0))
        return refuse_name(r, line, word);
    kept = arena_alloc(r->arena, sizeof(*kept));
    if (kept == NULL)
        return ERR_MEMORY;
    *kept = parts;
    action->kind = kind == ROUTE_PATTERN_NAME ? ROUTE_ACTION_NAME : ROUTE_ACTION_ADDRESS;
    action->address = kept;
    return 0;
}

/* What consists of one word that is no keyword: a section, a host, else an address. */
static int read_name(struct reading *r, const struct route_line *line,
                     const struct route_word *word, struct route_action *action)
{
    if (word->text.len == 0 || word->text.at[0] == '|')
        return refuse_name(r, line, word);
    action->kind = ROUTE_ACTION_TARGET;
    action->target = r->names->find(r->names->owner, word->text);
    if (action->target != NULL)
        return 0;
    if (word->is_quoted || bytes_find(word->text, '@') < word->text.len ||
        bytes_find(word->text, '.') == word->text.len)
        return read_address(r, line, word, action);
    if (!text_is_host_name(word->text))
        return refuse_name(r, line, word);
    action->target = r->names->find_implicit(r->names->owner, word->text);
    return action->target == NULL ? ERR_MEMORY : 0;
}

static int read_target(struct reading *r, const struct route_line *line,
                       const struct route_word *words, size_t count, struct route_action *action)
{
    bool is_discard = !words[0].is_quoted && bytes_is(words[0].text, "discard");
    bool is_answer = !words[0].is_quoted &&
                     (bytes_is(words[0].text, "reject") || bytes_is(words[0].text, "defer"));
    action->word = (uint32_t)(words - line->words);
    if (is_answer)
        return read_answer(r, line, words, count, action);
    if (count > 1) {
        refuse(r, line, &words[1], "a comma or the end of the line");
        return ERR_SYNTAX;
    }
    if (!is_discard)
        return read_name(r, line, words, action);
    action->kind = ROUTE_ACTION_DISCARD;
    return 0;
}

static bool stands_alone(const struct route_action *action)
{
    return action->kind == ROUTE_ACTION_REPLY || action->kind == ROUTE_ACTION_DISCARD;
}

static int read_targets(struct reading *r, const struct route_line *line)
{
    size_t first = r->action_count;
    for (uint32_t i = 1, end; i < line->word_count; i = end) {
        struct route_action *action = &r->actions[r->action_count];
        for (end = i; end < line->word_count && !line->words[end++].ends_target;)
            ;
        int error = read_target(r, line, &line->words[i], end - i, action);
        if (error == ERR_MEMORY)
            return error;
        if (error != 0)
            continue;
        r->action_count++;
        if (stands_alone(action) && (i > 1 || end < line->word_count))
            refuse(r, line, &line->words[i], "a target: what stands here has to stand alone");
    }
    return r->action_count == first ? ERR_SYNTAX : 0;
}

static int read_line(struct reading *r, const struct route_line *line)
{
    struct route_table *table = r->table;
    struct route_rule *rule = &r->rules[table->rule_count];
    size_t first = r->action_count;
    int error = read_pattern(r, line, rule);
    int error_behind = error == ERR_MEMORY ? 0 : read_targets(r, line);
    if (error != 0 || error_behind != 0) {
        r->action_count = first;
        return error == ERR_MEMORY ? error : error_behind;
    }
    rule->line = line;
    rule->first_action = (uint32_t)first;
    r->pattern_counts[rule->pattern]++;
    table->rule_count++;
    if (rule->pattern == ROUTE_PATTERN_ALL && table->all == 0)
        table->all = (uint32_t)table->rule_count;
    return 0;
}

static int read_lines(struct reading *r)
{
    const struct route_source *source = r->table->source;
    size_t targets = 0;
    for (const struct route_line *line = source->first; line != NULL; line = line->next)
        for (uint32_t i = 1; i < line->word_count; i++)
            targets += line->words[i].ends_target || i + 1 == line->word_count;
    if (source->line_count > RULES_MAX || targets > UINT32_MAX)
        return ERR_MEMORY;
    r->rules = arena_alloc(r->arena, (source->line_count + 1) * sizeof(*r->rules));
    r->actions = arena_alloc(r->arena, (targets + 1) * sizeof(*r->actions));
    if (r->rules == NULL || r->actions == NULL)
        return ERR_MEMORY;
    for (const struct route_line *line = source->first; line != NULL; line = line->next)
        if (read_line(r, line) == ERR_MEMORY)
            return ERR_MEMORY;
    r->rules[r->table->rule_count].first_action = (uint32_t)r->action_count;
    r->table->rules = r->rules;
    r->table->actions = r->actions;
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

static uint64_t hash_rule(const struct reading *r, const struct route_rule *rule, unsigned kind,
                          struct wanted *wanted_out)
{
    *wanted_out = (struct wanted){.kind = kind, .domain = route_rule_domain(rule)};
    if (kind != ROUTE_SLOTS_DOMAIN)
        wanted_out->local = route_rule_local(rule);
    return hash_of(&r->table->key, r->table->source->is_case_sensitive, wanted_out);
}

static bool has_target(const struct reading *r, uint32_t rule)
{
    return r->actions[r->rules[rule - 1].first_action].kind == ROUTE_ACTION_TARGET;
}

/* The first line of a pattern stays; of the lines of a domain the first one with a target. */
static void fill_slot(struct reading *r, struct route_slots *slots, unsigned kind, uint32_t rule)
{
    struct wanted wanted;
    uint64_t hash = hash_rule(r, &r->rules[rule - 1], kind, &wanted);
    struct route_slot *slot =
        probe(slots, r->rules, r->table->source->is_case_sensitive, hash, &wanted);
    if (slot->rule == 0)
        slots->used++;
    else if (kind != ROUTE_SLOTS_DOMAIN || has_target(r, slot->rule) || !has_target(r, rule))
        return;
    *slot = (struct route_slot){.tag = (uint32_t)(hash >> 32), .rule = rule};
}

static int grow_domains(struct reading *r)
{
    struct route_slots old = r->domains;
    struct route_slots grown = {.count = slots_for(2 * old.used)};
    grown.at = mem_zalloc(grown.count * sizeof(*grown.at));
    if (grown.at == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < old.count; i++)
        if (old.at[i].rule != 0)
            fill_slot(r, &grown, ROUTE_SLOTS_DOMAIN, old.at[i].rule);
    mem_free(old.at);
    r->domains = grown;
    return 0;
}

static int make_slots(struct reading *r, size_t count, struct route_slots *slots)
{
    slots->count = count;
    slots->at = arena_alloc(r->arena, count * sizeof(*slots->at));
    return slots->at == NULL ? ERR_MEMORY : 0;
}

/* How many domains there are shows at the end only. */
static int keep_domains(struct reading *r)
{
    struct route_slots *slots = &r->table->slots[ROUTE_SLOTS_DOMAIN];
    if (r->domains.used == 0)
        return 0;
    if (make_slots(r, r->domains.count, slots) != 0)
        return ERR_MEMORY;
    memcpy(slots->at, r->domains.at, slots->count * sizeof(*slots->at));
    slots->used = r->domains.used;
    return 0;
}

static int fill_slots(struct reading *r)
{
    struct route_slots *slots = r->table->slots;
    for (unsigned kind = 0; kind < ROUTE_PATTERN_COUNT; kind++)
        if (r->pattern_counts[kind] > 0 && kind != ROUTE_PATTERN_ALL &&
            make_slots(r, slots_for(r->pattern_counts[kind]), &slots[kind]) != 0)
            return ERR_MEMORY;
    for (uint32_t i = 1; i <= r->table->rule_count; i++) {
        unsigned kind = r->rules[i - 1].pattern;
        if (kind != ROUTE_PATTERN_ALL)
            fill_slot(r, &slots[kind], kind, i);
        if (kind != ROUTE_PATTERN_ADDRESS)
            continue;
        if (r->domains.used >= r->domains.count / 4 * 3 && grow_domains(r) != 0)
            return ERR_MEMORY;
        fill_slot(r, &r->domains, ROUTE_SLOTS_DOMAIN, i);
    }
    return keep_domains(r);
}

int route_table_new(const struct route_source *source, const struct route_table_names *names,
                    struct hash_key key, struct arena *arena, struct cf_problems *problems,
                    struct route_table **table_out)
{
    struct reading r = {.names = names, .arena = arena, .problems = problems};
    r.table = arena_alloc(arena, sizeof(*r.table));
    if (r.table == NULL)
        return ERR_MEMORY;
    r.table->source = source;
    r.table->key = key;
    int error = read_lines(&r);
    if (error == 0)
        error = fill_slots(&r);
    mem_free(r.domains.at);
    if (error == 0 && r.is_bad)
        error = ERR_SYNTAX;
    if (error == 0)
        *table_out = r.table;
    return error;
}

/* ---- looking up ---- */

static const struct route_rule *find(const struct route_table *table, const struct wanted *wanted)
{
    bool is_case_sensitive = table->source->is_case_sensitive;
    const struct route_slots *slots = &table->slots[wanted->kind];
    if (slots->count == 0 || wanted->local.len > LOCAL_MAX ||
        wanted->domain.len > ADDRESS_DOMAIN_MAX)
        return NULL;
    uint64_t hash = hash_of(&table->key, is_case_sensitive, wanted);
    uint32_t rule = probe(slots, table->rules, is_case_sensitive, hash, wanted)->rule;
    return rule == 0 ? NULL : &table->rules[rule - 1];
}

/* Keeps the earlier one of two lines. */
static void offer(const struct route_table *table, enum route_pattern pattern, struct bytes local,
                  struct bytes domain, bool is_stripped, struct route_match *best)
{
    const struct route_rule *rule =
        find(table, &(struct wanted){.kind = pattern, .local = local, .domain = domain});
    if (rule != NULL && (best->rule == NULL || rule < best->rule))
        *best = (struct route_match){.rule = rule, .is_stripped = is_stripped};
}

static void offer_subdomains(const struct route_table *table, struct bytes domain,
                             struct route_match *best)
{
    struct bytes none = bytes_make(NULL, 0), rest = domain;
    if (table->slots[ROUTE_PATTERN_SUBDOMAIN].count == 0)
        return;
    for (size_t dot = bytes_find(rest, '.'); dot < rest.len; dot = bytes_find(rest, '.')) {
        rest = bytes_skip(rest, dot + 1);
        offer(table, ROUTE_PATTERN_SUBDOMAIN, none, rest, false, best);
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
    struct bytes stripped = route_table_strip(table, local);
    struct route_match best = {.rule = table->all > 0 ? &table->rules[table->all - 1] : NULL};
    offer(table, ROUTE_PATTERN_USER, local, none, false, &best);
    if (stripped.len < local.len)
        offer(table, ROUTE_PATTERN_USER, stripped, none, true, &best);
    if (domain.len == 0)
        return finish(&best, match_out);
    offer(table, ROUTE_PATTERN_ADDRESS, local, domain, false, &best);
    if (stripped.len < local.len)
        offer(table, ROUTE_PATTERN_ADDRESS, stripped, domain, true, &best);
    offer(table, ROUTE_PATTERN_DOMAIN, none, domain, false, &best);
    if (domain.at[0] != '[')
        offer_subdomains(table, domain, &best);
    return finish(&best, match_out);
}

bool route_table_find_name(const struct route_table *table, struct bytes name,
                           struct route_match *match_out)
{
    struct bytes none = bytes_make(NULL, 0), stripped = route_table_strip(table, name);
    struct route_match best = {.rule = NULL};
    offer(table, ROUTE_PATTERN_NAME, name, none, false, &best);
    if (stripped.len < name.len)
        offer(table, ROUTE_PATTERN_NAME, stripped, none, true, &best);
    return finish(&best, match_out);
}

const struct route_rule *route_table_find_domain(const struct route_table *table,
                                                 struct bytes domain)
{
    return find(table, &(struct wanted){.kind = ROUTE_SLOTS_DOMAIN, .domain = domain});
}
