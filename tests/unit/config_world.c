/* SPDX-License-Identifier: BSD-2-Clause */
/* Stands in for the host that a configuration is read on. */
#include "tests/unit/config_world.h"

#include <fcntl.h>
#include <grp.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a world of our own: these stand in place of the C library's ---- */

uid_t config_world_uid;

uid_t geteuid(void)
{
    return config_world_uid;
}

int gethostname(char *name, size_t len)
{
    snprintf(name, len, "host");
    return 0;
}

struct passwd *getpwnam(const char *name)
{
    static const struct {
        const char *name;
        uid_t user;
        gid_t group;
    } accounts[] = {
        {"root", 0, 0}, {"toor", 0, 0}, {"postern", 107, 117}, {"postmaster", 500, 501}};
    static struct passwd found;
    for (size_t i = 0; i < ARRAY_LENGTH(accounts); i++)
        if (strcmp(name, accounts[i].name) == 0) {
            found.pw_uid = accounts[i].user;
            found.pw_gid = accounts[i].group;
            return &found;
        }
    return NULL;
}

struct group *getgrnam(const char *name)
{
    static struct group nobody = {.gr_gid = 65534};
    return strcmp(name, "nobody") == 0 ? &nobody : NULL;
}

struct servent *getservbyname(const char *name, const char *protocol)
{
    static struct servent odd;
    odd.s_port = htons(2627);
    return strcmp(name, "odd-service") == 0 && strcmp(protocol, "tcp") == 0 ? &odd : NULL;
}

struct answer {
    struct addrinfo info;
    struct sockaddr_storage address;
    char name[64];
};

static struct addrinfo *make_answer(const char *text, const char *name, struct addrinfo *next)
{
    struct netaddr address;
    struct answer *a = calloc(1, sizeof *a);
    assert_non_null(a);
    assert_int_equal(netaddr_parse(bytes_of(text), &address), 0);
    bool is_v6 = address.family == NETADDR_IPV6;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    memcpy(&in.sin_addr, address.octets, 4);
    memcpy(&in6.sin6_addr, address.octets, 16);
    memcpy(&a->address, is_v6 ? (void *)&in6 : (void *)&in, is_v6 ? sizeof in6 : sizeof in);
    snprintf(a->name, sizeof a->name, "%s", name);
    a->info = (struct addrinfo){
        .ai_addr = (struct sockaddr *)&a->address, .ai_canonname = a->name, .ai_next = next};
    return &a->info;
}

int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict answer)
{
    static const struct {
        const char *name, *whole, *first, *second;
    } hosts[] = {
        {"host", "host.example.net", "192.0.2.1", NULL},
        {"host.example.net", "host.example.net", "192.0.2.1", NULL},
        {"mx.example.net", "mx.example.net", "127.0.0.1", "::1"},
        {"other.example.net", "other.example.net", "198.51.100.7", NULL},
        {"localhost", "localhost", "127.0.0.1", NULL},
    };
    (void)service;
    (void)hints;
    for (size_t i = 0; i < ARRAY_LENGTH(hosts); i++)
        if (strcmp(name, hosts[i].name) == 0) {
            *answer =
                hosts[i].second == NULL ? NULL : make_answer(hosts[i].second, hosts[i].whole, NULL);
            *answer = make_answer(hosts[i].first, hosts[i].whole, *answer);
            return 0;
        }
    return EAI_NONAME;
}

void freeaddrinfo(struct addrinfo *answer)
{
    while (answer != NULL) {
        struct addrinfo *next = answer->ai_next;
        free(CONTAINER_OF(answer, struct answer, info));
        answer = next;
    }
}

int getifaddrs(struct ifaddrs **list)
{
    static struct sockaddr_in in = {.sin_family = AF_INET};
    static struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    static struct ifaddrs third = {.ifa_addr = (struct sockaddr *)&in6};
    static struct ifaddrs second = {.ifa_addr = (struct sockaddr *)&in, .ifa_next = &third};
    static struct ifaddrs first = {.ifa_next = &second};
    in.sin_addr.s_addr = htonl(0xC0000201);
    memcpy(&in6.sin6_addr, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    *list = &first;
    return 0;
}

void freeifaddrs(struct ifaddrs *list)
{
    assert_non_null(list);
}

/* ---- one configuration ---- */

void config_world_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    fclose(file);
}

static void print(struct config_world *b)
{
    size_t len;
    FILE *out = open_memstream(&b->problems, &len);
    config_print_problems(b->config, out);
    fclose(out);
    b->dump = NULL;
    if (b->code == 0) {
        out = open_memstream(&b->dump, &len);
        assert_int_equal(config_dump(b->config, out), 0);
        fclose(out);
    }
}

void config_world_read(struct config_world *b, int argc, char **argv, bool is_check)
{
    struct flags flags = {.config_path = "t.cf", .arguments = argv, .argument_count = argc};
    b->config = config_new();
    b->code = config_read(b->config, &flags);
    if (is_check)
        b->code = config_check(b->config);
    print(b);
}

/* `flags`: each on a line. */
void config_world_load(struct config_world *b, const char *text, const char *flags, bool is_check)
{
    static char lines[65536];
    static char *argv[CONFIG_WORLD_ARGUMENTS_MAX] = {lines};
    int argc = 1;
    config_world_write("t.cf", text);
    assert_true(strlen(flags) < sizeof lines);
    memcpy(lines, flags, strlen(flags) + 1);
    for (char *line = strtok(lines, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(argc < CONFIG_WORLD_ARGUMENTS_MAX);
        argv[argc++] = line;
    }
    config_world_read(b, argc, argv, is_check);
}

void config_world_unload(struct config_world *b)
{
    config_free(&b->config);
    free(b->problems);
    free(b->dump);
}

/* ---- a folder ---- */

int config_world_enter(void **state)
{
    static char folder[] = "/tmp/test_config.XXXXXX";
    *state = folder;
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

int config_world_leave(void **state)
{
    static const char *const names[] = {"t.cf", "d/one", "d/two"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        unlink(names[i]);
    rmdir("d");
    return chdir("/") != 0 || rmdir(*state) != 0;
}
