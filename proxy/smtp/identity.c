/* SPDX-License-Identifier: BSD-2-Clause */
/* An attribute's length is known before it is written: one that does not fit in a command goes into
 * the next (XFORWARD), or is left out (XCLIENT). */
#include "proxy/smtp/identity.h"

#include "proxy/base/text.h"

#define VALUE_MAX 255 /* octets of one value as it is sent: Postfix refuses more */

struct item {
    struct bytes name; /* " NAME=" */
    enum capability_attribute bit;
};

#define NAMED(name, id)                                                                            \
    {                                                                                              \
        {(const uint8_t *)" " name "=", sizeof(name) + 1}, ATTRIBUTE_##id                          \
    }
#define ITEM(name) NAMED(#name, name)

struct attribute {
    struct bytes name, value;
    size_t length;                                 /* of name and value as they are sent */
    char text[NETADDR_TEXT_MAX + sizeof("IPV6:")]; /* room for a value that is made here */
};

static struct bytes unavailable(void)
{
    return bytes_of("[UNAVAILABLE]");
}

static void put_attribute(struct buf *out, const struct attribute *attribute)
{
    buf_put(out, attribute->name);
    if (attribute->length == attribute->name.len + attribute->value.len)
        buf_put(out, attribute->value);
    else
        text_put_xtext(out, attribute->value);
}

/* A PTR record is hostile input, so the name is checked again right before it is sent. */
static struct bytes host_name(struct bytes name)
{
    return text_is_host_name(name) ? name : unavailable();
}

static struct bytes name_value(const struct identity *who)
{
    switch (who->name_state) {
    case IDENTITY_NAME_CONFIRMED:
        return host_name(who->name);
    case IDENTITY_NAME_UNAVAILABLE:
        return unavailable();
    case IDENTITY_NAME_PENDING:
    case IDENTITY_NAME_TEMPORARY:
        break;
    }
    return bytes_of("[TEMPUNAVAIL]");
}

/* `text` where it is short enough and printable ASCII without spaces, else [UNAVAILABLE]. */
static struct bytes printable(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < 33 || text.at[i] > 126)
            return unavailable();
    return text.len == 0 || text_xtext_length(text) > VALUE_MAX ? unavailable() : text;
}

static struct bytes address_value(const struct netaddr *address, enum identity_form form,
                                  struct attribute *attribute)
{
    bool is_prefixed = form == IDENTITY_FORM_PREFIXED && address->family == NETADDR_IPV6;
    size_t prefix = is_prefixed ? strlen("IPV6:") : 0;

    if (address->family == NETADDR_NONE)
        return unavailable();
    memcpy(attribute->text, "IPV6:", prefix);
    netaddr_text(address, attribute->text + prefix);
    return bytes_of(attribute->text);
}

static struct bytes number_value(unsigned number, struct attribute *attribute)
{
    size_t at = sizeof(attribute->text);

    do
        attribute->text[--at] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return bytes_make(attribute->text + at, sizeof(attribute->text) - at);
}

static struct bytes port_value(const struct netaddr *address, struct attribute *attribute)
{
    if (address->family == NETADDR_NONE || address->port == 0)
        return unavailable();
    return number_value(address->port, attribute);
}

/* One hop less than it had when it came. */
static struct bytes ttl_value(const struct identity *who, struct attribute *attribute)
{
    return number_value(who->hops_left == 0 ? IDENTITY_HOPS : who->hops_left - 1U, attribute);
}

const char *identity_greeted(const struct identity *who)
{
    return who->is_lmtp ? "LMTP" : who->is_esmtp ? "ESMTP" : "SMTP";
}

/* RFC 3848 speaks of ESMTP and LMTP alone. */
void identity_put_with(struct buf *out, const struct identity *who)
{
    buf_text(out, identity_greeted(who));
    if (who->is_esmtp && who->is_secured)
        buf_byte(out, 'S');
    if (who->is_esmtp && who->login.len != 0)
        buf_byte(out, 'A');
}

struct bytes identity_protocol(const struct identity *who)
{
    return who->protocol.len != 0 ? printable(who->protocol) : bytes_of(identity_greeted(who));
}

