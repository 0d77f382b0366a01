/* SPDX-License-Identifier: BSD-2-Clause */
/* Follows the routes to their targets, and looks for hosts without addresses, loops, open relays,
 * and the one relay that clients log in at. */
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>

#include "proxy/base/error.h"
#include "proxy/config/config_directory.h"
#include "proxy/config/config_private.h"

/* ---- targets that cannot judge a client ---- */

/* The next target that is a single word, or NULL. `*at` moves behind it. */
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

/* A word that names no section: is it a host? */
static bool is_host(const struct route_word *word)
{
    return !word->is_quoted && word->text.at[0] != '|' &&
           bytes_find(word->text, '@') == word->text.len &&
           bytes_find(word->text, '.') < word->text.len;
}

/* Can the target not see who the client is? */
static bool is_blind(const struct config *config, const struct route_word *word)
{
    struct config_target section = config_target(config, word->text);
    if (section.kind != NULL)
        return section.kind->is_blind != NULL && section.kind->is_blind(section.conf);
    return is_host(word);
}

static bool is_relay(const struct config *config, const struct route_word *word)
{
    const struct target_kind *kind = config_target(config, word->text).kind;
    return kind != NULL ? kind->is_relay : is_host(word);
}

/* Is mail taken in its stead while it is away? */
static bool is_spooled_for(const struct config *config, const struct route_word *word)
{
    struct config_target section = config_target(config, word->text);
    return is_relay(config, word) &&
           (section.kind == NULL || section.kind->describe(section.conf).may_spool);
}

static bool names_domain(const struct route_line *line)
{
    struct bytes pattern = line->words[0].text;
    return bytes_find(pattern, '@') + 1 < pattern.len;
}

/* Does a line of the listener that names a domain lead there? Where it rewrites, it may. */
static bool is_reached_by_domain(const struct smtpd_conf *smtpd, struct bytes target)
{
    for (size_t k = 0; k < smtpd->table_count; k++)
        for (const struct route_line *line = smtpd->tables[k]->first; line != NULL;
             line = line->next)
            for (uint32_t i = 1; names_domain(line) && i < line->word_count; i++)
                if (bytes_equal(line->words[i].text, target) ||
                    bytes_find(line->words[i].text, '@') < line->words[i].text.len)
                    return true;
    return false;
}

static void warn_of_all(struct config *config, const struct smtpd_conf *smtpd,
                        const struct route_line *line, const struct route_word *word,
                        const char *what, const char *follows)
{
    char after[400];
    snprintf(after, sizeof after, "%s, and smtpd \"%.*s\" listens on a public address: %s", what,
             (int)smtpd->section.len, (const char *)smtpd->section.at, follows);
    cf_warning(&config->problems, route_source_place(line, word),
               cf_phrase(&config->problems, "\"@\" leads to ", word->text, after));
}

static void check_all(struct config *config, const struct smtpd_conf *smtpd,
                      const struct route_line *line)
{
    const struct route_word *word;
    uint32_t at = 1;
    if (!bytes_is(line->words[0].text, "@"))
        return;
    while ((word = next_simple_target(line, &at)) != NULL) {
        if (is_blind(config, word))
            warn_of_all(config, smtpd, line, word, ", which cannot see who the client is",
                        "only relay-from keeps it from being an open relay");
        else if (is_spooled_for(config, word) && !is_reached_by_domain(smtpd, word->text))
            warn_of_all(config, smtpd, line, word, ", to which no line leads that names a domain",
                        "while that relay is away, only relay-from may send to it and all others "
                        "get 451; name your own domains above \"@\"");
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
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *smtpd = config->smtpds[i];
        for (size_t k = 0; k < smtpd->table_count && is_public(smtpd); k++)
            for (const struct route_line *line = smtpd->tables[k]->first; line != NULL;
                 line = line->next)
                check_all(config, smtpd, line);
    }
    return 0;
}

/* ---- where AUTH is passed to ---- */

struct relays {
    struct bytes first;
    bool has_more;
};

static void note_relay(const struct config *config, const struct route_word *word,
                       struct relays *found)
{
    if (!is_relay(config, word) || bytes_equal(word->text, found->first))
        return;
    found->has_more = found->first.len != 0;
    if (!found->has_more)
        found->first = word->text;
}

