/* SPDX-License-Identifier: BSD-2-Clause */
/* How many connections each client has, and how many it may have. */
#include "proxy/services.h"
#include "proxy/smtpd.h"

static struct shared *shared_of(const struct smtpd *d)
{
    return d->services->shared;
}

struct width {
    unsigned bits, times;
};

/* The widest first. */
static const struct width widths_v4[] = {{32, 1}};
static const struct width widths_v6[] = {{48, 16}, {56, 4}, {64, 1}};

static struct smtpd_client *make_client(struct smtpd *d, const struct netaddr *net,
                                        const struct width *width, struct bytes key)
{
    struct smtpd_client *client = mem_zalloc(sizeof(*client));

    if (client == NULL)
        return NULL;
    memcpy(client->key, key.at, key.len);
    client->times = width->times;
    client->connections.key =
        shared_key_of_client(shared_of(d), d->conf->section, net, width->bits);
    if (hash_table_add(&d->clients, &client->entry, bytes_make(client->key, key.len)) != 0) {
        mem_free(client);
        return NULL;
    }
    return client;
}

static struct smtpd_client *find_client(struct smtpd *d, const struct netaddr *address,
                                        const struct width *width)
{
    struct netaddr net = netaddr_prefix(address, width->bits);
    uint8_t key[sizeof(((struct smtpd_client *)NULL)->key)];

    key[0] = (uint8_t)net.family;
    key[1] = (uint8_t)width->bits;
    memcpy(key + 2, net.octets, sizeof(net.octets));
    struct hash_entry *found = hash_table_find(&d->clients, bytes_make(key, sizeof(key)));
    return found == NULL ? make_client(d, &net, width, bytes_make(key, sizeof(key)))
                         : CONTAINER_OF(found, struct smtpd_client, entry);
}

void smtpd_count_out(struct smtpd *d, struct smtpd_client *client)
{
    while (client != NULL) {
        struct smtpd_client *wider = client->wider;
        shared_add(shared_of(d), &client->connections, -1);
        if (client->connections.own == 0) {
            hash_table_remove(&d->clients, &client->entry);
            mem_free(client);
        }
        client = wider;
    }
}

/* One more connection of this address. NULL: no memory. */
static struct smtpd_client *count(struct smtpd *d, const struct netaddr *address)
{
    bool is_v6 = address->family == NETADDR_IPV6;
    const struct width *widths = is_v6 ? widths_v6 : widths_v4;
    size_t count = is_v6 ? ARRAY_LENGTH(widths_v6) : ARRAY_LENGTH(widths_v4);
    struct smtpd_client *wider = NULL;

    for (size_t i = 0; i < count; i++) {
        struct smtpd_client *client = find_client(d, address, &widths[i]);
        if (client == NULL) {
            smtpd_count_out(d, wider);
            return NULL;
        }
        client->wider = wider;
        shared_add(shared_of(d), &client->connections, 1);
        wider = client;
    }
    return wider;
}

static bool has_too_many(const struct smtpd *d, const struct smtpd_client *client)
{
    uint64_t each = d->conf->limits.connections_per_client;

    for (; client != NULL; client = client->wider)
        if (shared_sum(shared_of(d), &client->connections) > each * client->times)
            return true;
    return false;
}

/* Who may speak for clients has connections for all of them; they are counted one by one when it
 * has said who they are. */
static bool is_spared(const struct smtpd_conf *conf, const struct netaddr *client)
{
    return setting_nets_hold(&conf->limits.exempt, client) ||
           setting_nets_hold(&conf->fronts.xclient, client);
}

enum reply_id smtpd_count_in(struct smtpd *d, const struct netaddr *client,
                             struct smtpd_client **counted_out)
{
    *counted_out = NULL;
    if (is_spared(d->conf, client))
        return REPLY_OK;
    *counted_out = count(d, client);
    if (*counted_out == NULL)
        return REPLY_NO_MEMORY;
    return has_too_many(d, *counted_out) ? REPLY_TOO_MANY_FROM_CLIENT : REPLY_OK;
}

bool smtpd_is_full(const struct smtpd *d, const struct netaddr *client)
{
    return !setting_nets_hold(&d->conf->limits.exempt, client) &&
           shared_sum(shared_of(d), &d->connections) > d->conf->limits.connections;
}
