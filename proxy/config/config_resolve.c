/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks the system for names, accounts and sizes. Blocks, so only before the loop runs. */
#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/config/config_private.h"

#define GIB ((uint64_t)1 << 30)

static const struct config_section *core_section(const struct config *config)
{
    return config_builder_find(config, &config_core_section, bytes_make(NULL, 0));
}

/* A copy in the arena that ends in NUL. */
static char *as_string(struct config *config, struct bytes text)
{
    char *string = arena_alloc(&config->arena, text.len + 1);
    if (string != NULL && text.len > 0)
        memcpy(string, text.at, text.len);
    return string;
}

/* ---- the host's own name ---- */

/* The whole name of `short_name` as the resolver says, or `short_name` itself. */
static int find_whole_name(struct config *config, const char *short_name, struct bytes *name_out)
{
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM};
    struct addrinfo *answer = NULL;
    struct bytes name = bytes_of(short_name);
    if (strchr(short_name, '.') == NULL && getaddrinfo(short_name, NULL, &hints, &answer) == 0 &&
        answer->ai_canonname != NULL && text_is_host_name(bytes_of(answer->ai_canonname)))
        name = bytes_of(answer->ai_canonname);
    int error = arena_copy(&config->arena, name, name_out);
    if (answer != NULL)
        freeaddrinfo(answer);
    return error;
}

int config_resolve_hostname(struct config *config)
{
    char name[256] = "";
    if (config->core.hostname.len > 0)
        return 0;
    if (gethostname(name, sizeof name - 1) != 0 || !text_is_host_name(bytes_of(name)))
        snprintf(name, sizeof name, "localhost");
    return find_whole_name(config, name, &config->core.hostname);
}

/* ---- sizes ---- */

/* The size of the file system that holds `path`, or would hold it once its folders are made. */
static uint64_t file_system_bytes(const char *path)
{
    char folder[4096];
    struct statvfs status;
    snprintf(folder, sizeof folder, "%s", path);
    while (statvfs(folder, &status) != 0) {
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash[1] == '\0')
            return 0;
        slash[slash == folder ? 1 : 0] = '\0';
    }
    return (uint64_t)status.f_blocks * status.f_frsize;
}

static uint32_t core_count(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > CONFIG_WORKERS_MAX ? CONFIG_WORKERS_MAX : (uint32_t)count;
}

void config_resolve_sizes(struct config *config)
{
    const struct config_section *section = core_section(config);
    if (!config_builder_is_given(section, "workers"))
        config->core.workers = core_count();
    if (!config_builder_is_given(section, "max-memory")) {
        long pages = sysconf(_SC_PHYS_PAGES);
        long page_bytes = sysconf(_SC_PAGESIZE);
        uint64_t bytes = pages > 0 && page_bytes > 0 ? (uint64_t)pages * (uint64_t)page_bytes : GIB;
        config->core.max_memory_bytes = bytes / 4;
    }
    if (!config_builder_is_given(section, "spool-reserve")) {
        const char *path = as_string(config, config->core.spool_directory);
        uint64_t bytes = path == NULL ? 0 : file_system_bytes(path) / 20;
        config->core.spool_reserve_bytes = bytes == 0 || bytes > GIB ? GIB : bytes;
    }
}

/* ---- accounts ---- */

static void refuse_account(struct config *config, const char *key, struct bytes name,
                           const char *expected)
{
    struct cf_place place = config_builder_place(core_section(config), key, 0);
    cf_error(&config->problems, place, name, bytes_of(expected), bytes_make(NULL, 0));
}

static int find_group(struct config *config, gid_t *group_out)
{
    const char *name = as_string(config, config->core.group_id);
    if (name == NULL)
        return ERR_MEMORY;
    struct group *group = getgrnam(name);
    if (group == NULL)
        refuse_account(config, "group-id", config->core.group_id, "a group of this host");
    else
        *group_out = group->gr_gid;
    return 0;
}

static void report_no_account(struct config *config)
{
    if (config_builder_is_given(core_section(config), "user-id"))
        refuse_account(config, "user-id", config->core.user_id, "an account of this host");
    else
        cf_fault(&config->problems, (struct cf_place){.file = "core.user-id"},
                 bytes_of("no account \"postern\", which is used when started as root; create it, "
                          "or name another in user-id"));
}

