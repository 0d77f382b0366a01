/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [milter-server "N"]. */
#include "proxy/config/milter_server_conf.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

static bool is_port(struct bytes text)
{
    uint64_t port;

    return text_decimal(text, UINT16_MAX, &port) == 0 && port > 0;
}

static const char *wrong_listen(struct bytes value)
{
    size_t colon = bytes_find(value, ':'), at = bytes_find(value, '@');
    struct bytes scheme = bytes_first(value, colon), where = bytes_skip(value, colon);
    struct netaddr ip;

    if (where.len > 1 && bytes_is(scheme, "unix"))
        return where.at[1] == '/' && where.len - 1 <= SETTING_LISTEN_PATH_MAX
                   ? NULL
                   : "unix: and an absolute path of at most 99 octets";
    if (bytes_is(scheme, "inet") && at < value.len && at > colon &&
        is_port(bytes_make(value.at + colon + 1, at - colon - 1))) {
        struct bytes host = bytes_skip(value, at + 1);
        if (netaddr_parse(host, &ip) == 0 || text_is_host_name(host))
            return NULL;
    }
    return "inet:PORT@HOST or unix:PATH";
}

static int parse_mode(struct bytes word, struct arena *arena, void *item_out)
{
    uint32_t mode = 0;

    (void)arena;
    if (word.len < 3 || word.len > 4)
        return ERR_SYNTAX;
    for (size_t i = 0; i < word.len; i++) {
        if (word.at[i] < '0' || word.at[i] > '7')
            return ERR_SYNTAX;
        mode = mode * 8 + word.at[i] - '0';
    }
    if (mode > 0777)
        return ERR_SYNTAX;
    memcpy(item_out, &mode, sizeof(mode));
    return 0;
}

static void put_mode(const void *item, struct buf *out)
{
    uint32_t mode;

    memcpy(&mode, item, sizeof(mode));
    for (unsigned shift = 12; shift > 0; shift -= 3)
        buf_byte(out, (uint8_t)('0' + ((mode >> (shift - 3)) & 7)));
}

static const struct setting_type mode_type = {.expected = "an octal mode, such as 0660",
                                              .item_bytes = sizeof(uint32_t),
                                              .parse = parse_mode,
                                              .put = put_mode};

#define AT(member) SETTING_AT(milter_server_conf, member)

static const struct setting rows[] = {
    {"listen", SETTING_TEXTS, AT(listen), NULL, NULL, .initial_help = "none, and one is needed",
     .wrong = wrong_listen,
     .help = "sockets for mail servers, inet:PORT@HOST or unix:PATH; each gets a process"},
    {"filter", SETTING_TEXTS, AT(filters), NULL, NULL, .initial_help = "none, and one is needed",
     .help = "filters that judge clients and their mail, in this order"},
    {"socket-mode", SETTING_CUSTOM, AT(socket_mode), "0660", NULL, .type = &mode_type,
     .help = "permissions of unix sockets"},
};

const struct setting_section milter_server_section = {
    .kind = "milter-server",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct milter_server_conf),
    .is_named = true,
    .name_offset = AT(section),
    .help = "filters for mail servers that speak the milter protocol; served by postern-milter"};
