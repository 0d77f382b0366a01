/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing tables from text, and targets that are nothing but names. */
#include "tests/unit/route_world.h"

#include "proxy/base/error.h"
#include "route/target_kind.h"

#define WORDS_MAX 64

/* As a Maildir with ${RCPT_LOCAL} in its path would. */
static enum reply_id refuses(const struct target *t, const struct address *to)
{
    (void)t;
    return to->local.len > 0 && to->local.at[0] != '.' &&
                   bytes_find(to->local, '/') == to->local.len
               ? REPLY_OK
               : REPLY_MAILBOX_NAME;
}

static const struct setting_section relay_section = {.kind = "relay"};
static const struct setting_section maildir_section = {.kind = "maildir"};
static const struct target_kind relay_kind = {.section = &relay_section, .is_relay = true};
static const struct target_kind maildir_kind = {.section = &maildir_section, .refuses = refuses};

/* ---- lines ---- */

/* A word in quotes, at its opening quote; the octets behind it are left in `*rest`. */
static struct bytes unquote(struct route_world *w, struct bytes *rest)
{
    uint8_t *text = arena_alloc(&w->arena, rest->len);
    size_t at = 1, len = 0;
    while (at < rest->len && rest->at[at] != '"') {
        if (rest->at[at] == '\\' && at + 1 < rest->len)
            at++;
        if (text != NULL)
            text[len++] = rest->at[at];
        at++;
    }
    *rest = bytes_skip(*rest, at < rest->len ? at + 1 : at);
    return bytes_make(text, len);
}

static bool ends_word(uint8_t c, bool is_pattern)
{
    return c <= ' ' || c == '"' || (c == ',' && !is_pattern);
}

static uint32_t read_words(struct route_world *w, struct bytes line, struct route_word *words)
{
    struct bytes rest = line;
    uint32_t count = 0;
    while (rest.len > 0 && count < WORDS_MAX) {
        struct route_word word = {.column = 1 + (uint32_t)(line.len - rest.len)};
        if (rest.at[0] == ',' && count > 0) {
            words[count - 1].ends_target = count > 1;
            rest = bytes_skip(rest, 1);
            continue;
        }
        if (rest.at[0] <= ' ') {
            rest = bytes_skip(rest, 1);
            continue;
        }
        if (rest.at[0] == '"') {
            word.is_quoted = true;
            word.text = unquote(w, &rest);
        } else {
            size_t len = 0;
            while (len < rest.len && !ends_word(rest.at[len], count == 0))
                len++;
            word.text = bytes_first(rest, len);
            rest = bytes_skip(rest, len);
        }
        words[count++] = word;
    }
    if (count > 0)
        words[count - 1].ends_target = true;
    return count;
}

static bool is_setting(struct route_source *table, const struct route_word *words, uint32_t count)
{
    if (count == 2 && bytes_is(words[0].text, "case-sensitive"))
        table->is_case_sensitive = bytes_is(words[1].text, "yes");
    else if (count == 2 && bytes_is(words[0].text, "recipient-delimiter") && words[1].text.len > 0)
        table->recipient_delimiter = words[1].text.at[0];
    else
        return false;
    return true;
}

static bool add_line(struct route_world *w, struct bytes text, uint32_t number)
{
    struct route_source *table = w->tables[w->table_count - 1];
    struct route_word words[WORDS_MAX];
    if (bytes_is(text, "--") && w->table_count < ROUTE_WORLD_TABLES) {
        w->tables[w->table_count] = &w->sources[w->table_count];
        w->table_count++;
        return true;
    }
    uint32_t count = read_words(w, text, words);
    if (count < 2 || is_setting(table, words, count))
        return true;
    struct route_line *line = arena_alloc(&w->arena, sizeof(*line));
    struct route_word *kept = arena_alloc(&w->arena, count * sizeof(*kept));
    if (line == NULL || kept == NULL)
        return false;
    memcpy(kept, words, count * sizeof(*kept));
    *line = (struct route_line){
        .place = {"t", number, words[0].column}, .words = kept, .word_count = count};
    if (table->last == NULL)
        table->first = line;
    else
        table->last->next = line;
    table->last = line;
    table->line_count++;
    return true;
}

bool route_world_init(struct route_world *w, struct bytes text)
{
    *w = (struct route_world){.table_count = 1};
    w->tables[0] = &w->sources[0];
    pool_init(&w->pool, 65536, 4);
    arena_init(&w->arena, &w->pool, SIZE_MAX);
    cf_problems_init(&w->problems, &w->arena);
    for (uint32_t number = 1; text.len > 0; number++) {
        struct bytes line = bytes_first(text, bytes_find(text, '\n'));
        if (!add_line(w, line, number))
            return false;
        text = bytes_skip(text, line.len < text.len ? line.len + 1 : line.len);
    }
    return true;
}

