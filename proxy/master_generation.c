/* SPDX-License-Identifier: BSD-2-Clause */
/* A generation of processes: those that serve one configuration. */
#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

#include "proxy/master_private.h"

static size_t count_listeners(const struct config *config)
{
    size_t count = 0;
    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->listeners.count;
    return count;
}

/* ---- making one ---- */

static bool take_column(struct master *m, unsigned *column_out)
{
    for (unsigned i = 0; i < SHARED_COLUMNS_MAX; i++) {
        if (m->columns[i])
            continue;
        m->columns[i] = true;
        *column_out = i;
        return true;
    }
    return false;
}

static int make_children(struct master_generation *g)
{
    size_t wanted = (size_t)g->config->core.workers + 1;

    g->children = mem_zalloc(wanted * sizeof(*g->children));
    if (g->children == NULL)
        return EX_OSERR;
    for (size_t i = 0; i < wanted; i++) {
        struct master_child *child = &g->children[i];
        *child = (struct master_child){
            .generation = g, .number = (uint32_t)i, .ready = -1, .due_ms = UINT64_MAX};
        if (!take_column(g->master, &child->column)) {
            fprintf(stderr, "postern: too many processes of old configurations still run\n");
            return EX_OSERR;
        }
        g->child_count++;
    }
    return 0;
}

static bool is_any(const struct netaddr *address)
{
    static const uint8_t none[sizeof(address->octets)];
    return memcmp(address->octets, none, sizeof(none)) == 0;
}

static const struct master_socket *find_socket(const struct master_generation *g,
                                               const struct netaddr *address)
{
    for (size_t i = 0; g != NULL && i < g->socket_count; i++)
        if (netaddr_equal(g->sockets[i].address, address))
            return &g->sockets[i];
    return NULL;
}

/* Is one of them for all addresses, and the other one of these? */
static bool overlaps(const struct master_generation *g, const struct netaddr *address)
{
    for (size_t i = 0; g != NULL && i < g->socket_count; i++) {
        const struct netaddr *own = g->sockets[i].address;
        if (own->family == address->family && own->port == address->port &&
            (is_any(own) || is_any(address)))
            return true;
    }
    return false;
}

/* Tries all, so that all that fails is told. */
static int open_sockets(struct master_generation *g)
{
    struct config *config = g->config;
    int first = 0;

    g->sockets = mem_zalloc((count_listeners(config) + 1) * sizeof(*g->sockets));
    if (g->sockets == NULL)
        return EX_OSERR;
    for (size_t i = 0; i < config->smtpd_count; i++) {
        const struct smtpd_conf *conf = config->smtpds[i];
        for (size_t j = 0; j < conf->listeners.count; j++) {
            struct master_socket *s = &g->sockets[g->socket_count++];
            *s = (struct master_socket){.smtpd = conf, .address = &conf->listeners.at[j]};
            int code = master_open_socket(s, find_socket(g->master->serving, s->address),
                                          overlaps(g->master->serving, s->address),
                                          config->core.workers, &config->problems);
            first = first == 0 ? code : first;
        }
    }
    return first;
}

static int start_children(struct master_generation *g)
{
    for (size_t i = 0; i < g->child_count; i++) {
        int error = master_child_start(&g->children[i]);
        if (error != 0) {
            fprintf(stderr, "postern: cannot start a process: %s\n", strerror(-error));
            return EX_OSERR;
        }
    }
    return 0;
}

int master_generation_start(struct master *m, struct config *config)
{
    struct master_generation *g = mem_zalloc(sizeof(*g));
    if (g == NULL) {
        config_free(&config);
        return EX_OSERR;
    }
    g->master = m;
    g->config = config;
    g->number = ++m->generation_count;
    list_append(&m->generations, &g->link);
    m->coming = g;
    int code = make_children(g);
    if (code == 0)
        code = open_sockets(g);
    if (code == 0)
        code = start_children(g);
    return code;
}

/* ---- ending one ---- */

void master_generation_signal(const struct master_generation *g, int number)
{
    for (size_t i = 0; i < g->child_count; i++)
        if (g->children[i].pid != 0)
            (void)kill(g->children[i].pid, number);
}

void master_generation_close_sockets(struct master_generation *g)
{
    for (size_t i = 0; i < g->socket_count; i++)
        master_open_close(&g->sockets[i]);
}

void master_generation_retire(struct master_generation *g, int number)
{
    g->state = MASTER_GENERATION_RETIRING;
    for (size_t i = 0; i < g->child_count; i++)
        g->children[i].due_ms = UINT64_MAX;
    master_generation_close_sockets(g);
    master_generation_signal(g, number);
}

size_t master_generation_alive(const struct master_generation *g)
{
    size_t count = 0;

    for (size_t i = 0; i < g->child_count; i++)
        count += g->children[i].pid != 0;
    return count;
}

void master_generation_free(struct master_generation *g)
{
    struct master *m = g->master;

    list_remove(&g->link);
    if (m->serving == g)
        m->serving = NULL;
    if (m->coming == g)
        m->coming = NULL;
    master_generation_close_sockets(g);
    for (size_t i = 0; i < g->child_count; i++)
        master_child_free_column(&g->children[i]);
    mem_free(g->sockets);
    mem_free(g->children);
    config_free(&g->config);
    mem_free(g);
}
