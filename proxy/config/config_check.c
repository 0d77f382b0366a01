/* SPDX-License-Identifier: BSD-2-Clause */
/* Follows the routes to where they lead: implicit relays, own listeners, open relays. */
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/config/config_private.h"
#include "route/relay/relay_identity.h"
#include "route/route.h"

/* ---- relays that judge no client ---- */

/* The word of a target that consists of just one, or NULL. `*at` moves to the next target. */
static const struct route_word *next_simple_target(const struct route_line *line, uint32_t *at)
{
    while (*at < line->word_count) {
        uint32_t first = *at;
        while (!line->words[*at].ends_target)
            (*at)++;
        (*at)++;
        if (*at == first + 1)
            return &line->words[first];
    }
    return NULL;
}

/* A relay's section, or a host that no section bears. */
static bool is_blind_relay(const struct config *config, const struct route_word *word)
{
    const struct relay_conf *relay = config_relay(config, word->text);
    if (relay != NULL)
        return !relay_identity_may_judge(relay);
    return !word->is_quoted && config_maildir(config, word->text) == NULL &&
           word->text.at[0] != '|' && bytes_find(word->text, '@') == word->text.len &&
           bytes_find(word->text, '.') < word->text.len;
}

static void warn_if_open(struct config *config, const struct smtpd_conf *smtpd,
                         const struct route_line *line)
{
    const struct route_word *word;
    uint32_t at = 1;
    char after[400];
    if (!bytes_is(line->words[0].text, "@"))
        return;
    while ((word = next_simple_target(line, &at)) != NULL) {
        if (!is_blind_relay(config, word))
            continue;
        snprintf(after, sizeof after,
                 ", which cannot see who the client is, and smtpd \"%.*s\" listens on a public "
                 "address: only relay-from keeps it from being an open relay",
                 (int)smtpd->section.len, (const char *)smtpd->section.at);
        cf_warning(&config->problems, route_source_place(line, word),
                   cf_phrase(&config->problems, "\"@\" leads to ", word->text, after));
    }
}

static bool is_public(const struct smtpd_conf *smtpd)
{
    for (size_t i = 0; i < smtpd->listeners.count; i++)
        if (!netaddr_is_loopback(&smtpd->listeners.at[i]))
            return true;
    return false;
}

int config_check_open_relays(struct config *config)
{
    for (size_t s = 0; s < config->smtpd_count; s++) {
        const struct smtpd_conf *smtpd = config->smtpds[s];
        for (size_t t = 0; t < smtpd->table_count && is_public(smtpd); t++)
            for (const struct route_line *l = smtpd->tables[t]->first; l != NULL; l = l->next)
                warn_if_open(config, smtpd, l);
    }
    return 0;
}

/* ---- targets, as far as tables need them ---- */

struct known_target {
    struct target target;
    struct hash_entry by_name;
    const struct relay_conf *relay; /* NULL: a maildir */
    bool is_checked;
};

struct survey {
    struct config *config;
    struct hash_table by_name; /* the targets that routes have named so far */
    struct ifaddrs *interfaces;
    unsigned unresolved; /* hosts without addresses */
};

/* Each may take the resolver's whole time-out: with so many, DNS is down or the table is rubbish.
 */
#define UNRESOLVED_MAX  50
#define MESSAGES_WANTED 4

static struct known_target *add_target(struct survey *survey, struct bytes name,
                                       const struct relay_conf *relay)
{
    struct known_target *target = arena_alloc(&survey->config->arena, sizeof *target);
    if (target == NULL || hash_table_add(&survey->by_name, &target->by_name, name) != 0) {
        survey->config->problems.has_no_memory = true;
        return NULL;
    }
    target->target.name = name;
    target->target.can_prepare = relay == NULL;
    target->target.may_spool = relay != NULL && relay->on_failure == RELAY_ON_FAILURE_SPOOL;
    target->relay = relay;
    return target;
}

static struct known_target *find_known(const struct survey *survey, struct bytes name)
{
    struct hash_entry *entry = hash_table_find(&survey->by_name, name);
    return entry == NULL ? NULL : CONTAINER_OF(entry, struct known_target, by_name);
}

