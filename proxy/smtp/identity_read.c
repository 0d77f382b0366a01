/* SPDX-License-Identifier: BSD-2-Clause */
/* What others say of a client, in XCLIENT and XFORWARD. */
#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/identity.h"

#define VALUE_MAX    255 /* octets of one value as it is sent; but for FORWARD */
#define PROTOCOL_MAX 64

/* ---- values ---- */

static bool is_unavailable(struct bytes value)
{
    return bytes_is_nocase(value, "[UNAVAILABLE]");
}

static struct bytes unless_unavailable(struct bytes value)
{
    return is_unavailable(value) ? bytes_make(NULL, 0) : value;
}

static bool is_no_name(struct bytes value)
{
    return is_unavailable(value) || bytes_is_nocase(value, "[TEMPUNAVAIL]");
}

/* Each reads one value, which is neutral already. 0, ERR_SYNTAX or ERR_RANGE. */
typedef int read_value(struct identity *who, struct bytes value);

/* As at Postfix, NAME sets the unconfirmed name too; REVERSE_NAME behind it changes that. */
static int read_name(struct identity *who, struct bytes value)
{
    struct bytes name = is_no_name(value) ? bytes_make(NULL, 0) : value;

    if (name.len != 0 && !text_is_host_name(name))
        return ERR_SYNTAX;
    who->name_state = name.len != 0           ? IDENTITY_NAME_CONFIRMED
                      : is_unavailable(value) ? IDENTITY_NAME_UNAVAILABLE
                                              : IDENTITY_NAME_TEMPORARY;
    who->name = who->reverse_name = name;
    return 0;
}

static int read_reverse_name(struct identity *who, struct bytes value)
{
    who->reverse_name = is_no_name(value) ? bytes_make(NULL, 0) : value;
    return who->reverse_name.len == 0 || text_is_host_name(value) ? 0 : ERR_SYNTAX;
}

/* IPv6 has its prefix, IPv4 has none. The port stays. */
static int read_address(struct netaddr *address, struct bytes value)
{
    bool is_ipv6 = bytes_start_with_nocase(value, "IPV6:");
    struct netaddr read = {.family = NETADDR_NONE};

    if (is_ipv6)
        value = bytes_skip(value, strlen("IPV6:"));
    if (is_ipv6 || !is_unavailable(value)) {
        bool has_colon = bytes_find(value, ':') != value.len;
        if (is_ipv6 != has_colon || netaddr_parse(value, &read) != 0)
            return ERR_SYNTAX;
    }
    read.port = address->port;
    *address = read;
    return 0;
}

static int read_port(struct netaddr *address, struct bytes value)
{
    uint64_t port = 0;

    if (!is_unavailable(value) && (value.len > 5 || text_decimal(value, UINT16_MAX, &port) != 0))
        return ERR_SYNTAX;
    address->port = (uint16_t)port;
    return 0;
}

static int read_client_address(struct identity *who, struct bytes value)
{
    return read_address(&who->client, value);
}

static int read_client_port(struct identity *who, struct bytes value)
{
    return read_port(&who->client, value);
}

static int read_local_address(struct identity *who, struct bytes value)
{
    return read_address(&who->local, value);
}

static int read_local_port(struct identity *who, struct bytes value)
{
    return read_port(&who->local, value);
}

static int read_proto(struct identity *who, struct bytes value)
{
    who->is_lmtp = bytes_is_nocase(value, "LMTP"); /* Dovecot says so */
    who->is_esmtp = who->is_lmtp || bytes_is_nocase(value, "ESMTP");
    return who->is_esmtp || bytes_is_nocase(value, "SMTP") ? 0 : ERR_SYNTAX;
}

static int read_helo(struct identity *who, struct bytes value)
{
    who->helo = unless_unavailable(value);
    return 0;
}

static int read_login(struct identity *who, struct bytes value)
{
    who->login = unless_unavailable(value);
    return 0;
}

static int read_reference(struct identity *who, struct bytes value)
{
    who->reference = unless_unavailable(value);
    return 0;
}

static int read_transport(struct identity *who, struct bytes value)
{
    who->transport = unless_unavailable(value);
    return 0;
}

static int read_destination(struct identity *who, struct bytes value)
{
    who->destination = unless_unavailable(value);
    return who->destination.len == 0 || text_is_host_name(value) ? 0 : ERR_SYNTAX;
}