/* The first that the tables lead to. */
static struct relays relays_of(const struct config *config, const struct smtpd_conf *smtpd)
{
    struct relays found = {.has_more = false};
    const struct route_word *word;
    for (size_t k = 0; k < smtpd->table_count; k++)
        for (const struct route_line *line = smtpd->tables[k]->first; line != NULL;
             line = line->next)
            for (uint32_t at = 1;
                 !found.has_more && (word = next_simple_target(line, &at)) != NULL;)
                note_relay(config, word, &found);
    return found;
}

static void check_auth_target(struct config *config, struct smtpd_conf *smtpd,
                              const struct config_section *section)
{
    struct relays found = relays_of(config, smtpd);
    bool is_given = smtpd->auth.target.len != 0;
    struct cf_place place = config_builder_place(section, is_given ? "auth-target" : "auth", 0);
    if (!is_given && (found.first.len == 0 || found.has_more)) {
        cf_fault(&config->problems, place,
                 bytes_of("passthrough needs an auth-target, since the tables do not lead to "
                          "exactly one relay"));
        return;
    }
    if (!is_given)
        smtpd->auth.target = found.first;
    struct config_target target = config_target(config, smtpd->auth.target);
    if (target.kind == NULL ? is_given : !target.kind->describe(target.conf).takes_logins)
        cf_error(&config->problems, place, smtpd->auth.target,
                 bytes_of("a [relay] that has neither auth-user nor balance = hash"),
                 bytes_make(NULL, 0));
}

void config_check_auth(struct config *config)
{
    for (size_t i = 0; i < config->smtpd_count; i++) {
        struct smtpd_conf *smtpd = config->smtpds[i];
        const struct config_section *section =
            config_builder_find(config, &smtpd_conf_section, smtpd->section);
        if (smtpd->auth.how.by == SMTPD_AUTH_BY_TARGET)
            check_auth_target(config, smtpd, section);
        else if (smtpd->auth.target.len != 0)
            cf_fault(&config->problems, config_builder_place(section, "auth-target", 0),
                     bytes_of("auth-target is for auth = passthrough alone"));
    }
}

/* ---- where targets lead ---- */

struct survey {
    struct target_check check;
    struct config *config;
    struct config_directory directory;
    struct ifaddrs *interfaces;
    unsigned unresolved; /* hosts without addresses */
};

/* With as many, DNS is down or the table is rubbish; each may take the whole time-out. */
#define UNRESOLVED_MAX 50

static struct survey *survey_of(struct target_check *check)
{
    return CONTAINER_OF(check, struct survey, check);
}

static int look_up(struct target_check *check, struct bytes host, uint16_t port,
                   struct setting_addresses *addresses_out)
{
    return config_resolve_host(survey_of(check)->config, host, port, addresses_out);
}

static void report_unresolved(struct target_check *check, struct bytes host, const char *expected)
{
    cf_error(check->problems, check->place, host, bytes_of(expected), bytes_make(NULL, 0));
    if (++survey_of(check)->unresolved == UNRESOLVED_MAX)
        cf_fault(check->problems, check->place,
                 bytes_of("the relays after this one were not looked up"));
}

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

static struct bytes listener_at(struct target_check *check, const struct netaddr *address)
{
    const struct survey *survey = survey_of(check);
    static const uint8_t any[16];
    for (size_t i = 0; i < survey->config->smtpd_count; i++) {
        const struct smtpd_conf *smtpd = survey->config->smtpds[i];
        for (size_t k = 0; k < smtpd->listeners.count; k++) {
            const struct netaddr *own = &smtpd->listeners.at[k];
            if (own->port != address->port || own->family != address->family)
                continue;
            if (netaddr_same_host(own, address) ||
                (memcmp(own->octets, any, sizeof any) == 0 && is_local(survey, address)))
                return smtpd->section;
        }
    }
    return bytes_make(NULL, 0);
}