static struct target *find_target(void *owner, struct bytes name)
{
    struct survey *survey = owner;
    struct known_target *known = find_known(survey, name);
    if (known != NULL)
        return known->relay != NULL && known->relay->is_implicit ? NULL : &known->target;
    const struct relay_conf *relay = config_relay(survey->config, name);
    const struct maildir_conf *maildir = config_maildir(survey->config, name);
    if (relay == NULL && maildir == NULL)
        return NULL;
    known = add_target(survey, relay != NULL ? relay->section : maildir->section, relay);
    return known == NULL ? NULL : &known->target;
}

#define HOST_MAX 255 /* RFC 5321 4.5.3.1.2; no longer word is a host */

static struct bytes lower_case(struct bytes text, uint8_t room[HOST_MAX])
{
    text = bytes_first(text, HOST_MAX);
    for (size_t i = 0; i < text.len; i++)
        room[i] = byte_lower(text.at[i]);
    return bytes_make(room, text.len);
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    struct survey *survey = owner;
    struct arena *arena = &survey->config->arena;
    uint8_t lower[HOST_MAX];
    struct bytes name = lower_case(host, lower);
    struct known_target *known = find_known(survey, name);
    if (known != NULL)
        return &known->target;
    struct relay_conf *relay = arena_alloc(arena, sizeof *relay);
    if (relay == NULL || arena_copy(arena, name, &name) != 0 ||
        relay_conf_implicit(name, survey->config->core.hostname, arena, relay) != 0)
        return NULL;
    known = add_target(survey, name, relay);
    return known == NULL ? NULL : &known->target;
}

/* ---- own listeners ---- */

static bool is_local(const struct survey *survey, const struct netaddr *address)
{
    static const uint8_t any[16];
    if (netaddr_is_loopback(address) || memcmp(address->octets, any, sizeof any) == 0)
        return true;
    for (const struct ifaddrs *i = survey->interfaces; i != NULL; i = i->ifa_next) {
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        if (i->ifa_addr == NULL)
            continue;
        if (i->ifa_addr->sa_family == AF_INET && address->family == NETADDR_IPV4) {
            memcpy(&in, i->ifa_addr, sizeof in);
            if (memcmp(&in.sin_addr, address->octets, 4) == 0)
                return true;
        }
        if (i->ifa_addr->sa_family == AF_INET6 && address->family == NETADDR_IPV6) {
            memcpy(&in6, i->ifa_addr, sizeof in6);
            if (memcmp(&in6.sin6_addr, address->octets, 16) == 0)
                return true;
        }
    }
    return false;
}

/* The listener that a connection to this address would reach, or NULL. */
static const struct smtpd_conf *own_listener(const struct survey *survey,
                                             const struct netaddr *address)
{
    static const uint8_t any[16];
    for (size_t s = 0; s < survey->config->smtpd_count; s++) {
        const struct smtpd_conf *smtpd = survey->config->smtpds[s];
        for (size_t i = 0; i < smtpd->listeners.count; i++) {
            const struct netaddr *own = &smtpd->listeners.at[i];
            if (own->port != address->port || own->family != address->family)
                continue;
            if (netaddr_same_host(own, address) ||
                (memcmp(own->octets, any, sizeof any) == 0 && is_local(survey, address)))
                return smtpd;
        }
    }
    return NULL;
}

/* Where a relay's name is our own, whatever it resolves to. */
static const struct smtpd_conf *own_name(const struct survey *survey,
                                         const struct relay_conf *relay)
{
    for (size_t s = 0; s < survey->config->smtpd_count; s++) {
        const struct smtpd_conf *smtpd = survey->config->smtpds[s];
        for (size_t i = 0; i < smtpd->listeners.count; i++)
            if (smtpd->listeners.at[i].port == relay->port &&
                (bytes_equal_nocase(smtpd->name, relay->name) ||
                 bytes_equal_nocase(smtpd->section, relay->name)))
                return smtpd;
    }
    return NULL;
}

/* ---- checking one relay ---- */

