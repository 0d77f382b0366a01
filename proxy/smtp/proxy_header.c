/* SPDX-License-Identifier: BSD-2-Clause */
/* The header comes once for each connection and is short, so it is taken octet by octet: none
 * behind it is ever touched. */
#include "proxy/smtp/proxy_header.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

static const uint8_t signature[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                    '\n', 'Q',  'U',  'I',  'T', '\n'};

#define PREFIX "PROXY "

enum { V2_COMMAND = 12, V2_FAMILY = 13, V2_LENGTH = 14, V2_HEAD = 16 };

static uint16_t number_at(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

/* ---- v1:  PROXY TCP4 192.0.2.1 192.0.2.2 40000 25 CRLF ---- */

/* What stands before the next space, which is taken off too. */
static struct bytes take_word(struct bytes *rest)
{
    struct bytes word = bytes_first(*rest, bytes_find(*rest, ' '));

    *rest = bytes_skip(*rest, word.len < rest->len ? word.len + 1 : word.len);
    return word;
}

static bool take_address(struct bytes *rest, bool is_ipv6, struct netaddr *address_out)
{
    struct bytes word = take_word(rest);
    bool has_colon = bytes_find(word, ':') < word.len;

    return has_colon == is_ipv6 && netaddr_parse(word, address_out) == 0;
}

static bool read_port(struct bytes word, struct netaddr *address)
{
    uint64_t port;

    if (word.len > 5 || text_decimal(word, UINT16_MAX, &port) != 0)
        return false;
    address->port = (uint16_t)port;
    return true;
}

/* `rest`: what stands behind "PROXY ", without CRLF. */
static bool read_v1(struct bytes rest, struct proxy_header *header)
{
    struct bytes family = take_word(&rest);
    bool is_ipv6 = bytes_is(family, "TCP6");

    header->version = 1;
    header->is_own = bytes_is(family, "UNKNOWN");
    if (header->is_own)
        return true;
    return (is_ipv6 || bytes_is(family, "TCP4")) && take_address(&rest, is_ipv6, &header->client) &&
           take_address(&rest, is_ipv6, &header->local) &&
           read_port(take_word(&rest), &header->client) && read_port(rest, &header->local);
}

/* ---- v2: its type-length-values ---- */

enum tlv_type {
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22
};

struct tlv {
    unsigned type;
    struct bytes value;
};

/* False: there is none, or it is longer than what is left. */
static bool take_tlv(struct bytes *rest, struct tlv *tlv_out)
{
    if (rest->len < 3)
        return false;
    size_t octets = number_at(rest->at + 1);
    if (rest->len - 3 < octets)
        return false;
    tlv_out->type = rest->at[0];
    tlv_out->value = bytes_first(bytes_skip(*rest, 3), octets);
    *rest = bytes_skip(*rest, 3 + octets);
    return true;
}

/* The client's bits and the verdict on its certificate, then values of its own. */
static bool read_ssl(struct bytes rest, struct proxy_header *header)
{
    struct tlv tlv;

    if (rest.len < 5)
        return false;
    header->is_secured = (rest.at[0] & 1) != 0;
    rest = bytes_skip(rest, 5);
    while (rest.len != 0) {
        if (!take_tlv(&rest, &tlv))
            return false;
        if (tlv.type == TLV_SSL_VERSION)
            header->tls_version = tlv.value;
        else if (tlv.type == TLV_SSL_CN)
            header->common_name = tlv.value;
    }
    return true;
}

/* RFC 4960 B: Castagnoli's polynomial, reflected. `skipped`, four octets of it, count as zeros. */
static uint32_t crc32c(struct bytes octets, const uint8_t *skipped)
{
    uint32_t crc = UINT32_MAX;

    for (size_t i = 0; i < octets.len; i++) {
        const uint8_t *at = octets.at + i;
        crc ^= at >= skipped && at < skipped + 4 ? 0 : *at;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
    }
    return ~crc;
}

static bool is_checksum(struct bytes header, struct bytes value)
{
    if (value.len != 4)
        return false;
    uint32_t told = (uint32_t)number_at(value.at) << 16 | number_at(value.at + 2);
    return crc32c(header, value.at) == told;
}

/* Those that we do not know are passed over. */
static bool read_tlvs(struct bytes whole, struct bytes rest, struct proxy_header *header)
{
    struct tlv tlv;

    while (rest.len != 0) {
        if (!take_tlv(&rest, &tlv))
            return false;
        if (tlv.type == TLV_UNIQUE_ID)
            header->unique_id = tlv.value;
        else if (tlv.type == TLV_AUTHORITY)
            header->authority = tlv.value;
        else if (tlv.type == TLV_SSL && !read_ssl(tlv.value, header))
            return false;
        else if (tlv.type == TLV_CRC32C && !is_checksum(whole, tlv.value))
            return false;
    }
    return true;
}

/* ---- v2 ---- */

static bool read_v2(struct bytes whole, struct proxy_header *header)
{
    struct bytes rest = bytes_skip(whole, V2_HEAD);
    unsigned command = whole.at[V2_COMMAND], family = whole.at[V2_FAMILY];
    size_t octets = family == 0x11 ? 4 : 16;

    header->version = 2;
    header->is_own = command == 0x20 || family == 0;
    if (command == 0x20) /* LOCAL: what follows means nothing */
        return true;
    if (command != 0x21 || (family != 0 && family != 0x11 && family != 0x21))
        return false;
    if (family != 0) {
        if (rest.len < 2 * octets + 4)
            return false;
        const uint8_t *ports = rest.at + 2 * octets;
        header->client = netaddr_of_octets(rest.at, octets, number_at(ports));
        header->local = netaddr_of_octets(rest.at + octets, octets, number_at(ports + 2));
        rest = bytes_skip(rest, 2 * octets + 4);
    }
    return read_tlvs(whole, rest, header);
}

/* ---- octet by octet ---- */

/* May the octets be the beginning of a header? 0: it is whole; ERR_NOT_FOUND: so far; or the error.
 */
static int look(const struct proxy_reader *reader)
{
    const uint8_t *octets = reader->octets;
    size_t count = reader->count;
    bool is_v2 = octets[0] == signature[0];
    const void *prefix = is_v2 ? (const void *)signature : PREFIX;
    size_t prefix_bytes = is_v2 ? sizeof(signature) : strlen(PREFIX);

    if (memcmp(octets, prefix, count < prefix_bytes ? count : prefix_bytes) != 0)
        return ERR_SYNTAX;
    if (!is_v2 && octets[count - 1] == '\n')
        return 0;
    if (!is_v2)
        return count < PROXY_HEADER_V1_MAX ? ERR_NOT_FOUND : ERR_TOO_LONG;
    if (count < V2_HEAD)
        return ERR_NOT_FOUND;
    size_t whole = V2_HEAD + number_at(octets + V2_LENGTH);
    if (whole > PROXY_HEADER_MAX)
        return ERR_TOO_LONG;
    return count < whole ? ERR_NOT_FOUND : 0;
}

static bool read_whole(const struct proxy_reader *reader, struct proxy_header *header_out)
{
    struct bytes whole = bytes_make(reader->octets, reader->count);
    struct proxy_header header = {.version = 0};
    bool is_right;

    if (whole.at[0] == signature[0]) {
        is_right = read_v2(whole, &header);
    } else {
        struct bytes rest = bytes_skip(whole, strlen(PREFIX));
        is_right = rest.len >= 2 && rest.at[rest.len - 2] == '\r' &&
                   read_v1(bytes_first(rest, rest.len - 2), &header);
    }
    *header_out = header;
    return is_right;
}

size_t proxy_reader_take(struct proxy_reader *reader, struct bytes in,
                         struct proxy_header *header_out, int *error_out)
{
    int error = ERR_NOT_FOUND;
    size_t used = 0;

    while (error == ERR_NOT_FOUND && used < in.len) {
        assert(reader->count < PROXY_HEADER_MAX);
        reader->octets[reader->count++] = in.at[used++];
        error = look(reader);
    }
    if (error == 0 && !read_whole(reader, header_out))
        error = ERR_SYNTAX;
    *error_out = error;
    return used;
}
