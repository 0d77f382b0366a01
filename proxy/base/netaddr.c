/* SPDX-License-Identifier: BSD-2-Clause */
/* Texts of RFC 1123 2.1 (dotted decimal), RFC 4291 2.2 and RFC 5952, both ways. */
#include "proxy/base/netaddr.h"

#include "proxy/base/error.h"

#define IPV4_OCTETS 4
#define IPV6_OCTETS 16
#define IPV6_WORDS  8

/* 0..max without leading zeros: "010" is eight to some readers and ten to others. */
static bool read_number(struct bytes text, unsigned max, unsigned *number_out)
{
    unsigned number = 0;

    if (text.len == 0 || text.len > 5 || (text.len > 1 && text.at[0] == '0'))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!byte_is_digit(text.at[i]))
            return false;
        number = number * 10 + (unsigned)(text.at[i] - '0');
    }
    if (number > max)
        return false;
    *number_out = number;
    return true;
}

static bool read_ipv4(struct bytes text, uint8_t octets_out[IPV4_OCTETS])
{
    for (unsigned i = 0; i < IPV4_OCTETS; i++) {
        bool is_last = i == IPV4_OCTETS - 1;
        size_t len = is_last ? text.len : bytes_find(text, '.');
        unsigned octet;

        if ((!is_last && len == text.len) || !read_number(bytes_first(text, len), 255, &octet))
            return false;
        octets_out[i] = (uint8_t)octet;
        if (!is_last)
            text = bytes_skip(text, len + 1);
    }
    return true;
}

static bool read_hex_word(struct bytes text, uint8_t octets_out[2])
{
    unsigned word = 0;

    if (text.len == 0 || text.len > 4)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = byte_lower(text.at[i]);

        if (byte_is_digit(c))
            word = word << 4 | (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            word = word << 4 | (unsigned)(c - 'a' + 10);
        else
            return false;
    }
    octets_out[0] = (uint8_t)(word >> 8);
    octets_out[1] = (uint8_t)(word & 0xff);
    return true;
}

/* Reads words between single colons; the last may be dotted decimal. Returns the number of octets
 * written to `octets_out`, at most `room`, or -1. Empty text has no words. */
static int read_words(struct bytes text, uint8_t *octets_out, unsigned room)
{
    unsigned used = 0;

    while (text.len > 0) {
        size_t len = bytes_find(text, ':');
        bool is_last = len == text.len;
        struct bytes word = bytes_first(text, len);

        if (is_last && room - used >= IPV4_OCTETS && read_ipv4(word, octets_out + used))
            return (int)(used + IPV4_OCTETS);
        if (room - used < 2 || !read_hex_word(word, octets_out + used))
            return -1;
        used += 2;
        if (is_last)
            break;
        text = bytes_skip(text, len + 1);
        if (text.len == 0)
            return -1;
    }
    return (int)used;
}

/* Offset of the first "::", or text.len. */
static size_t find_double_colon(struct bytes text)
{
    for (size_t i = 0; i + 1 < text.len; i++)
        if (text.at[i] == ':' && text.at[i + 1] == ':')
            return i;
    return text.len;
}

static bool read_ipv6(struct bytes text, uint8_t octets_out[IPV6_OCTETS])
{
    size_t gap = find_double_colon(text);
    uint8_t tail[IPV6_OCTETS];
    int head_octets, tail_octets;

    memset(octets_out, 0, IPV6_OCTETS);
    head_octets = read_words(bytes_first(text, gap), octets_out, IPV6_OCTETS);
    if (gap == text.len)
        return head_octets == IPV6_OCTETS;
    /* "::" stands for at least one word, and only the last two words may be dotted decimal. */
    tail_octets = read_words(bytes_skip(text, gap + 2), tail, IPV6_OCTETS);
    if (head_octets < 0 || tail_octets < 0 || head_octets + tail_octets > IPV6_OCTETS - 2 ||
        bytes_find(bytes_first(text, gap), '.') != gap)
        return false;
    if (tail_octets > 0)
        memcpy(octets_out + IPV6_OCTETS - tail_octets, tail, (size_t)tail_octets);
    return true;
}

static bool is_mapped(const uint8_t octets[IPV6_OCTETS])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    return memcmp(octets, prefix, sizeof(prefix)) == 0;
}

struct netaddr netaddr_of_octets(const uint8_t *octets, size_t count, uint16_t port)
{
    struct netaddr address = {.family = NETADDR_IPV4, .port = port};