/* Where one relay leads. */
struct outlook {
    const struct smtpd_conf *own;
    size_t address_count;
};

static void look_at(const struct survey *survey, const struct setting_addresses *list,
                    struct outlook *outlook)
{
    outlook->address_count += list->count;
    for (size_t i = 0; i < list->count && outlook->own == NULL; i++)
        outlook->own = own_listener(survey, &list->at[i]);
}

static void report_unresolved(struct survey *survey, struct cf_place place, struct bytes host,
                              const char *expected)
{
    struct cf_problems *problems = &survey->config->problems;
    cf_error(problems, place, host, bytes_of(expected), bytes_make(NULL, 0));
    if (++survey->unresolved == UNRESOLVED_MAX)
        cf_fault(problems, place, bytes_of("the relays behind this one were not looked up"));
}

static int look_at_address(struct survey *survey, const struct relay_conf *relay, size_t index,
                           struct cf_place place, struct outlook *outlook)
{
    const struct relay_address *address = &relay->addresses.at[index];
    struct netaddr ip = address->ip;
    struct setting_addresses list = {.at = &ip, .count = 1};
    if (address->kind == RELAY_ADDRESS_UNIX)
        return 0;
    if (ip.port == 0)
        ip.port = (uint16_t)relay->port;
    if (address->kind == RELAY_ADDRESS_HOST &&
        config_resolve_host(survey->config, address->host, address->port, &list) != 0)
        return ERR_MEMORY;
    if (list.count == 0)
        report_unresolved(survey, place, address->host, "the name of a host that has addresses");
    look_at(survey, &list, outlook);
    return 0;
}

static void warn(struct survey *survey, const struct known_target *target, struct cf_place place,
                 const char *after)
{
    cf_warning(&survey->config->problems, place,
               cf_phrase(&survey->config->problems, "target ", target->target.name, after));
}

static void warn_own(struct survey *survey, const struct known_target *target,
                     struct cf_place place, const struct smtpd_conf *own)
{
    char after[400];
    snprintf(after, sizeof after,
             " leads to our own listener smtpd \"%.*s\", which is never connected to",
             (int)own->section.len, (const char *)own->section.at);
    warn(survey, target, place, after);
}

static int check_name(struct survey *survey, const struct known_target *target,
                      struct cf_place place, struct outlook *outlook)
{
    const struct relay_conf *relay = target->relay;
    struct setting_addresses list;
    if (config_resolve_host(survey->config, relay->name, (uint16_t)relay->port, &list) != 0)
        return ERR_MEMORY;
    look_at(survey, &list, outlook);
    if (list.count == 0)
        outlook->own = own_name(survey, relay);
    if (list.count == 0 && outlook->own == NULL)
        report_unresolved(survey, place, relay->name,
                          "the name of a section, or of a host that has addresses");
    return 0;
}

static int check_relay(struct survey *survey, const struct known_target *target,
                       struct cf_place place)
{
    const struct relay_conf *relay = target->relay;
    struct outlook outlook = {.own = NULL};
    int error = 0;
    if (relay->is_implicit)
        warn(survey, target, place, " has no section: it is taken for a host, an implicit relay");
    for (size_t i = 0; i < relay->addresses.count && error == 0; i++)
        error = look_at_address(survey, relay, i, place, &outlook);
    if (error == 0 && relay->addresses.count == 0 && !relay->is_mx)
        error = check_name(survey, target, place, &outlook);
    if (error == 0 && outlook.own != NULL)
        warn_own(survey, target, place, outlook.own);
    return error;
}

/* ---- in the order in which routes name them ---- */

/* Names of sections are kept as they are, hosts in lower case. */
static struct known_target *find_word(const struct survey *survey, const struct route_word *word)
{
    uint8_t lower[HOST_MAX];
    struct known_target *known = find_known(survey, word->text);
    return known != NULL ? known : find_known(survey, lower_case(word->text, lower));
}