void route_world_done(struct route_world *w)
{
    arena_reset(&w->arena);
    pool_done(&w->pool);
}

void route_world_problems(struct route_world *w, char *text_out, size_t room)
{
    struct buf text;
    buf_init(&text, &w->pool, 65000);
    for (const struct cf_problem *p = w->problems.first; p != NULL; p = p->next) {
        cf_put_problem(&text, p);
        buf_byte(&text, '\n');
    }
    struct bytes octets = bytes_first(buf_bytes(&text), room - 1);
    if (octets.len > 0)
        memcpy(text_out, octets.at, octets.len);
    text_out[octets.len] = '\0';
    buf_done(&text);
}

/* ---- targets ---- */

static struct target *find_target(struct route_world *w, struct bytes name, bool is_implicit)
{
    for (struct route_world_target *t = w->targets; t != NULL; t = t->next)
        if (t->is_implicit == is_implicit && bytes_equal(t->target.name, name))
            return &t->target;
    struct route_world_target *made = arena_alloc(&w->arena, sizeof(*made));
    if (made == NULL || arena_copy(&w->arena, name, &made->target.name) != 0)
        return NULL;
    made->target.can_prepare = !is_implicit && name.at[0] == 's';
    made->target.kind = made->target.can_prepare ? &maildir_kind : &relay_kind;
    made->is_implicit = is_implicit;
    made->next = w->targets;
    w->targets = made;
    return &made->target;
}

static struct target *find(void *owner, struct bytes name)
{
    bool is_section = (name.len >= 5 && memcmp(name.at, "store", 5) == 0) ||
                      (name.len >= 5 && memcmp(name.at, "relay", 5) == 0);
    return is_section && bytes_find(name, '@') == name.len ? find_target(owner, name, false) : NULL;
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    return find_target(owner, host, true);
}

static void offer(void *owner, struct cf_nearest *nearest)
{
    (void)owner;
    cf_nearest_offer(nearest, bytes_of("relay"));
    cf_nearest_offer(nearest, bytes_of("store"));
}

static const char expected[] =
    "the name of a [relay] or [maildir], a host, an address, or a local name";

struct route_directory route_world_directory(struct route_world *w)
{
    return (struct route_directory){.owner = w,
                                    .find = find,
                                    .find_implicit = find_implicit,
                                    .expected = bytes_of(expected),
                                    .offer = offer};
}

struct route_table_names route_world_names(struct route_world *w)
{
    return (struct route_table_names){
        .owner = w, .find = find, .find_implicit = find_implicit, .expected = bytes_of(expected)};
}

struct hash_key route_world_key(void)
{
    return (struct hash_key){{0x0706050403020100u, 0x0f0e0d0c0b0a0908u}};
}

/* ---- the slow way ---- */

static bool is_local(const struct route_table *table, const struct route_rule *rule,
                     struct bytes local)
{
    struct bytes wanted = route_rule_local(rule);
    return table->source->is_case_sensitive && !bytes_is_nocase(local, "postmaster")
               ? bytes_equal(wanted, local)
               : bytes_equal_nocase(wanted, local);
}

static bool fits_local(const struct route_table *table, const struct route_rule *rule,
                       struct bytes local)
{
    uint8_t delimiter = table->source->recipient_delimiter;
    if (is_local(table, rule, local))
        return true;
    for (size_t i = 1; i < local.len && delimiter != 0; i++)
        if (local.at[i] == delimiter)
            return is_local(table, rule, bytes_first(local, i));
    return false;
}

static bool is_below(struct bytes domain, struct bytes parent)
{
    return domain.len > parent.len && domain.at[0] != '[' &&
           domain.at[domain.len - parent.len - 1] == '.' &&
           bytes_equal_nocase(bytes_skip(domain, domain.len - parent.len), parent);
}

const struct route_rule *route_world_find(const struct route_table *table,
                                          const struct address *address)
{
    for (size_t i = 0; i < table->rule_count; i++) {
        const struct route_rule *rule = &table->rules[i];
        struct bytes domain = route_rule_domain(rule);
        bool has_domain = address->domain.len > 0;
        bool is_same = has_domain && bytes_equal_nocase(domain, address->domain);
        bool fits = fits_local(table, rule, address->local);
        if ((rule->pattern == ROUTE_PATTERN_ADDRESS && is_same && fits) ||
            (rule->pattern == ROUTE_PATTERN_DOMAIN && is_same) ||
            (rule->pattern == ROUTE_PATTERN_SUBDOMAIN && has_domain &&
             is_below(address->domain, domain)) ||
            (rule->pattern == ROUTE_PATTERN_USER && fits) || rule->pattern == ROUTE_PATTERN_ALL)
            return rule;
    }
    return NULL;
}
