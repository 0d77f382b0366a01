/* SPDX-License-Identifier: BSD-2-Clause */
/* Where to connect to: reading and writing. */
#include "proxy/base/endpoint.h"

#include "proxy/base/cf.h"
#include "proxy/base/error.h"
#include "proxy/base/setting.h"
#include "proxy/base/text.h"

int endpoint_parse_host(struct bytes host, struct bytes port, struct endpoint *endpoint_out)
{
    struct endpoint endpoint = {.kind = ENDPOINT_IP};
    uint64_t number;

    if (text_decimal(port, UINT16_MAX, &number) != 0 || number == 0)
        return ERR_SYNTAX;
    if (netaddr_parse(host, &endpoint.ip) == 0) {
        endpoint.ip.port = (uint16_t)number;
    } else {
        if (!text_is_host_name(host))
            return ERR_SYNTAX;
        endpoint = (struct endpoint){.kind = ENDPOINT_HOST, .host = host, .port = (uint16_t)number};
    }
    *endpoint_out = endpoint;
    return 0;
}

static int parse_unix(struct bytes path, struct endpoint *endpoint_out)
{
    if (path.len == 0 || path.len > SETTING_SOCKET_PATH_MAX || path.at[0] != '/')
        return ERR_SYNTAX;
    *endpoint_out = (struct endpoint){.kind = ENDPOINT_UNIX, .path = path};
    return 0;
}

int endpoint_parse(struct bytes text, struct endpoint *endpoint_out)
{
    static const char unix_prefix[] = "unix:";
    size_t len = sizeof(unix_prefix) - 1, colon = bytes_find(text, ':');
    struct netaddr ip;

    if (text.len >= len && memcmp(text.at, unix_prefix, len) == 0)
        return parse_unix(bytes_skip(text, len), endpoint_out);
    if (netaddr_parse_with_port(text, 0, &ip) == 0) {
        *endpoint_out = (struct endpoint){.kind = ENDPOINT_IP, .ip = ip};
        return 0;
    }
    if (colon == text.len)
        return ERR_SYNTAX;
    return endpoint_parse_host(bytes_first(text, colon), bytes_skip(text, colon + 1), endpoint_out);
}

/* A word: in quotes, all of it, where the path needs them. */
static void put_unix(struct bytes path, struct buf *out)
{
    bool is_quoted = !cf_is_atom(path);

    buf_text(out, is_quoted ? "\"unix:" : "unix:");
    for (size_t i = 0; i < path.len; i++) {
        if (path.at[i] == '"' || path.at[i] == '\\')
            buf_byte(out, '\\');
        buf_byte(out, path.at[i]);
    }
    if (is_quoted)
        buf_byte(out, '"');
}

void endpoint_put(const void *item, struct buf *out)
{
    const struct endpoint *endpoint = item;

    switch (endpoint->kind) {
    case ENDPOINT_IP:
        setting_address.put(&endpoint->ip, out);
        break;
    case ENDPOINT_HOST:
        buf_put(out, endpoint->host);
        buf_byte(out, ':');
        buf_decimal(out, endpoint->port);
        break;
    case ENDPOINT_UNIX:
        put_unix(endpoint->path, out);
        break;
    }
}
