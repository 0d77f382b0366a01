/* SPDX-License-Identifier: BSD-2-Clause */
/* One compiled routing table: patterns in a keyed hash table, right-hand sides as actions. Pure. */
#ifndef POSTERN_ROUTE_TABLE_H
#define POSTERN_ROUTE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proxy/base/arena.h"
#include "proxy/base/cf.h"
#include "proxy/base/hash.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/reply.h"
#include "route/route_source.h"

struct target; /* opaque here */

enum route_pattern {
    ROUTE_PATTERN_ADDRESS,   /* user@domain */
    ROUTE_PATTERN_DOMAIN,    /* @domain */
    ROUTE_PATTERN_SUBDOMAIN, /* @.domain */
    ROUTE_PATTERN_USER,      /* user@ */
    ROUTE_PATTERN_NAME,      /* user */
    ROUTE_PATTERN_ALL,       /* @ */
    ROUTE_PATTERN_COUNT
};

enum route_action_kind {
    ROUTE_ACTION_TARGET,  /* `target` */
    ROUTE_ACTION_ADDRESS, /* routed again as `address`; an empty part of it keeps its value */
    ROUTE_ACTION_NAME,    /* routed again as the local name in `address` */
    ROUTE_ACTION_REPLY,   /* reject, defer: `reply` */
    ROUTE_ACTION_DISCARD
};

struct route_action {
    enum route_action_kind kind;
    uint32_t word; /* index of the action's first word in the line */
    union {
        struct target *target;
        const struct address *address;
        const struct reply *reply;
    };
};

/* A line, as small as possible: tables may have a million of them. */
struct route_rule {
    const struct route_line *line;
    const uint8_t *text;   /* the local part without quotes, one octet, the domain */
    uint32_t first_action; /* the actions end where those of the next rule begin */
    uint8_t pattern;       /* enum route_pattern */
    uint8_t local_len, domain_len;
};

struct route_slot {
    uint32_t tag;  /* upper half of the hash */
    uint32_t rule; /* 0: empty; else 1 + index of the rule */
};

/* Every kind of pattern has slots of its own: looking for one of the few lines of a rare kind
 * touches little memory. */
struct route_slots {
    struct route_slot *at; /* a power of two of them */
    size_t count, used;
};

/* The domains of all user@domain have slots of their own, behind those of the patterns. */
#define ROUTE_SLOTS_DOMAIN ROUTE_PATTERN_COUNT

struct route_table {
    const struct route_source *source;
    struct hash_key key;
    const struct route_rule *rules; /* in the order of lines, and one more that ends the actions */
    size_t rule_count;
    const struct route_action *actions;
    struct route_slots slots[ROUTE_PATTERN_COUNT + 1];
    uint32_t all; /* 0: no line is for `@`; else 1 + index of the first such rule */
};

/* Finds what a right-hand side can name, see struct route_directory. */
struct route_table_names {
    void *owner;
    struct target *(*find)(void *owner, struct bytes name);
    struct target *(*find_implicit)(void *owner, struct bytes host);
    struct bytes expected;
};

/* Compiles one table into `arena`. The source outlives the table. Errors in lines are reported to
 * `problems`. 0, ERR_SYNTAX (reported) or ERR_MEMORY. */
int route_table_new(const struct route_source *source, const struct route_table_names *names,
                    struct hash_key key, struct arena *arena, struct cf_problems *problems,
                    struct route_table **table_out);

struct route_match {
    const struct route_rule *rule;
    bool is_stripped; /* the local part matched only without the detail behind the recipient
                         delimiter */
};

/* The first line that matches. The number of look-ups depends on the address alone. Without a
 * domain only `user@` and `@` can match. */
bool route_table_find(const struct route_table *table, const struct address *address,
                      struct route_match *match_out);
/* The same for a local name. */
bool route_table_find_name(const struct route_table *table, struct bytes name,
                           struct route_match *match_out);
/* A line of the pattern user@DOMAIN, one with a target if possible, or NULL. */
const struct route_rule *route_table_find_domain(const struct route_table *table,
                                                 struct bytes domain);

/* The local part in front of the recipient delimiter; all of it where there is none. */
struct bytes route_table_strip(const struct route_table *table, struct bytes local);

static inline struct bytes route_rule_local(const struct route_rule *rule)
{
    return bytes_make(rule->text, rule->local_len);
}

static inline struct bytes route_rule_domain(const struct route_rule *rule)
{
    return rule->domain_len == 0 ? bytes_make(NULL, 0)
                                 : bytes_make(rule->text + rule->local_len + 1, rule->domain_len);
}

static inline const struct route_action *route_rule_actions(const struct route_table *table,
                                                            const struct route_rule *rule,
                                                            size_t *count_out)
{
    assert(rule[1].first_action > rule->first_action);
    *count_out = rule[1].first_action - rule->first_action;
    return &table->actions[rule->first_action];
}

static inline struct cf_place route_rule_place(const struct route_rule *rule,
                                               const struct route_action *action)
{
    return route_source_place(rule->line, &rule->line->words[action->word]);
}

#endif