static void warn_not_root(struct config *config)
{
    cf_warning(&config->problems, config_builder_place(core_section(config), "user-id", 0),
               cf_phrase(&config->problems, "user-id ", config->core.user_id,
                         " is ignored: not started as root"));
}

static int find_user(struct config *config, struct config_account *account)
{
    const char *name = as_string(config, config->core.user_id);
    if (name == NULL)
        return ERR_MEMORY;
    const struct passwd *entry = getpwnam(name);
    if (entry == NULL) {
        report_no_account(config);
        return 0;
    }
    account->user = entry->pw_uid;
    account->group = entry->pw_gid;
    if (account->user == 0 && strcmp(name, "root") != 0)
        refuse_account(config, "user-id", config->core.user_id,
                       "an account that is not root by another name");
    if (!account->is_set && account->user != geteuid())
        warn_not_root(config);
    return 0;
}

int config_resolve_account(struct config *config)
{
    struct config_account account = {.is_set = geteuid() == 0};
    int error = 0;
    if (config->core.user_id.len == 0 && account.is_set)
        config->core.user_id = bytes_of("postern");
    if (config->core.user_id.len > 0)
        error = find_user(config, &account);
    if (error == 0 && config->core.group_id.len > 0)
        error = find_group(config, &account.group);
    if (error == 0)
        config->account = account;
    return error;
}

/* ---- hosts ---- */

static bool from_sockaddr(const struct sockaddr *from, uint16_t port, struct netaddr *address_out)
{
    struct netaddr address = {.port = port};
    if (from->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, from, sizeof in);
        address.family = NETADDR_IPV4;
        memcpy(address.octets, &in.sin_addr, 4);
    } else if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, from, sizeof in6);
        address.family = NETADDR_IPV6;
        memcpy(address.octets, &in6.sin6_addr, 16);
    }
    *address_out = address;
    return address.family != NETADDR_NONE;
}

static int add_address(struct config *config, struct setting_addresses *list,
                       const struct netaddr *address)
{
    for (size_t i = 0; i < list->count; i++)
        if (netaddr_equal(&list->at[i], address))
            return 0;
    struct netaddr *grown = arena_alloc(&config->arena, (list->count + 1) * sizeof *grown);
    if (grown == NULL)
        return ERR_MEMORY;
    if (list->count > 0)
        memcpy(grown, list->at, list->count * sizeof *grown);
    grown[list->count] = *address;
    *list = (struct setting_addresses){.at = grown, .count = list->count + 1};
    return 0;
}

int config_resolve_host(struct config *config, struct bytes host, uint16_t port,
                        struct setting_addresses *addresses_out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *answer = NULL;
    struct setting_addresses list = {.count = 0};
    struct netaddr address;
    int error = 0;
    const char *name = as_string(config, host);
    if (name == NULL)
        return ERR_MEMORY;
    if (getaddrinfo(name, NULL, &hints, &answer) == 0) {
        for (struct addrinfo *info = answer; info != NULL && error == 0; info = info->ai_next)
            if (from_sockaddr(info->ai_addr, port, &address))
                error = add_address(config, &list, &address);
        freeaddrinfo(answer);
    }
    if (error == 0)
        *addresses_out = list;
    return error;
}

/* ---- listen-port ---- */

/* Some hosts have no /etc/services: the usual names are known without it. */
static uint16_t service_port(struct config *config, struct bytes service)
{
    static const struct {
        const char *name;
        uint16_t port;
    } known[] = {{"smtp", 25}, {"submission", 587}, {"submissions", 465}, {"lmtp", 24}};
    uint64_t number;
    if (text_decimal(service, UINT16_MAX, &number) == 0)
        return (uint16_t)number;
    for (size_t i = 0; i < ARRAY_LENGTH(known); i++)
        if (bytes_is_nocase(service, known[i].name))
            return known[i].port;
    const char *name = as_string(config, service);
    const struct servent *entry = name == NULL ? NULL : getservbyname(name, "tcp");
    return entry == NULL ? 0 : ntohs((uint16_t)entry->s_port);
}

static bool kernel_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool has_it = fd >= 0 || errno != EAFNOSUPPORT;
    if (fd >= 0)
        close(fd);
    return has_it;
}

