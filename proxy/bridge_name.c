/* SPDX-License-Identifier: BSD-2-Clause */
/* Reverse DNS of one client, confirmed forward, without anybody waiting for it but XCLIENT and
 * some filters. */
#include "proxy/base/text.h"
#include "proxy/bridge.h"
#include "proxy/bridge_filter.h"
#include "proxy/services.h"

/* The name's state is final, so branches and filters that wait for it go on. */
static void finish(struct bridge *b, enum identity_name state)
{
    b->query = NULL;
    b->session.client.name_state = state;
    bridge_auth_named(b);
    carrier_named(&b->carrier);
    bridge_filter_named(b);
}

static void on_addresses(void *owner, const struct dns_answer *answer)
{
    struct bridge *b = owner;

    for (int i = 0; i < answer->address_count; i++) {
        if (netaddr_same_host(&answer->addresses[i], &b->session.client.client)) {
            b->session.client.name = b->session.client.reverse_name;
            finish(b, IDENTITY_NAME_CONFIRMED);
            return;
        }
    }
    finish(b,
           answer->status == DNS_TEMPORARY ? IDENTITY_NAME_TEMPORARY : IDENTITY_NAME_UNAVAILABLE);
}

/* A PTR record may hold anything. Only what is a host name is looked at again. */
static bool keep_reverse_name(struct bridge *b, const struct dns_answer *answer)
{
    for (int i = 0; i < answer->name_count; i++) {
        struct bytes name = bytes_of(answer->names[i].text);
        if (!text_is_host_name(name))
            continue;
        uint8_t *kept = mem_alloc(name.len);
        if (kept == NULL)
            return false;
        memcpy(kept, name.at, name.len);
        b->reverse_name = kept;
        b->session.client.reverse_name = bytes_make(kept, name.len);
        return true;
    }
    return false;
}

static void on_names(void *owner, const struct dns_answer *answer)
{
    struct bridge *b = owner;

    b->query = NULL;
    if (answer->status == DNS_FOUND && keep_reverse_name(b, answer))
        b->query = dns_ask_addresses(b->smtpd->services->dns, b->session.client.reverse_name,
                                     &b->session.client.client, on_addresses, b);
    if (b->query == NULL)
        finish(b, answer->status == DNS_NOT_FOUND || answer->status == DNS_FOUND
                      ? IDENTITY_NAME_UNAVAILABLE
                      : IDENTITY_NAME_TEMPORARY);
}

void bridge_name_ask(struct bridge *b)
{
    struct identity *client = &b->session.client;

    client->name_state = IDENTITY_NAME_UNAVAILABLE;
    if (!b->smtpd->conf->resolves_names || client->client.family == NETADDR_NONE)
        return;
    b->query = dns_ask_names(b->smtpd->services->dns, &client->client, on_names, b);
    client->name_state = b->query == NULL ? IDENTITY_NAME_TEMPORARY : IDENTITY_NAME_PENDING;
}

void bridge_name_forget(struct bridge *b)
{
    if (b->query != NULL)
        dns_cancel(b->query);
    b->query = NULL;
    mem_free(b->reverse_name);
    b->reverse_name = NULL;
}