static struct bytes listener_named(struct target_check *check, struct bytes name, uint16_t port)
{
    const struct config *config = survey_of(check)->config;
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *smtpd = config->smtpds[i];
        for (size_t k = 0; k < smtpd->listeners.count; k++)
            if (smtpd->listeners.at[k].port == port &&
                (bytes_equal_nocase(smtpd->name, name) || bytes_equal_nocase(smtpd->section, name)))
                return smtpd->section;
    }
    return bytes_make(NULL, 0);
}

/* ---- in the order in which routes name them ---- */

static int check_line(struct survey *survey, const struct route_line *line)
{
    const struct route_word *word;
    uint32_t at = 1;
    int error = 0;
    while (error == 0 && (word = next_simple_target(line, &at)) != NULL) {
        struct config_known *known = config_directory_known(&survey->directory, word->text);
        if (known == NULL || known->target->kind->check == NULL || known->is_checked ||
            survey->unresolved >= UNRESOLVED_MAX)
            continue;
        known->is_checked = true;
        survey->check.place = route_source_place(line, word);
        error = known->target->kind->check(known->target->conf, &survey->check);
    }
    return error;
}

static int check_tables(struct survey *survey)
{
    const struct config *config = survey->config;
    int error = 0;
    for (size_t i = 0; i < config->route_count; i++)
        for (const struct route_line *line = config->routes[i]->first; line != NULL && error == 0;
             line = line->next)
            error = check_line(survey, line);
    return error;
}

/* ---- compiling ---- */

static int compile(struct survey *survey, struct route_source *const *tables, size_t count)
{
    const struct route_directory directory = config_directory_routes(&survey->directory);
    struct config *config = survey->config;
    struct arena scratch; /* the set is not kept: each worker makes its own */
    struct route_set *set;
    arena_init(&scratch, &config->pool, SIZE_MAX);
    int error = route_set_new(tables, count, &directory, config->builder->by_name.secret, &scratch,
                              &config->problems, &set);
    arena_reset(&scratch);
    return error == ERR_MEMORY ? error : 0;
}

static bool is_used(const struct config *config, const struct route_source *table)
{
    for (size_t i = 0; i < config->smtpd_count; i++)
        for (size_t k = 0; k < config->smtpds[i]->table_count; k++)
            if (config->smtpds[i]->tables[k] == table)
                return true;
    return false;
}

static int compile_all(struct survey *survey)
{
    struct config *config = survey->config;
    int error = 0;
    for (size_t i = 0; i < config->smtpd_count && error == 0; i++)
        error = compile(survey, config->smtpds[i]->tables, config->smtpds[i]->table_count);
    for (size_t i = 0; i < config->route_count && error == 0; i++) {
        struct route_source *const alone[] = {config->routes[i], config->routes[0]};
        if (!is_used(config, config->routes[i]))
            error = compile(survey, alone, 2);
    }
    return error;
}

static void begin(struct survey *survey, struct config *config)
{
    *survey = (struct survey){.check = {.problems = &config->problems,
                                        .look_up = look_up,
                                        .report_unresolved = report_unresolved,
                                        .listener_at = listener_at,
                                        .listener_named = listener_named},
                              .config = config};
    config_directory_init(&survey->directory, config, config->builder->by_name.secret,
                          &config->arena, &config->problems);
}

int config_check_routes(struct config *config)
{
    struct survey survey;
    begin(&survey, config);
    int error = compile_all(&survey);
    config_directory_done(&survey.directory);
    return error;
}

#define MESSAGES_WANTED 4

/* Large messages wait for each other where a few of them fill a worker's share of max-copies. */
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

/* What the tables of a listener lead to. */
struct led_to {
    bool relay, other;
};

static void note_targets(const struct config *config, const struct route_line *line,
                         struct led_to *to)
{
    const struct route_word *word;
    uint32_t at = 1;
    while ((word = next_simple_target(line, &at)) != NULL) {
        to->relay |= is_relay(config, word);
        to->other |= config_target(config, word->text).kind != NULL && !is_relay(config, word);
    }
}