/* `way->form` is not AUTO. */
static struct bytes value_of(const struct identity *who, enum capability_attribute bit,
                             const struct identity_way *way, struct attribute *attribute)
{
    if (bit == ATTRIBUTE_NAME)
        return name_value(who);
    if (bit == ATTRIBUTE_ADDR)
        return address_value(&who->client, way->form, attribute);
    if (bit == ATTRIBUTE_PORT)
        return port_value(&who->client, attribute);
    if (bit == ATTRIBUTE_DESTADDR)
        return address_value(&who->local, way->form, attribute);
    if (bit == ATTRIBUTE_DESTPORT)
        return port_value(&who->local, attribute);
    if (bit == ATTRIBUTE_PROTO) /* Postfix knows no LMTP in XCLIENT */
        return bytes_of(who->is_esmtp ? "ESMTP" : "SMTP");
    if (bit == ATTRIBUTE_REVERSE_NAME)
        return host_name(who->reverse_name);
    if (bit == ATTRIBUTE_HELO)
        return printable(who->helo);
    if (bit == ATTRIBUTE_LOGIN)
        return text_xtext_length(who->login) > VALUE_MAX ? unavailable() : who->login;
    if (bit == ATTRIBUTE_SESSION)
        return printable(who->reference);
    if (bit == ATTRIBUTE_TTL)
        return ttl_value(who, attribute);
    if (bit == ATTRIBUTE_TIMEOUT)
        return number_value(way->patience_s, attribute);
    if (bit == ATTRIBUTE_CLIENT_TRANSPORT)
        return who->transport.len != 0 ? printable(who->transport) : bytes_of("TLS");
    if (bit == ATTRIBUTE_DESTNAME)
        return host_name(who->destination);
    if (bit == ATTRIBUTE_FORWARD)
        return who->forwarded;
    return bytes_of(who->is_local ? "LOCAL" : "REMOTE"); /* SOURCE */
}

static void set(struct attribute *attribute, const struct item *item, struct bytes value)
{
    attribute->name = item->name;
    attribute->value = value;
    attribute->length = item->name.len + text_xtext_length(value);
}

/* ---- XCLIENT ---- */

/* Exim keeps the address as it is written, and KumoMTA reads only a bare one. */
static bool wants_bare(uint32_t attributes)
{
    const unsigned both = ATTRIBUTE_ADDR | ATTRIBUTE_PORT;
    const unsigned kumo = both | ATTRIBUTE_DESTADDR | ATTRIBUTE_DESTPORT;
    const unsigned exim = kumo | ATTRIBUTE_NAME | ATTRIBUTE_LOGIN;
    const unsigned short_exim = both | ATTRIBUTE_NAME | ATTRIBUTE_LOGIN;

    return attributes == kumo || attributes == exim || attributes == short_exim;
}

/* REVERSE_NAME is for a PTR that was not confirmed, or is not the name that was. */
static bool has_odd_reverse_name(const struct identity *who)
{
    return text_is_host_name(who->reverse_name) &&
           (who->name_state != IDENTITY_NAME_CONFIRMED ||
            !bytes_equal_nocase(who->reverse_name, who->name));
}

/* What need not be said where it says nothing. */
static bool is_needed(const struct identity *who, enum capability_attribute bit,
                      const struct identity_way *way)
{
    if (bit == ATTRIBUTE_REVERSE_NAME)
        return has_odd_reverse_name(who);
    if (bit == ATTRIBUTE_LOGIN)
        return who->login.len != 0;
    if (bit == ATTRIBUTE_SESSION)
        return who->reference.len != 0;
    if (bit == ATTRIBUTE_TIMEOUT)
        return way->patience_s != 0;
    if (bit == ATTRIBUTE_CLIENT_TRANSPORT)
        return who->transport.len != 0 || who->is_secured;
    if (bit == ATTRIBUTE_DESTNAME)
        return who->destination.len != 0;
    return bit != ATTRIBUTE_FORWARD || who->forwarded.len != 0;
}

