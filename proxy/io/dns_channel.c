/* SPDX-License-Identifier: BSD-2-Clause */
/* The name servers that are asked. Those of resolv.conf may become others while we run: c-ares then
 * gets a new channel, and the old one goes when it owes nothing any more. */
#include "proxy/base/error.h"
#include "proxy/io/dns_uv.h"
#include "proxy/io/loop_uv.h"

#define SERVERS_TEXT_MAX 1024
#define TRY_MS           1500 /* the second try waits twice as long */
#define TRIES            2
#define RESOLV_CONF      "/etc/resolv.conf"
#define LOOK_MS          2000
#define SETTLE_MS        500 /* it may be written in parts */

/* Lives until libuv has closed the handle, which may be after the dns is freed. */
struct dns_watch {
    uv_fs_poll_t poll; /* first: the handle is the watch */
    struct dns *dns;
};

/* ---- one channel ---- */

/* Reads resolv.conf, so at the start and in jobs alone. 0 or ERR_MEMORY. */
static int open_ares(struct dns_channel *channel)
{
    struct ares_options options = {.flags = ARES_FLAG_NOSEARCH,
                                   .timeout = TRY_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = dns_socket_changed,
                                   .sock_state_cb_data = channel};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;

    return ares_init_options(&channel->ares, &options, mask) == ARES_SUCCESS ? 0 : ERR_MEMORY;
}

static int set_servers(ares_channel ares, const struct bytes *servers, int count)
{
    char list[SERVERS_TEXT_MAX], text[NETADDR_TEXT_MAX];
    size_t used = 0;

    for (int i = 0; i < count; i++) {
        struct netaddr address;
        size_t length;
        int error = netaddr_parse_with_port(servers[i], 53, &address);

        if (error != 0)
            return error;
        length = strlen(netaddr_text_with_port(&address, text));
        if (used + length + 2 > sizeof(list))
            return ERR_TOO_LONG;
        if (used > 0)
            list[used++] = ',';
        memcpy(list + used, text, length + 1);
        used += length;
    }
    return count == 0 || ares_set_servers_ports_csv(ares, list) == ARES_SUCCESS ? 0 : ERR_MEMORY;
}

static struct dns_channel *new_channel(struct dns *dns)
{
    struct dns_channel *channel = mem_zalloc(sizeof(*channel));

    if (channel == NULL)
        return NULL;
    channel->dns = dns;
    list_init(&channel->link);
    list_init(&channel->sockets);
    return channel;
}

/* Answers what it owes, within the call. */
static void free_channel(struct dns_channel *channel)
{
    if (channel->ares != NULL)
        ares_destroy(channel->ares);
    assert(channel->due == 0 && list_is_empty(&channel->sockets));
    list_remove(&channel->link);
    mem_free(channel);
}

static void use(struct dns *dns, struct dns_channel *channel)
{
    list_append(&dns->channels, &channel->link);
    dns->channel = channel;
    dns->channel_count++;
}

void dns_channels_tick(struct dns *dns)
{
    LIST_EACH (link, &dns->channels) {
        struct dns_channel *channel = LIST_ENTRY(link, struct dns_channel, link);

        ares_process_fd(channel->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        if (channel->due == 0 && channel != dns->channel)
            free_channel(channel);
    }
}

/* ---- resolv.conf changes ---- */

static void renew_later(struct dns *dns)
{
    deadline_set(dns->loop, &dns->renewing, loop_now_ms(dns->loop) + SETTLE_MS);
}

static void on_make(struct work *making)
{
    (void)open_ares(CONTAINER_OF(making, struct dns_channel, making));
}

static void on_made(struct work *making)
{
    struct dns_channel *channel = CONTAINER_OF(making, struct dns_channel, making);
    struct dns *dns = channel->dns;

    if (dns != NULL)
        dns->coming = NULL;
    if (dns != NULL && channel->ares != NULL) {
        use(dns, channel);
        dns_channels_tick(dns); /* the one before may owe nothing */
        return;
    }
    free_channel(channel);
    if (dns != NULL)
        renew_later(dns);
}

static void renew(struct deadline *renewing)
{
    struct dns *dns = CONTAINER_OF(renewing, struct dns, renewing);
    struct dns_channel *channel = dns->coming == NULL ? new_channel(dns) : NULL;

    if (channel != NULL) {
        channel->making.run = on_make;
        channel->making.done = on_made;
        if (work_run(dns->loop, &channel->making) == 0) {
            dns->coming = channel;
            return;
        }
        free_channel(channel);
    }
    renew_later(dns);
}

static const struct deadline_use renewing_use = {.reached = renew};

/* While there is no such file, those that were asked last are asked on. */
static void on_change(uv_fs_poll_t *poll, int status, const uv_stat_t *before, const uv_stat_t *now)
{
    (void)before;
    (void)now;
    if (status == 0)
        renew_later(((struct dns_watch *)poll)->dns);
}

static int watch(struct dns *dns)
{
    dns->watch = mem_zalloc(sizeof(*dns->watch));
    if (dns->watch == NULL)
        return ERR_MEMORY;
    dns->watch->dns = dns;
    (void)uv_fs_poll_init(&dns->loop->uv, &dns->watch->poll); /* cannot fail */
    return uv_fs_poll_start(&dns->watch->poll, on_change, RESOLV_CONF, LOOK_MS);
}

static void on_closed(uv_handle_t *handle)
{
    mem_free(handle);
}

/* ---- beginning and ending ---- */

int dns_channels_init(struct dns *dns, const struct bytes *servers, int count)
{
    struct dns_channel *channel = new_channel(dns);
    int error;

    list_init(&dns->channels);
    deadline_init(&dns->renewing, &renewing_use);
    if (channel == NULL)
        return ERR_MEMORY;
    use(dns, channel);
    error = count == 0 ? watch(dns) : 0; /* before the file is read */
    if (error == 0)
        error = open_ares(channel);
    return error != 0 ? error : set_servers(channel->ares, servers, count);
}

void dns_channels_done(struct dns *dns)
{
    if (dns->watch != NULL)
        uv_close((uv_handle_t *)&dns->watch->poll, on_closed);
    deadline_clear(dns->loop, &dns->renewing);
    if (dns->coming != NULL)
        dns->coming->dns = NULL; /* it goes when it is made */
    LIST_EACH (link, &dns->channels)
        free_channel(LIST_ENTRY(link, struct dns_channel, link));
}
