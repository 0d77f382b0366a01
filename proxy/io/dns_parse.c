/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the answer section of a DNS response (RFC 1035 4.1). */
#include "proxy/io/dns_uv.h"

#define HEADER_BYTES 12
#define CLASS_IN     1

/* A position in the response; every step is checked against its end. */
struct cursor {
    struct bytes all;
    size_t at;
};

static bool take(struct cursor *cursor, size_t octets, const uint8_t **start_out)
{
    assert(cursor->at <= cursor->all.len);
    if (octets > cursor->all.len - cursor->at)
        return false;
    *start_out = cursor->all.at + cursor->at;
    cursor->at += octets;
    return true;
}

static unsigned read_16(const uint8_t *at)
{
    return (unsigned)at[0] << 8 | at[1];
}

static uint32_t read_32(const uint8_t *at)
{
    return (uint32_t)read_16(at) << 16 | read_16(at + 2);
}

/* Reads a name, following compression within the response; octets that are no text become \DDD. */
static bool take_name(struct cursor *cursor, char **name_out)
{
    long length = 0;

    if (cursor->at >= cursor->all.len ||
        ares_expand_name(cursor->all.at + cursor->at, cursor->all.at, (int)cursor->all.len,
                         name_out, &length) != ARES_SUCCESS)
        return false;
    if (length < 0 || (size_t)length > cursor->all.len - cursor->at) {
        ares_free_string(*name_out);
        return false;
    }
    cursor->at += (size_t)length;
    return true;
}

static bool skip_name(struct cursor *cursor)
{
    char *name;

    if (!take_name(cursor, &name))
        return false;
    ares_free_string(name);
    return true;
}

void dns_add_address(struct dns_answer *answer, const struct netaddr *address)
{
    int at = answer->address_count;

    assert(at <= DNS_ADDRESSES_MAX);
    if (at == DNS_ADDRESSES_MAX && /* the last IPv6 address gives way to IPv4 */
        (address->family != NETADDR_IPV4 || answer->addresses[--at].family == NETADDR_IPV4))
        return;
    for (; address->family == NETADDR_IPV4 && at > 0; at--) {
        if (answer->addresses[at - 1].family == NETADDR_IPV4)
            break;
        answer->addresses[at] = answer->addresses[at - 1];
    }
    answer->addresses[at] = *address;
    answer->address_count += answer->address_count < DNS_ADDRESSES_MAX;
}

static void add_address(struct dns_answer *answer, const uint8_t *octets, size_t len)
{
    struct netaddr address = netaddr_of_octets(octets, len, 0);
    dns_add_address(answer, &address);
}

/* Names of equal preference stay in the order of the response. */
static void add_name(struct dns_answer *answer, const char *name, unsigned preference)
{
    size_t length = strlen(name);
    int at = answer->name_count;

    assert(at <= DNS_NAMES_MAX);
    if (length >= DNS_NAME_MAX)
        return;
    if (at == DNS_NAMES_MAX && answer->names[--at].preference <= preference)
        return; /* else the least preferred one gives way */
    while (at > 0 && answer->names[at - 1].preference > preference) {
        answer->names[at] = answer->names[at - 1];
        at--;
    }
    memcpy(answer->names[at].text, name, length + 1);
    answer->names[at].preference = (uint16_t)preference;
    answer->name_count += answer->name_count < DNS_NAMES_MAX;
}

/* Reads the data of one record, which must fill its length exactly. */
static bool add_record(struct cursor *cursor, size_t len, unsigned type, enum dns_type wanted,
                       struct dns_answer *answer)
{
    size_t end = cursor->at + len;
    unsigned preference = 0;
    const uint8_t *start;
    char *name;

    if (wanted == DNS_TYPE_A) {
        if (len != (type == DNS_TYPE_A ? 4u : 16u) || !take(cursor, len, &start))
            return false;
        add_address(answer, start, len);
        return true;
    }
    if (wanted == DNS_TYPE_MX) {
        if (!take(cursor, 2, &start))
            return false;
        preference = read_16(start);
    }
    if (!take_name(cursor, &name))
        return false;
    if (cursor->at == end)
        add_name(answer, name, preference);
    ares_free_string(name);
    return cursor->at == end;
}

/* ---- records as they are ---- */

static void put_length(struct buf *records, size_t len, struct dns_answer *answer)
{
    assert(len <= UINT16_MAX);
    buf_byte(records, (uint8_t)(len >> 8));
    buf_byte(records, (uint8_t)len);
    answer->record_count++;
}

static void put_record(struct buf *records, struct bytes octets, struct dns_answer *answer)
{
    put_length(records, octets.len, answer);
    buf_put(records, octets);
}

/* The length of all strings; each is preceded by its own. False: they do not fill the data. */
static bool measure_strings(struct bytes data, size_t *len_out)
{
    size_t len = 0;

    for (; data.len > 0 && data.at[0] < data.len; data = bytes_skip(data, 1u + data.at[0]))
        len += data.at[0];
    *len_out = len;
    return data.len == 0;
}

static bool put_text(struct buf *records, struct bytes data, struct dns_answer *answer)
{
    size_t len;

    if (!measure_strings(data, &len))
        return false;
    put_length(records, len, answer);
    for (; data.len > 0; data = bytes_skip(data, 1u + data.at[0]))
        buf_put(records, bytes_make(data.at + 1, data.at[0]));
    return true;
}