void identity_put_xclient(struct buf *out, const struct identity *who,
                          const struct identity_way *announced)
{
    /* REVERSE_NAME comes after NAME, which sets it too. Those behind TTL go only where room is
     * left. */
    static const struct item order[] = {
        ITEM(NAME),     ITEM(ADDR),     ITEM(PORT),
        ITEM(DESTADDR), ITEM(DESTPORT), ITEM(PROTO),
        ITEM(TTL),      ITEM(LOGIN),    ITEM(REVERSE_NAME),
        ITEM(SESSION),  ITEM(TIMEOUT),  NAMED("CLIENT-TRANSPORT", CLIENT_TRANSPORT),
        ITEM(DESTNAME), ITEM(HELO),     ITEM(FORWARD)};
    struct identity_way way = *announced;
    size_t length = strlen("XCLIENT\r\n");

    if ((way.attributes & ATTRIBUTE_ADDR) == 0)
        return;
    if (way.form == IDENTITY_FORM_AUTO)
        way.form = wants_bare(way.attributes) ? IDENTITY_FORM_BARE : IDENTITY_FORM_PREFIXED;
    buf_text(out, "XCLIENT");
    for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
        size_t max =
            order[i].bit == ATTRIBUTE_FORWARD ? IDENTITY_LONGEST_MAX : IDENTITY_COMMAND_MAX;
        struct attribute attribute;

        if ((way.attributes & order[i].bit) == 0 || !is_needed(who, order[i].bit, &way))
            continue;
        set(&attribute, &order[i], value_of(who, order[i].bit, &way, &attribute));
        if (length + attribute.length > max)
            continue;
        length += attribute.length;
        put_attribute(out, &attribute);
    }
    buf_text(out, "\r\n");
}

/* ---- XFORWARD ---- */

static struct bytes forwarded_value(const struct identity *who, enum capability_attribute bit,
                                    struct bytes ident, struct attribute *attribute)
{
    if (bit == ATTRIBUTE_IDENT)
        return printable(ident);
    if (bit == ATTRIBUTE_PROTO)
        return identity_protocol(who);
    if (bit == ATTRIBUTE_NAME && who->name_state != IDENTITY_NAME_CONFIRMED)
        return unavailable(); /* XFORWARD has no [TEMPUNAVAIL] */
    return value_of(who, bit, &(struct identity_way){.form = IDENTITY_FORM_PREFIXED}, attribute);
}

unsigned identity_put_xforward(struct buf *out, const struct identity *who, uint32_t attributes,
                               struct bytes ident)
{
    static const struct item order[] = {ITEM(NAME),  ITEM(ADDR),  ITEM(PORT),  ITEM(HELO),
                                        ITEM(IDENT), ITEM(PROTO), ITEM(SOURCE)};
    unsigned commands = 0;
    size_t length = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(order); i++) {
        struct attribute attribute;

        if ((attributes & order[i].bit) == 0)
            continue;
        set(&attribute, &order[i], forwarded_value(who, order[i].bit, ident, &attribute));
        if (commands == 0 || length + attribute.length > IDENTITY_COMMAND_MAX) {
            buf_text(out, commands == 0 ? "XFORWARD" : "\r\nXFORWARD");
            length = strlen("XFORWARD\r\n");
            commands++;
        }
        length += attribute.length;
        put_attribute(out, &attribute);
    }
    if (commands > 0)
        buf_text(out, "\r\n");
    return commands;
}

/* ---- the PROXY protocol ---- */

struct ends {
    struct netaddr client, local; /* of one family, IPv4 or IPv6 */
};

static struct ends ends_of(const struct identity *who)
{
    struct ends ends = {.client = who->client, .local = who->local};

    if (ends.client.family == NETADDR_NONE)
        ends.client = (struct netaddr){.family = NETADDR_IPV4};
    if (ends.local.family != ends.client.family)
        ends.local = (struct netaddr){.family = ends.client.family, .port = who->local.port};
    return ends;
}