    assert(count == IPV4_OCTETS || count == IPV6_OCTETS);
    if (count == IPV6_OCTETS && is_mapped(octets))
        octets += IPV6_OCTETS - IPV4_OCTETS;
    else if (count == IPV6_OCTETS)
        address.family = NETADDR_IPV6;
    memcpy(address.octets, octets, address.family == NETADDR_IPV4 ? IPV4_OCTETS : IPV6_OCTETS);
    return address;
}

int netaddr_parse(struct bytes text, struct netaddr *address_out)
{
    uint8_t octets[IPV6_OCTETS];
    size_t count = IPV4_OCTETS;

    if (!read_ipv4(text, octets)) {
        count = IPV6_OCTETS;
        if (!read_ipv6(text, octets))
            return ERR_SYNTAX;
    }
    *address_out = netaddr_of_octets(octets, count, 0);
    return 0;
}

int netaddr_parse_with_port(struct bytes text, uint16_t default_port, struct netaddr *address_out)
{
    bool is_bracketed = text.len > 0 && text.at[0] == '[';
    struct bytes host = text, port;
    struct netaddr address;
    unsigned number;
    size_t len;

    if (!is_bracketed && netaddr_parse(text, &address) == 0) {
        address.port = default_port;
        *address_out = address;
        return 0;
    }
    if (is_bracketed)
        host = bytes_skip(text, 1);
    len = bytes_find(host, is_bracketed ? ']' : ':');
    if (len == host.len)
        return ERR_SYNTAX;
    port = bytes_skip(host, is_bracketed ? len + 1 : len);
    host = bytes_first(host, len);
    /* Brackets stand only around addresses that have colons. */
    if (is_bracketed != (bytes_find(host, ':') < host.len) || netaddr_parse(host, &address) != 0)
        return ERR_SYNTAX;
    address.port = default_port;
    if (port.len > 0) {
        if (port.at[0] != ':' || !read_number(bytes_skip(port, 1), UINT16_MAX, &number) ||
            number == 0)
            return ERR_SYNTAX;
        address.port = (uint16_t)number;
    }
    *address_out = address;
    return 0;
}

static unsigned family_bits(enum netaddr_family family)
{
    return family == NETADDR_IPV4 ? 8 * IPV4_OCTETS : 8 * IPV6_OCTETS;
}

/* The bits of an octet that lie within the first `bits` of the address. */
static uint8_t prefix_octet(unsigned bits, unsigned index)
{
    if (bits >= 8 * (index + 1))
        return 0xff;
    return bits <= 8 * index ? 0 : (uint8_t)(0xff00u >> (bits - 8 * index));
}

int netaddr_parse_mask(struct bytes text, struct netmask *mask_out)
{
    size_t len = bytes_find(text, '/');
    struct bytes host = bytes_first(text, len);
    struct netmask mask = {.bits = 0};
    unsigned bits, written_bits;

    if (netaddr_parse(host, &mask.net) != 0)
        return ERR_SYNTAX;
    bits = family_bits(mask.net.family);
    if (len < text.len) {
        /* The prefix of a v4-mapped net counts 96 bits more than that of the IPv4 net it is held
         * as. */
        bool has_colon = bytes_find(host, ':') < host.len;
        unsigned hidden_bits = has_colon ? family_bits(NETADDR_IPV6) - bits : 0;

        if (!read_number(bytes_skip(text, len + 1), bits + hidden_bits, &written_bits) ||
            written_bits < hidden_bits)
            return ERR_SYNTAX;
        bits = written_bits - hidden_bits;
    }
    for (unsigned i = 0; i < IPV6_OCTETS; i++)
        if ((mask.net.octets[i] & ~prefix_octet(bits, i)) != 0)
            return ERR_SYNTAX;
    mask.bits = (uint8_t)bits;
    *mask_out = mask;
    return 0;
}

static char *put_text(char *at, const char *text)
{
    size_t len = strlen(text);

    memcpy(at, text, len + 1);
    return at + len;
}

static char *put_decimal(char *at, unsigned number)
{
    char digits[10];
    size_t first = sizeof(digits);

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    memcpy(at, digits + first, sizeof(digits) - first);
    return at + (sizeof(digits) - first);
}

static char hex_digit(unsigned value)
{
    return "0123456789abcdef"[value & 0xf];
}

static char *put_ipv4(char *at, const uint8_t *octets)
{
    for (unsigned i = 0; i < IPV4_OCTETS; i++) {
        if (i > 0)
            *at++ = '.';
        at = put_decimal(at, octets[i]);
    }
    *at = '\0';
    return at;
}

static char *put_hex_word(char *at, const uint8_t *octets)
{
    unsigned word = (unsigned)octets[0] << 8 | octets[1];

    for (unsigned shift = 12; shift > 0; shift -= 4)
        if (word >> shift != 0)
            *at++ = hex_digit(word >> shift);
    *at++ = hex_digit(word);
    return at;
}