static int add_wildcards(struct config *config, uint16_t port, struct cf_place place,
                         struct setting_addresses *list)
{
    struct netaddr any4 = {.family = NETADDR_IPV4, .port = port};
    struct netaddr any6 = {.family = NETADDR_IPV6, .port = port};
    int error = add_address(config, list, &any4);
    if (error == 0 && kernel_has_ipv6())
        return add_address(config, list, &any6);
    if (error == 0)
        cf_warning(&config->problems, place,
                   bytes_of("this kernel has no IPv6: it listens at IPv4 addresses alone"));
    return error;
}

static int resolve_listen_host(struct config *config, struct bytes host, uint16_t port,
                               struct setting_addresses *found_out)
{
    struct netaddr address;
    if (host.len > 0 && host.at[0] == '[')
        host = bytes_make(host.at + 1, host.len - 2);
    if (bytes_is_nocase(host, "ipv6-localhost"))
        host = bytes_of("::1");
    if (bytes_is_nocase(host, "ipv4-localhost"))
        host = bytes_of("127.0.0.1");
    if (netaddr_parse(host, &address) != 0)
        return config_resolve_host(config, host, port, found_out);
    address.port = port;
    return add_address(config, found_out, &address);
}

static int resolve_listen_port(struct config *config, struct bytes text, struct cf_place place,
                               struct setting_addresses *list)
{
    size_t colon = text.len;
    while (colon > 0 && text.at[colon - 1] != ':')
        colon--;
    struct setting_addresses found = {.count = 0};
    bool is_local_name =
        bytes_is_nocase(text, "ipv6-localhost") || bytes_is_nocase(text, "ipv4-localhost");
    struct bytes host = is_local_name ? text : bytes_first(text, colon == 0 ? 0 : colon - 1);
    uint16_t port = is_local_name ? 25 : service_port(config, bytes_skip(text, colon));
    int error = 0;
    if (port == 0) {
        cf_error(&config->problems, place, bytes_skip(text, colon),
                 bytes_of("a port or the name of a service"), bytes_make(NULL, 0));
        return 0;
    }
    if (host.len == 0)
        return add_wildcards(config, port, place, list);
    error = resolve_listen_host(config, host, port, &found);
    if (error == 0 && found.count == 0)
        cf_error(&config->problems, place, host, bytes_of("the name of a host that has addresses"),
                 bytes_make(NULL, 0));
    for (size_t i = 0; i < found.count && error == 0; i++)
        error = add_address(config, list, &found.at[i]);
    return error;
}

/* Is one of them all addresses of the port, and the other one of these? The kernel allows but one
 * socket then. */
static bool is_part_of(const struct netaddr *a, const struct netaddr *b)
{
    static const uint8_t any[sizeof a->octets];
    bool has_all =
        memcmp(a->octets, any, sizeof any) == 0 || memcmp(b->octets, any, sizeof any) == 0;
    return has_all && a->family == b->family && a->port == b->port;
}

/* Reports an address on which an earlier section listens already, or this one itself. */
static void check_taken(struct config *config, const struct config_section *section,
                        const struct smtpd_conf *smtpd)
{
    char text[NETADDR_TEXT_MAX];
    for (size_t at = 0; at < config->smtpd_count; at++) {
        const struct smtpd_conf *other = config->smtpds[at];
        for (size_t i = 0; i < smtpd->listeners.count; i++)
            for (size_t k = 0; k < (other == smtpd ? i : other->listeners.count); k++)
                if (netaddr_equal(&smtpd->listeners.at[i], &other->listeners.at[k]) ||
                    is_part_of(&smtpd->listeners.at[i], &other->listeners.at[k])) {
                    netaddr_text_with_port(&other->listeners.at[k], text);
                    cf_error(&config->problems, config_builder_place(section, "listen-port", 0),
                             bytes_of(text),
                             bytes_of(other == smtpd ? "one socket for each address"
                                                     : "an address that no other [smtpd] has"),
                             bytes_make(NULL, 0));
                    return;
                }
        if (other == smtpd)
            return;
    }
}

int config_resolve_listeners(struct config *config)
{
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        if (section->kind != &smtpd_conf_section)
            continue;
        struct smtpd_conf *smtpd = section->conf;
        for (size_t i = 0; i < smtpd->listen_ports.count; i++) {
            int error = resolve_listen_port(config, smtpd->listen_ports.at[i],
                                            config_builder_place(section, "listen-port", i),
                                            &smtpd->listeners);
            if (error != 0)
                return error;
        }
        check_taken(config, section, smtpd);
    }
    return 0;
}
