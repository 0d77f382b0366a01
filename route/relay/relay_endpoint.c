/* SPDX-License-Identifier: BSD-2-Clause */
/* One address of a target, with its port: where a connection goes. */
#include "route/relay/relay_endpoint.h"

void relay_endpoint_init(struct relay_endpoint *endpoint, const struct stream_target *to,
                         const struct relay_sharing *sharing, struct bytes target)
{
    char text[RELAY_ENDPOINT_TEXT_MAX];

    *endpoint = (struct relay_endpoint){.to = *to};
    relay_health_init(&endpoint->health, sharing, target, bytes_of(relay_endpoint_text(to, text)));
}

bool relay_endpoint_equal(const struct stream_target *a, const struct stream_target *b)
{
    if (a->address.family != b->address.family)
        return false;
    if (a->address.family == NETADDR_NONE)
        return strcmp(a->unix_path, b->unix_path) == 0;
    return netaddr_equal(&a->address, &b->address);
}

const char *relay_endpoint_text(const struct stream_target *to,
                                char text_out[RELAY_ENDPOINT_TEXT_MAX])
{
    static const char prefix[] = "unix:";
    size_t most = RELAY_ENDPOINT_TEXT_MAX - sizeof(prefix), len;

    if (to->address.family != NETADDR_NONE)
        return netaddr_text_with_port(&to->address, text_out);
    len = strlen(to->unix_path);
    if (len > most)
        len = most;
    memcpy(text_out, prefix, sizeof(prefix) - 1);
    memcpy(text_out + sizeof(prefix) - 1, to->unix_path, len);
    text_out[sizeof(prefix) - 1 + len] = '\0';
    return text_out;
}

void relay_endpoint_describe(const struct relay_endpoint *endpoint, uint64_t now_ms,
                             struct target_address *address_out)
{
    bool is_down = relay_health_is_down(&endpoint->health);

    *address_out = (struct target_address){
        .state = is_down            ? "down"
                 : endpoint->is_met ? "up"
                                    : "unknown",
        .down_seconds = relay_health_down_seconds(&endpoint->health, now_ms),
        .weight = endpoint->weight,
    };
    relay_endpoint_text(&endpoint->to, address_out->text);
}