/* Reports come from our own address, and go anywhere. */
static void warn_of_reports(struct config *config, struct cf_place place, struct bytes relay)
{
    struct config_target section = config_target(config, relay);
    const char *why = NULL;
    if (section.kind == NULL || !section.kind->is_relay)
        return;
    if (section.kind->describe(section.conf).answers_each)
        why = ", which has mailboxes of its own (LMTP) and sends nothing on: bounce-relay names a "
              "relay that does";
    else if (!section.kind->is_blind(section.conf))
        why = ", which may judge clients by their addresses, and refuse ours: bounce-relay names a "
              "relay that takes mail from us for anywhere, with identity = none";
    if (why == NULL)
        return;
    cf_warning(&config->problems, place,
               cf_phrase(&config->problems, "reports to senders go to ", relay, why));
}

static void warn_of_relays(struct config *config, const struct smtpd_conf *smtpd)
{
    const struct route_word *word;
    for (size_t k = 0; k < smtpd->table_count; k++)
        for (const struct route_line *line = smtpd->tables[k]->first; line != NULL;
             line = line->next)
            for (uint32_t at = 1; (word = next_simple_target(line, &at)) != NULL;) {
                const struct config_section *section =
                    config_builder_find_target(config, word->text);
                if (section != NULL)
                    warn_of_reports(config, section->place, word->text);
            }
}

/* Reports to senders leave by a relay, also those that are promised by announcing DSN. */
static void check_reports(struct config *config)
{
    const struct config_section *core =
        config_builder_find(config, &config_core_section, bytes_make(NULL, 0));
    bool is_sender_told =
        config->core.bounce_to == CORE_BOUNCE_SENDER || config->core.bounce_to == CORE_BOUNCE_BOTH;
    if (is_sender_told && config->core.bounce_relay.len != 0)
        warn_of_reports(config, config_builder_place(core, "bounce-relay", 0),
                        config->core.bounce_relay);
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *smtpd = config->smtpds[i];
        struct led_to to = {.relay = !is_sender_told || config->core.bounce_relay.len != 0};
        for (size_t k = 0; k < smtpd->table_count; k++)
            for (const struct route_line *line = smtpd->tables[k]->first; line != NULL;
                 line = line->next)
                note_targets(config, line, &to);
        if (is_sender_told && config->core.bounce_relay.len == 0)
            warn_of_relays(config, smtpd);
        if (to.other && !to.relay)
            cf_warning(&config->problems,
                       config_builder_find(config, &smtpd_conf_section, smtpd->section)->place,
                       cf_phrase(&config->problems, "smtpd ", smtpd->section,
                                 " leads to no relay that could take reports to senders, so the "
                                 "postmaster gets them: bounce-relay names one"));
    }
}

/* ---- descriptors ---- */

#define OTHER_DESCRIPTORS 128 /* of a worker: targets, files, what is kept in reserve */

/* Of one worker, with its part of the clients. */
static uint64_t needed_descriptors(const struct config *config)
{
    uint64_t clients = 0, workers = config->core.workers == 0 ? 1 : config->core.workers;
    for (size_t i = 0; i < config->smtpd_count; i++)
        clients += config->smtpds[i]->limits.connections;
    return (clients + workers - 1) / workers + OTHER_DESCRIPTORS;
}

void config_check_descriptors(struct config *config)
{
    uint64_t needed = needed_descriptors(config);
    struct rlimit limit;
    struct bytes copy;
    char text[240];
    if (config->smtpd_count == 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 ||
        limit.rlim_max >= needed)
        return;
    snprintf(
        text, sizeof text,
        "a process may open %llu files (ulimit -Hn, LimitNOFILE=), and with max-connections of "
        "all sections a worker may need %llu: clients that find none get 421 4.3.2",
        (unsigned long long)limit.rlim_max, (unsigned long long)needed);
    if (arena_copy(&config->arena, bytes_of(text), &copy) == 0)
        cf_warning(
            &config->problems,
            config_builder_find(config, &smtpd_conf_section, config->smtpds[0]->section)->place,
            copy);
}

int config_check_targets(struct config *config)
{
    struct survey survey;
    begin(&survey, config);
    if (getifaddrs(&survey.interfaces) != 0)
        survey.interfaces = NULL;
    int error = compile_all(&survey);
    if (error == 0)
        error = check_tables(&survey);
    if (survey.interfaces != NULL)
        freeifaddrs(survey.interfaces);
    config_directory_done(&survey.directory);
    check_shares(config);
    check_reports(config);
    config_filters_check(config);
    return error;
}