/* A name that is none is left out, as among hosts. */
static bool put_name(struct cursor *cursor, size_t end, struct buf *records,
                     struct dns_answer *answer)
{
    char *name;
    bool is_whole;

    if (!take_name(cursor, &name))
        return false;
    is_whole = cursor->at == end;
    if (is_whole && strlen(name) < DNS_NAME_MAX)
        put_record(records, bytes_of(name), answer);
    ares_free_string(name);
    return is_whole;
}

/* Reads the data of one record, which must fill its length exactly. */
static bool add_octets(struct cursor *cursor, size_t len, enum dns_type type, struct buf *records,
                       struct dns_answer *answer)
{
    size_t end = cursor->at + len;
    const uint8_t *start;

    switch (type) {
    case DNS_TYPE_MX:
        return take(cursor, 2, &start) && put_name(cursor, end, records, answer);
    case DNS_TYPE_PTR:
        return put_name(cursor, end, records, answer);
    case DNS_TYPE_TXT:
        return take(cursor, len, &start) && put_text(records, bytes_make(start, len), answer);
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        if (len != (type == DNS_TYPE_A ? 4 : 16) || !take(cursor, len, &start))
            return false;
        put_record(records, bytes_make(start, len), answer);
        return true;
    case DNS_TYPE_CNAME:
    case DNS_TYPE_SOA:
        break;
    }
    assert(false); /* nobody asks for these */
    return false;
}

/* ---- the response ---- */

/* `records` NULL: hosts are wanted, of which some have IPv6 addresses. */
static bool is_wanted(unsigned type, enum dns_type wanted, const struct buf *records)
{
    return type == (unsigned)wanted ||
           (records == NULL && type == DNS_TYPE_AAAA && wanted == DNS_TYPE_A);
}

/* What stands before the data of a record; they lie within the response. */
static bool take_head(struct cursor *cursor, unsigned *type_out, uint32_t *ttl_s_out,
                      unsigned *len_out)
{
    const uint8_t *head;

    if (!skip_name(cursor) || !take(cursor, 10, &head))
        return false;
    *type_out = read_16(head + 2) == CLASS_IN ? read_16(head) : 0;
    *ttl_s_out = read_32(head + 4);
    *len_out = read_16(head + 8);
    if (*ttl_s_out > INT32_MAX)
        *ttl_s_out = 0; /* RFC 2181 8 */
    return *len_out <= cursor->all.len - cursor->at;
}

static void note_ttl(struct dns_answer *answer, uint32_t ttl_s)
{
    if (ttl_s < answer->ttl_s)
        answer->ttl_s = ttl_s;
}

static bool take_record(struct cursor *cursor, enum dns_type wanted, struct buf *records,
                        struct dns_answer *answer)
{
    const uint8_t *data;
    unsigned type, len;
    uint32_t ttl_s;

    if (!take_head(cursor, &type, &ttl_s, &len))
        return false;
    if (type != DNS_TYPE_CNAME && !is_wanted(type, wanted, records))
        return take(cursor, len, &data);
    note_ttl(answer, ttl_s);
    if (type == DNS_TYPE_CNAME)
        return take(cursor, len, &data);
    return records == NULL ? add_record(cursor, len, type, wanted, answer)
                           : add_octets(cursor, len, wanted, records, answer);
}

/* How long the absence of records is valid: the SOA record of the authority section says it (RFC
 * 2308 5), in its TTL and in the last four octets of its data. */
static void note_absence(struct cursor *cursor, unsigned records, struct dns_answer *answer)
{
    const uint8_t *data;
    unsigned type, len;
    uint32_t ttl_s;

    while (records-- > 0 && take_head(cursor, &type, &ttl_s, &len) && take(cursor, len, &data)) {
        if (type != DNS_TYPE_SOA || len < 4)
            continue;
        note_ttl(answer, ttl_s);
        note_ttl(answer, read_32(data + len - 4));
    }
}

/* `records` NULL: hosts are wanted. */
static bool parse(struct bytes octets, enum dns_type wanted, struct buf *records,
                  struct dns_answer *answer)
{
    struct cursor cursor = {.all = octets};
    unsigned had = dns_answer_count(answer);
    const uint8_t *header, *rest;

    if (octets.len > 65535 || !take(&cursor, HEADER_BYTES, &header))
        return false;
    for (unsigned left = read_16(header + 4); left > 0; left--)
        if (!skip_name(&cursor) || !take(&cursor, 4, &rest))
            return false;
    for (unsigned left = read_16(header + 6); left > 0; left--)
        if (!take_record(&cursor, wanted, records, answer))
            return false;
    if (dns_answer_count(answer) == had)
        note_absence(&cursor, read_16(header + 8), answer);
    return true;
}

bool dns_parse_response(struct bytes octets, enum dns_type wanted, struct dns_answer *answer)
{
    return parse(octets, wanted, NULL, answer);
}

bool dns_parse_records(struct bytes octets, enum dns_type wanted, struct buf *records,
                       struct dns_answer *answer)
{
    assert(records != NULL);
    return parse(octets, wanted, records, answer);
}
