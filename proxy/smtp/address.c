/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 5321 4.1.2 and 4.1.3:
 *  Path            = "<" [ A-d-l ":" ] Mailbox ">"
 *  A-d-l           = At-domain *( "," At-domain )
 *  At-domain       = "@" Domain
 *  Mailbox         = Local-part "@" ( Domain / address-literal )
 *  Local-part      = Dot-string / Quoted-string
 *  Dot-string      = Atom *("." Atom)
 *  Quoted-string   = DQUOTE *( %d32-33 / %d35-91 / %d93-126 / "\" %d32-126 ) DQUOTE
 *  address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]"
 * No other tag of a literal was ever registered. A domain may have underscores, as DNS has, and a
 * dot at its end. A Dot-string may have its dots anywhere: mobile operators gave out such
 * addresses, and the target is to judge them. */
#include "proxy/smtp/address.h"

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/base/netaddr.h"
#include "proxy/base/text.h"

struct cursor {
    struct bytes in;
    size_t at;
};

/* The next octet, or 0 at the end. A NUL reads the same, but is allowed nowhere. */
static uint8_t peek(const struct cursor *cursor)
{
    return cursor->at < cursor->in.len ? cursor->in.at[cursor->at] : 0;
}

static struct bytes since(const struct cursor *cursor, size_t start)
{
    return bytes_make(cursor->in.at + start, cursor->at - start);
}

/* The error where the next octet is not allowed. */
static int misfit(const struct cursor *cursor)
{
    return peek(cursor) > 127 ? ERR_RANGE : ERR_SYNTAX;
}

static int expect(struct cursor *cursor, uint8_t octet)
{
    if (peek(cursor) != octet)
        return misfit(cursor);
    cursor->at++;
    return 0;
}

static bool is_atext(uint8_t octet)
{
    static const char others[] = "!#$%&'*+-/=?^_`{|}~";

    return byte_is_letter(octet) || byte_is_digit(octet) ||
           memchr(others, octet, sizeof(others) - 1) != NULL;
}

static size_t atom_length(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && is_atext(text.at[len]))
        len++;
    return len;
}

/* Atoms and dots, in any order. */
static size_t bare_length(struct bytes text)
{
    size_t len = 0;

    while (len < text.len && (is_atext(text.at[len]) || text.at[len] == '.'))
        len++;
    return len;
}

static size_t dot_string_length(struct bytes text)
{
    size_t len = atom_length(text), more;

    while (len > 0 && len < text.len && text.at[len] == '.') {
        more = atom_length(bytes_skip(text, len + 1));
        if (more == 0)
            break;
        len += 1 + more;
    }
    return len;
}

static int unquote(struct bytes quoted, size_t len, struct arena *arena, struct bytes *local_out)
{
    uint8_t *copy = arena_alloc(arena, len);
    size_t to = 0;

    if (copy == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < quoted.len; i++) {
        if (quoted.at[i] == '\\')
            i++;
        copy[to++] = quoted.at[i];
    }
    *local_out = bytes_make(copy, len);
    return 0;
}

static int read_quoted(struct cursor *cursor, struct arena *arena, struct bytes *local_out)
{
    size_t start = ++cursor->at, pairs = 0;
    struct bytes quoted;

    while (peek(cursor) != '"') {
        if (peek(cursor) == '\\') {
            pairs++;
            cursor->at++;
        }
        if (peek(cursor) < 32 || peek(cursor) > 126)
            return misfit(cursor);
        cursor->at++;
    }
    quoted = since(cursor, start);
    cursor->at++;
    if (pairs > 0)
        return unquote(quoted, quoted.len - pairs, arena, local_out);
    *local_out = quoted;
    return 0;
}

static int read_local(struct cursor *cursor, struct arena *arena, struct address *address)
{
    struct bytes rest = bytes_skip(cursor->in, cursor->at);
    size_t len;

    if (peek(cursor) == '"')
        return read_quoted(cursor, arena, &address->local);
    len = bare_length(rest);
    if (len == 0)
        return misfit(cursor);
    cursor->at += len;
    if (peek(cursor) > 127)
        return ERR_RANGE;
    address->local = bytes_first(rest, len);
    address->keeps_dots = dot_string_length(address->local) != len;
    return 0;
}

static int read_host_name(struct cursor *cursor, struct bytes *domain_out)
{
    size_t start = cursor->at;
    struct bytes domain;

    while (byte_is_letter(peek(cursor)) || byte_is_digit(peek(cursor)) || peek(cursor) == '-' ||
           peek(cursor) == '.' || peek(cursor) == '_')
        cursor->at++;
    if (peek(cursor) > 127)
        return ERR_RANGE;
    domain = since(cursor, start);
    if (domain.len > 0 && domain.at[domain.len - 1] == '.')
        domain.len--;
    if (domain.len > ADDRESS_DOMAIN_MAX)
        return ERR_TOO_LONG;
    if (!text_is_host_name(domain))
        return ERR_SYNTAX;
    *domain_out = domain;
    return 0;
}

