/* SPDX-License-Identifier: BSD-2-Clause */
/* The header of the PROXY protocol, with which every connection of a peer in proxy-protocol-from
 * begins. Nothing is said before it has come; without it nothing is said at all, since such a peer
 * would be taken for the client. */
#include "proxy/base/error.h"
#include "proxy/bridge.h"
#include "proxy/services.h"

#define HEADER_MS 5000

bool bridge_proxy_begin(struct bridge *b)
{
    assert(b->state == BRIDGE_HEADER);
    b->proxy = mem_zalloc(sizeof(*b->proxy));
    b->session_end_ms = loop_now_ms(b->carrier.loop) + HEADER_MS;
    return b->proxy != NULL;
}

void bridge_proxy_fail(struct bridge *b, int error)
{
    assert(b->state == BRIDGE_HEADER);
    if (error != ERR_CLOSED || b->proxy->count != 0) /* else somebody looks whether we are there */
        bridge_log_no_header(b, error);
}

/* The connection counts for the client; of its own connections a proxy may have any number. */
static enum reply_id count(struct bridge *b, const struct proxy_header *header)
{
    struct identity *client = &b->session.client;

    if (!header->is_own) {
        client->client = header->client;
        client->local = header->local;
        client->is_secured = header->is_secured;
    }
    if (smtpd_is_full(b->smtpd, &client->client))
        return REPLY_TOO_MANY_CONNECTIONS;
    return header->is_own ? REPLY_OK : smtpd_count_in(b->smtpd, &client->client, &b->counted);
}

size_t bridge_proxy_take(struct bridge *b, struct bytes in, int *error_out)
{
    struct proxy_header header;
    size_t used = proxy_reader_take(b->proxy, in, &header, error_out);

    if (*error_out != 0)
        return used;
    bridge_client_meet(b, &header, count(b, &header));
    mem_free(b->proxy);
    b->proxy = NULL;
    return used;
}