static int read_forwarded(struct identity *who, struct bytes value)
{
    who->forwarded = unless_unavailable(value);
    return 0;
}

static int read_timeout(struct identity *who, struct bytes value)
{
    uint64_t seconds;
    int error = text_decimal(value, UINT32_MAX, &seconds);

    if (error == ERR_RANGE)
        seconds = UINT32_MAX;
    who->patience_s = (uint32_t)seconds;
    return error == ERR_SYNTAX ? error : 0;
}

static int read_ttl(struct identity *who, struct bytes value)
{
    uint64_t hops;

    if (text_decimal(value, UINT32_MAX, &hops) != 0)
        return ERR_SYNTAX;
    who->hops_left = hops < UINT8_MAX ? (uint8_t)hops : UINT8_MAX;
    return hops == 0 ? ERR_RANGE : 0;
}

/* Whatever the protocol is called, it is one word. */
static int read_protocol(struct identity *who, struct bytes value)
{
    who->protocol = value;
    return value.len <= PROTOCOL_MAX && bytes_find(value, ' ') == value.len ? 0 : ERR_SYNTAX;
}

/* As at Postfix, what is not known is local. */
static int read_source(struct identity *who, struct bytes value)
{
    who->is_local = !bytes_is_nocase(value, "REMOTE");
    return !who->is_local || bytes_is_nocase(value, "LOCAL") || is_unavailable(value) ? 0
                                                                                      : ERR_SYNTAX;
}

/* ---- one attribute ---- */

struct attribute {
    uint32_t bit;
    read_value *read;
};

static const struct attribute xclient[] = {
    {ATTRIBUTE_NAME, read_name},
    {ATTRIBUTE_ADDR, read_client_address},
    {ATTRIBUTE_PORT, read_client_port},
    {ATTRIBUTE_PROTO, read_proto},
    {ATTRIBUTE_HELO, read_helo},
    {ATTRIBUTE_LOGIN, read_login},
    {ATTRIBUTE_DESTADDR, read_local_address},
    {ATTRIBUTE_DESTPORT, read_local_port},
    {ATTRIBUTE_REVERSE_NAME, read_reverse_name},
    {ATTRIBUTE_SESSION, read_reference},
    {ATTRIBUTE_TTL, read_ttl},
    {ATTRIBUTE_TIMEOUT, read_timeout},
    {ATTRIBUTE_CLIENT_TRANSPORT, read_transport},
    {ATTRIBUTE_DESTNAME, read_destination},
    {ATTRIBUTE_FORWARD, read_forwarded},
};

static const struct attribute xforward[] = {
    {ATTRIBUTE_NAME, read_name},        {ATTRIBUTE_ADDR, read_client_address},
    {ATTRIBUTE_PORT, read_client_port}, {ATTRIBUTE_PROTO, read_protocol},
    {ATTRIBUTE_HELO, read_helo},        {ATTRIBUTE_IDENT, read_reference},
    {ATTRIBUTE_SOURCE, read_source},
};

/* Header fields, log lines and commands to targets are made of HELO. */
static bool is_harmless_in_helo(uint8_t octet)
{
    return octet != 0 && byte_is_printable(octet) && strchr(" <>()\\\";@", octet) == NULL;
}

static bool is_harmless(uint8_t octet)
{
    return byte_is_printable(octet);
}

/* What the value stands for, with "?" for every octet that does not belong there. Peers older than
 * xtext send values as they are, so what is no xtext is taken as it stands. */
static int decode(struct bytes raw, uint32_t bit, struct arena *arena, struct bytes *value_out)
{
    bool (*harmless)(uint8_t) = bit == ATTRIBUTE_HELO ? is_harmless_in_helo : is_harmless;
    struct bytes value;
    uint8_t *neutral;

    int error = text_from_xtext(raw, arena, &value);
    if (error == ERR_MEMORY)
        return error;
    if (error != 0)
        value = raw;
    neutral = arena_alloc(arena, value.len);
    if (neutral == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < value.len; i++)
        neutral[i] = harmless(value.at[i]) ? value.at[i] : '?';
    *value_out = bytes_make(neutral, value.len);
    return 0;
}

/* "NAME=value" */
static int read_attribute(struct bytes word, const struct attribute *known, size_t known_count,
                          struct arena *arena, struct identity *who, uint32_t *given)
{
    size_t equals = bytes_find(word, '=');
    uint32_t bit = capability_attribute(bytes_first(word, equals));
    struct bytes value;
    size_t i = 0;