static int check_line(struct survey *survey, const struct route_line *line)
{
    const struct route_word *word;
    uint32_t at = 1;
    int error = 0;
    while (error == 0 && (word = next_simple_target(line, &at)) != NULL) {
        struct known_target *known = find_word(survey, word);
        if (known == NULL || known->relay == NULL || known->is_checked ||
            survey->unresolved >= UNRESOLVED_MAX)
            continue;
        known->is_checked = true;
        error = check_relay(survey, known, route_source_place(line, word));
    }
    return error;
}

static int check_tables(struct survey *survey)
{
    const struct config *config = survey->config;
    int error = 0;
    for (size_t t = 0; t < config->route_count; t++)
        for (const struct route_line *l = config->routes[t]->first; l != NULL && error == 0;
             l = l->next)
            error = check_line(survey, l);
    return error;
}

/* ---- compiling ---- */

static void offer_sections(void *owner, struct cf_nearest *nearest)
{
    const struct config *config = ((struct survey *)owner)->config;
    for (size_t i = 0; i < config->relay_count; i++)
        cf_nearest_offer(nearest, config->relays[i]->section);
    for (size_t i = 0; i < config->maildir_count; i++)
        cf_nearest_offer(nearest, config->maildirs[i]->section);
}

static int compile(struct survey *survey, struct route_source *const *tables, size_t count)
{
    const struct route_directory directory = {.owner = survey,
                                              .find = find_target,
                                              .find_implicit = find_implicit,
                                              .offer = offer_sections};
    struct config *config = survey->config;
    struct arena scratch; /* nothing of the set is kept: each worker makes its own */
    struct route_set *set;
    arena_init(&scratch, &config->pool, SIZE_MAX);
    int error = route_set_new(tables, count, &directory, survey->by_name.secret, &scratch,
                              &config->problems, &set);
    arena_reset(&scratch);
    return error == ERR_MEMORY ? error : 0;
}

static bool is_used(const struct config *config, const struct route_source *table)
{
    for (size_t s = 0; s < config->smtpd_count; s++)
        for (size_t t = 0; t < config->smtpds[s]->table_count; t++)
            if (config->smtpds[s]->tables[t] == table)
                return true;
    return false;
}

static int compile_all(struct survey *survey)
{
    struct config *config = survey->config;
    int error = 0;
    for (size_t s = 0; s < config->smtpd_count && error == 0; s++)
        error = compile(survey, config->smtpds[s]->tables, config->smtpds[s]->table_count);
    for (size_t t = 0; t < config->route_count && error == 0; t++) {
        struct route_source *const alone[] = {config->routes[t], config->routes[0]};
        if (!is_used(config, config->routes[t]))
            error = compile(survey, alone, 2);
    }
    return error;
}

int config_check_routes(struct config *config)
{
    struct survey survey = {.config = config};
    hash_table_init(&survey.by_name, config->builder->by_name.secret);
    int error = compile_all(&survey);
    hash_table_done(&survey.by_name);
    return error;
}

/* Where few of the largest messages fill what a worker has, they keep each other waiting. */
static void check_shares(struct config *config)
{
    uint32_t workers = config->core.workers == 0 ? 1 : config->core.workers;
    uint64_t share_bytes = config->core.max_copies_bytes / workers;

    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *smtpd = config->smtpds[i];
        const struct config_section *section =
            config_builder_find(config, &smtpd_conf_section, smtpd->section);
        if (smtpd->limits.message_bytes <= share_bytes / MESSAGES_WANTED)
            continue;
        cf_warning(&config->problems, config_builder_place(section, "max-message-size", 0),
                   cf_phrase(&config->problems, "smtpd ", smtpd->section,
                             " takes messages of which not even four find room in one worker's "
                             "share of max-copies"));
    }
}

int config_check_targets(struct config *config)
{
    struct survey survey = {.config = config};
    hash_table_init(&survey.by_name, config->builder->by_name.secret);
    if (getifaddrs(&survey.interfaces) != 0)
        survey.interfaces = NULL;
    int error = compile_all(&survey);
    if (error == 0)
        error = check_tables(&survey);
    if (survey.interfaces != NULL)
        freeifaddrs(survey.interfaces);
    hash_table_done(&survey.by_name);
    check_shares(config);
    return error;
}