/* RFC 5952 4.2: "::" is for the longest run of two or more zero words, the first of equals. Without
 * such a run `*start_out` is unchanged. */
static unsigned longest_zero_run(const uint8_t *octets, unsigned *start_out)
{
    unsigned best = 1, run = 0;

    for (unsigned i = 0; i < IPV6_WORDS; i++) {
        run = octets[2 * i] == 0 && octets[2 * i + 1] == 0 ? run + 1 : 0;
        if (run > best) {
            best = run;
            *start_out = i + 1 - run;
        }
    }
    return best;
}

static char *put_ipv6(char *at, const uint8_t *octets)
{
    unsigned gap = IPV6_WORDS;
    unsigned gap_words = longest_zero_run(octets, &gap);

    for (unsigned i = 0; i < IPV6_WORDS; i++) {
        if (i == gap) {
            *at++ = ':';
            *at++ = ':';
            i += gap_words - 1;
            continue;
        }
        if (i > 0 && i != gap + gap_words)
            *at++ = ':';
        at = put_hex_word(at, octets + 2 * (size_t)i);
    }
    *at = '\0';
    return at;
}

static char *put_address(char *at, const struct netaddr *address)
{
    switch (address->family) {
    case NETADDR_IPV4:
        return put_ipv4(at, address->octets);
    case NETADDR_IPV6:
        return put_ipv6(at, address->octets);
    case NETADDR_NONE:
        break;
    }
    return put_text(at, "unknown");
}

const char *netaddr_text(const struct netaddr *address, char text_out[NETADDR_TEXT_MAX])
{
    put_address(text_out, address);
    return text_out;
}

const char *netaddr_text_with_port(const struct netaddr *address, char text_out[NETADDR_TEXT_MAX])
{
    bool is_bracketed = address->family == NETADDR_IPV6;
    char *at = text_out;

    if (is_bracketed)
        *at++ = '[';
    at = put_address(at, address);
    if (is_bracketed)
        *at++ = ']';
    if (address->family != NETADDR_NONE) {
        *at++ = ':';
        at = put_decimal(at, address->port);
    }
    *at = '\0';
    return text_out;
}

bool netaddr_same_host(const struct netaddr *a, const struct netaddr *b)
{
    return a->family == b->family && memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

bool netaddr_equal(const struct netaddr *a, const struct netaddr *b)
{
    return a->port == b->port && netaddr_same_host(a, b);
}

bool netaddr_in(const struct netaddr *address, const struct netmask *mask)
{
    if (address->family != mask->net.family)
        return false;
    for (unsigned i = 0; i < IPV6_OCTETS; i++)
        if (((address->octets[i] ^ mask->net.octets[i]) & prefix_octet(mask->bits, i)) != 0)
            return false;
    return true;
}

struct netaddr netaddr_prefix(const struct netaddr *address, unsigned bits)
{
    struct netaddr net = {.family = address->family};
    unsigned whole = bits / 8;

    assert(bits <= 8 * IPV6_OCTETS);
    memcpy(net.octets, address->octets, whole);
    if (whole < IPV6_OCTETS)
        net.octets[whole] = address->octets[whole] & prefix_octet(bits, whole);
    return net;
}

struct netaddr netaddr_client_net(const struct netaddr *address)
{
    return netaddr_prefix(address, address->family == NETADDR_IPV4 ? 24 : 48);
}

bool netaddr_is_loopback(const struct netaddr *address)
{
    static const uint8_t ipv6_loopback[IPV6_OCTETS] = {[IPV6_OCTETS - 1] = 1};

    switch (address->family) {
    case NETADDR_IPV4:
        return address->octets[0] == 127;
    case NETADDR_IPV6:
        return memcmp(address->octets, ipv6_loopback, IPV6_OCTETS) == 0;
    case NETADDR_NONE:
        break;
    }
    return false;
}

const char *netaddr_reverse_name(const struct netaddr *address, char text_out[NETADDR_REVERSE_MAX])
{
    char *at = text_out;

    *at = '\0';
    if (address->family == NETADDR_IPV4) {
        for (unsigned i = IPV4_OCTETS; i > 0; i--) {
            at = put_decimal(at, address->octets[i - 1]);
            *at++ = '.';
        }
        put_text(at, "in-addr.arpa");
    } else if (address->family == NETADDR_IPV6) {
        for (unsigned i = IPV6_OCTETS; i > 0; i--) {
            *at++ = hex_digit(address->octets[i - 1]);
            *at++ = '.';
            *at++ = hex_digit(address->octets[i - 1] >> 4);
            *at++ = '.';
        }
        put_text(at, "ip6.arpa");
    }
    return text_out;
}
