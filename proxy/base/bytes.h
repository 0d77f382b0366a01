/* SPDX-License-Identifier: BSD-2-Clause */
/* A borrowed run of octets, and how to look at one. */
#ifndef POSTERN_BYTES_H
#define POSTERN_BYTES_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Always borrowed, never freed; not terminated by NUL; `at` may be NULL when `len` is 0. */
struct bytes {
    const uint8_t *at;
    size_t len;
};

#define ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(member_pointer, type, member)                                                 \
    ((type *)(void *)((char *)(member_pointer)-offsetof(type, member)))

static inline struct bytes bytes_make(const void *at, size_t len)
{
    return (struct bytes){.at = at, .len = len};
}

/* The octets of a C string without its NUL. */
static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){.at = (const uint8_t *)text, .len = strlen(text)};
}

/* What remains after the first `n` octets. Legal when n <= octets.len. */
static inline struct bytes bytes_skip(struct bytes octets, size_t n)
{
    assert(n <= octets.len);
    return (struct bytes){.at = n == 0 ? octets.at : octets.at + n, .len = octets.len - n};
}

static inline struct bytes bytes_first(struct bytes octets, size_t n)
{
    return (struct bytes){.at = octets.at, .len = n < octets.len ? n : octets.len};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static inline uint8_t byte_lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
}

static inline bool byte_is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static inline bool byte_is_letter(uint8_t c)
{
    uint8_t lower = byte_lower(c);
    return lower >= 'a' && lower <= 'z';
}

/* A space or a tab. */
static inline bool byte_is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Printable ASCII; a space is printable. */
static inline bool byte_is_printable(uint8_t c)
{
    return c >= 32 && c <= 126;
}

/* ASCII case is ignored, every other octet must be the same. */
static inline bool bytes_equal_nocase(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (byte_lower(a.at[i]) != byte_lower(b.at[i]))
            return false;
    return true;
}

static inline bool bytes_is(struct bytes octets, const char *text)
{
    return bytes_equal(octets, bytes_of(text));
}

static inline bool bytes_is_nocase(struct bytes octets, const char *text)
{
    return bytes_equal_nocase(octets, bytes_of(text));
}

static inline bool bytes_start_with_nocase(struct bytes octets, const char *prefix)
{
    size_t len = strlen(prefix);
    return octets.len >= len &&
           bytes_equal_nocase(bytes_first(octets, len), bytes_make(prefix, len));
}

/* Offset of the first `c`, or octets.len where there is none. */
static inline size_t bytes_find(struct bytes octets, uint8_t c)
{
    const uint8_t *hit = octets.len == 0 ? NULL : memchr(octets.at, c, octets.len);
    return hit == NULL ? octets.len : (size_t)(hit - octets.at);
}

#endif