    while (i < known_count && known[i].bit != bit)
        i++;
    if (i == known_count || word.len < equals + 2 ||
        (word.len - equals - 1 > VALUE_MAX && bit != ATTRIBUTE_FORWARD))
        return ERR_SYNTAX;
    int error = decode(bytes_skip(word, equals + 1), bit, arena, &value);
    if (error != 0)
        return error;
    *given |= bit;
    return known[i].read(who, value);
}

/* From left to right: what comes later counts. */
static int read_all(struct bytes argument, const struct attribute *known, size_t known_count,
                    struct arena *arena, struct identity *who, uint32_t *given_out)
{
    struct bytes word = text_word(&argument);
    int error = word.len == 0 ? ERR_SYNTAX : 0;

    *given_out = 0;
    for (; error == 0 && word.len != 0; word = text_word(&argument))
        error = read_attribute(word, known, known_count, arena, who, given_out);
    return error;
}

/* ---- commands ---- */

/* A port belongs to its address. */
static void forget_stale_ports(struct identity *who, uint32_t given)
{
    if ((given & (ATTRIBUTE_ADDR | ATTRIBUTE_PORT)) == ATTRIBUTE_ADDR)
        who->client.port = 0;
    if ((given & (ATTRIBUTE_DESTADDR | ATTRIBUTE_DESTPORT)) == ATTRIBUTE_DESTADDR)
        who->local.port = 0;
}

int identity_read_xclient(struct bytes argument, struct arena *arena, struct identity *who,
                          uint32_t *given_out)
{
    struct identity read = *who;

    read.helo = read.login = read.reference = bytes_make(NULL, 0);
    read.mechanism = 0;
    read.transport = read.destination = read.forwarded = bytes_make(NULL, 0);
    read.patience_s = 0;
    read.is_esmtp = read.is_lmtp = false;
    int error = read_all(argument, xclient, ARRAY_LENGTH(xclient), arena, &read, given_out);
    if (error != 0)
        return error;
    forget_stale_ports(&read, *given_out);
    if ((*given_out & (ATTRIBUTE_ADDR | ATTRIBUTE_NAME)) == ATTRIBUTE_ADDR) {
        read.name_state = IDENTITY_NAME_PENDING;
        read.name = read.reverse_name = bytes_make(NULL, 0);
    }
    *who = read;
    return 0;
}

struct identity identity_unknown(void)
{
    return (struct identity){.name_state = IDENTITY_NAME_UNAVAILABLE,
                             .protocol = bytes_of("[UNAVAILABLE]")};
}

int identity_read_xforward(struct bytes argument, struct arena *arena, struct identity *who)
{
    struct identity read = *who;
    uint32_t given;

    int error = read_all(argument, xforward, ARRAY_LENGTH(xforward), arena, &read, &given);
    if (error == 0)
        *who = read;
    return error;
}

uint64_t identity_patience_ms(const struct identity *who, uint64_t most_ms)
{
    uint64_t theirs_ms = (uint64_t)who->patience_s * 900; /* the last tenth is for the way */

    return who->patience_s == 0 || theirs_ms > most_ms ? most_ms : theirs_ms;
}

/* ---- a copy ---- */

static void move_text(struct bytes *text, uint8_t **to)
{
    if (text->len != 0)
        memcpy(*to, text->at, text->len);
    text->at = *to;
    *to += text->len;
}

struct identity *identity_copy(const struct identity *who)
{
    size_t octets = who->name.len + who->reverse_name.len + who->helo.len + who->login.len +
                    who->reference.len + who->transport.len + who->destination.len +
                    who->forwarded.len + who->protocol.len;
    struct identity *copy = mem_alloc(sizeof(*copy) + octets);

    if (copy == NULL)
        return NULL;
    *copy = *who;
    uint8_t *to = (uint8_t *)(copy + 1);
    move_text(&copy->name, &to);
    move_text(&copy->reverse_name, &to);
    move_text(&copy->helo, &to);
    move_text(&copy->login, &to);
    move_text(&copy->reference, &to);
    move_text(&copy->transport, &to);
    move_text(&copy->destination, &to);
    move_text(&copy->forwarded, &to);
    move_text(&copy->protocol, &to);
    return copy;
}