bool address_is_literal(struct bytes domain)
{
    struct bytes text = domain;
    struct netaddr address;
    bool has_tag;

    if (text.len < 2 || text.at[0] != '[' || text.at[text.len - 1] != ']')
        return false;
    text = bytes_make(text.at + 1, text.len - 2);
    has_tag = bytes_start_with_nocase(text, "IPv6:");
    if (has_tag)
        text = bytes_skip(text, strlen("IPv6:"));
    if ((bytes_find(text, ':') < text.len) != has_tag)
        return false;
    return netaddr_parse(text, &address) == 0;
}

static int read_literal(struct cursor *cursor, struct bytes *domain_out)
{
    size_t start = cursor->at;
    struct bytes domain;

    while (peek(cursor) != ']') {
        if (peek(cursor) < 33 || peek(cursor) > 126)
            return misfit(cursor);
        cursor->at++;
    }
    cursor->at++;
    domain = since(cursor, start);
    if (!address_is_literal(domain))
        return ERR_SYNTAX;
    *domain_out = domain;
    return 0;
}

/* Mailbox, or Local-part alone. */
static int read_mailbox(struct cursor *cursor, struct arena *arena, struct address *address_out)
{
    struct address address = {.is_literal = false};
    int error = read_local(cursor, arena, &address);

    if (error != 0)
        return error;
    if (peek(cursor) == '@') {
        cursor->at++;
        address.is_literal = peek(cursor) == '[';
        error = address.is_literal ? read_literal(cursor, &address.domain)
                                   : read_host_name(cursor, &address.domain);
        if (error != 0)
            return error;
    }
    /* An empty local part with no domain would be taken for the null sender. */
    if (address_is_null(&address))
        return ERR_SYNTAX;
    *address_out = address;
    return 0;
}

/* A-d-l ":" */
static int skip_source_route(struct cursor *cursor)
{
    struct bytes domain;
    int error;

    for (;;) {
        error = expect(cursor, '@');
        if (error == 0)
            error = read_host_name(cursor, &domain);
        if (error != 0)
            return error;
        if (peek(cursor) != ',')
            return expect(cursor, ':');
        cursor->at++;
    }
}

int address_parse_path(struct bytes in, struct arena *arena, struct address *address_out,
                       size_t *used_out)
{
    struct cursor cursor = {.in = in};
    struct address address = {.is_literal = false};
    int error = expect(&cursor, '<');

    if (error == 0 && peek(&cursor) == '@')
        error = skip_source_route(&cursor);
    if (error == 0 && (cursor.at != 1 || peek(&cursor) != '>'))
        error = read_mailbox(&cursor, arena, &address);
    if (error == 0)
        error = expect(&cursor, '>');
    if (error == 0 && cursor.at > ADDRESS_PATH_MAX)
        error = ERR_TOO_LONG;
    if (error != 0)
        return error;
    *address_out = address;
    *used_out = cursor.at;
    return 0;
}

int address_parse_mailbox(struct bytes in, struct arena *arena, struct address *address_out)
{
    struct cursor cursor = {.in = in};
    struct address address;
    int error = read_mailbox(&cursor, arena, &address);

    if (error != 0)
        return error;
    if (cursor.at < in.len)
        return misfit(&cursor);
    if (in.len + 2 > ADDRESS_PATH_MAX)
        return ERR_TOO_LONG;
    *address_out = address;
    return 0;
}

int address_copy(struct arena *arena, const struct address *a, struct address *copy_out)
{
    struct address copy = *a;
    int error = arena_copy(arena, a->local, &copy.local);

    if (error == 0)
        error = arena_copy(arena, a->domain, &copy.domain);
    if (error == 0)
        *copy_out = copy;
    return error;
}

static void put_quoted(struct buf *out, struct bytes local)
{
    size_t start = 0;

    buf_byte(out, '"');
    for (size_t i = 0; i < local.len; i++) {
        if (local.at[i] != '"' && local.at[i] != '\\')
            continue;
        buf_put(out, bytes_make(local.at + start, i - start));
        buf_byte(out, '\\');
        start = i;
    }
    buf_put(out, bytes_skip(local, start));
    buf_byte(out, '"');
}

static bool needs_quotes(const struct address *a)
{
    size_t bare = a->keeps_dots ? bare_length(a->local) : dot_string_length(a->local);

    return a->local.len == 0 || bare != a->local.len;
}

void address_put(struct buf *out, const struct address *a)
{
    if (address_is_null(a))
        return;
    if (needs_quotes(a))
        put_quoted(out, a->local);
    else
        buf_put(out, a->local);
    if (a->domain.len == 0)
        return;
    buf_byte(out, '@');
    buf_put(out, a->domain);
}

bool address_is_postmaster(const struct address *a)
{
    return bytes_is_nocase(a->local, "postmaster");
}

uint64_t address_mailbox(const struct address *a, struct bytes local)
{
    uint64_t hash = hash_chain_text(hash_chain_text(0, local, a->keeps_case), a->domain, false);

    return hash == 0 ? 1 : hash;
}
