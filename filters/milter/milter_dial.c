/* SPDX-License-Identifier: BSD-2-Clause */
/* The addresses of a milter; names are looked up when it is their turn. */
#include "filters/milter/milter_dial.h"

#include <assert.h>

void milter_dial_init(struct milter_dial *dial, struct dns *dns, const struct endpoints *addresses,
                      char *const *paths, void (*ready)(void *owner), void *owner)
{
    *dial = (struct milter_dial){
        .dns = dns, .addresses = addresses, .paths = paths, .ready = ready, .owner = owner};
}

static void on_answer(void *owner, const struct dns_answer *answer)
{
    struct milter_dial *dial = owner;

    dial->query = NULL;
    dial->found_next = 0;
    dial->found = *answer;
    if (answer->status != DNS_FOUND)
        dial->found.address_count = 0;
    dial->ready(dial->owner); /* it is gone perhaps */
}

static bool take_found(struct milter_dial *dial, struct stream_target *to_out)
{
    if (dial->found_next >= dial->found.address_count)
        return false;
    *to_out = (struct stream_target){.address = dial->found.addresses[dial->found_next++]};
    to_out->address.port = dial->port;
    return true;
}

enum milter_dial_step milter_dial_next(struct milter_dial *dial, struct stream_target *to_out)
{
    assert(dial->query == NULL);
    if (take_found(dial, to_out))
        return MILTER_DIAL_ADDRESS;
    while (dial->next < dial->addresses->count) {
        const struct endpoint *endpoint = &dial->addresses->at[dial->next++];

        switch (endpoint->kind) {
        case ENDPOINT_IP:
            *to_out = (struct stream_target){.address = endpoint->ip};
            return MILTER_DIAL_ADDRESS;
        case ENDPOINT_UNIX:
            *to_out = (struct stream_target){.unix_path = dial->paths[dial->next - 1]};
            return MILTER_DIAL_ADDRESS;
        case ENDPOINT_HOST:
            break;
        }
        dial->port = endpoint->port;
        dial->query = dns_ask_addresses(dial->dns, endpoint->host, NULL, on_answer, dial);
        if (dial->query != NULL)
            return MILTER_DIAL_WAITS;
    }
    return MILTER_DIAL_OVER;
}

void milter_dial_stop(struct milter_dial *dial)
{
    if (dial->query != NULL)
        dns_cancel(dial->query);
    dial->query = NULL;
}