void identity_put_proxy_v1(struct buf *out, const struct identity *who)
{
    char text[NETADDR_TEXT_MAX];

    if (who == NULL) {
        buf_text(out, "PROXY UNKNOWN\r\n");
        return;
    }
    struct ends ends = ends_of(who);
    buf_text(out, ends.client.family == NETADDR_IPV4 ? "PROXY TCP4 " : "PROXY TCP6 ");
    buf_cat(out, netaddr_text(&ends.client, text), " ", NULL);
    buf_cat(out, netaddr_text(&ends.local, text), " ", NULL);
    buf_decimal(out, ends.client.port);
    buf_byte(out, ' ');
    buf_decimal(out, ends.local.port);
    buf_text(out, "\r\n");
}

static void put_two_octets(struct buf *out, uint32_t number)
{
    uint8_t octets[] = {(uint8_t)(number >> 8), (uint8_t)(number & 0xff)};

    buf_put(out, bytes_make(octets, sizeof(octets)));
}

/* Type-length-values behind the addresses, as far as we say them. */
enum {
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23
};
enum { TLV_HEAD = 3, SSL_HEAD = 5 };
enum { SSL_IS_SECURED = 1, SSL_HAS_CERTIFICATE = 2 | 4 };

static uint32_t ssl_length(const struct identity *who)
{
    uint32_t octets = SSL_HEAD;

    if (who->tls != NULL)
        octets += (uint32_t)(2 * TLV_HEAD + strlen(who->tls->version) + strlen(who->tls->cipher));
    if (who->tls != NULL && who->tls->common_name.len != 0)
        octets += (uint32_t)(TLV_HEAD + who->tls->common_name.len);
    return octets;
}

static void put_tlv_head(struct buf *out, uint8_t type, size_t octets)
{
    buf_byte(out, type);
    put_two_octets(out, (uint32_t)octets);
}

static void put_tlv(struct buf *out, uint8_t type, struct bytes text)
{
    put_tlv_head(out, type, text.len);
    buf_put(out, text);
}

/* That the client is encrypted, and how, where that is still known. */
static void put_ssl(struct buf *out, const struct identity *who)
{
    bool is_verified = who->tls != NULL && who->tls->subject.len != 0;

    put_tlv_head(out, TLV_SSL, ssl_length(who));
    buf_byte(out, is_verified ? SSL_IS_SECURED | SSL_HAS_CERTIFICATE : SSL_IS_SECURED);
    put_two_octets(out, 0);
    put_two_octets(out, !is_verified);
    if (who->tls == NULL)
        return;
    put_tlv(out, TLV_SSL_VERSION, bytes_of(who->tls->version));
    if (who->tls->common_name.len != 0)
        put_tlv(out, TLV_SSL_CN, who->tls->common_name);
    put_tlv(out, TLV_SSL_CIPHER, bytes_of(who->tls->cipher));
}

void identity_put_proxy_v2(struct buf *out, const struct identity *who, struct bytes unique_id)
{
    static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                        '\n', 'Q',  'U',  'I',  'T', '\n'};
    static const uint8_t local[] = {0x20, 0x00, 0, 0}; /* version and LOCAL, no family, length */
    static const uint8_t tcp4[] = {0x21, 0x11}, tcp6[] = {0x21, 0x21};
    uint32_t octets, more = 0;

    buf_put(out, bytes_make(signature, sizeof(signature)));
    if (who == NULL) {
        buf_put(out, bytes_make(local, sizeof(local)));
        return;
    }
    struct ends ends = ends_of(who);
    octets = ends.client.family == NETADDR_IPV4 ? 4 : 16;
    if (unique_id.len != 0)
        more += TLV_HEAD + (uint32_t)unique_id.len;
    if (who->is_secured)
        more += TLV_HEAD + ssl_length(who);
    buf_put(out, bytes_make(octets == 4 ? tcp4 : tcp6, 2));
    put_two_octets(out, 2 * octets + 4 + more);
    buf_put(out, bytes_make(ends.client.octets, octets));
    buf_put(out, bytes_make(ends.local.octets, octets));
    put_two_octets(out, ends.client.port);
    put_two_octets(out, ends.local.port);
    if (unique_id.len != 0)
        put_tlv(out, TLV_UNIQUE_ID, unique_id);
    if (who->is_secured)
        put_ssl(out, who);
}
