/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by all unit tests. */
#include "tests/unit/lib.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/mem.h"

static size_t failed_rows;

static void row_failed(size_t row, const char *what, const char *expected, const char *actual)
{
    failed_rows++;
    print_error("row %zu: %s\n    expected %s\n    but got  %s\n", row, what, expected, actual);
}

bool lib_same_text(size_t row, const char *what, const char *expected, const char *actual)
{
    if (expected == actual || (expected != NULL && actual != NULL && strcmp(expected, actual) == 0))
        return true;
    row_failed(row, what, expected == NULL ? "(none)" : expected,
               actual == NULL ? "(none)" : actual);
    return false;
}

bool lib_same_bytes(size_t row, const char *what, struct bytes expected, struct bytes actual)
{
    static struct lib_text texts[2];

    if (bytes_equal(expected, actual))
        return true;
    texts[0].len = texts[1].len = 0;
    lib_put_bytes(&texts[0], expected);
    lib_put_bytes(&texts[1], actual);
    row_failed(row, what, texts[0].at, texts[1].at);
    return false;
}

bool lib_same_number(size_t row, const char *what, int64_t expected, int64_t actual)
{
    char texts[2][24];

    if (expected == actual)
        return true;
    snprintf(texts[0], sizeof(texts[0]), "%lld", (long long)expected);
    snprintf(texts[1], sizeof(texts[1]), "%lld", (long long)actual);
    row_failed(row, what, texts[0], texts[1]);
    return false;
}

bool lib_is_true(size_t row, const char *what, bool condition)
{
    if (!condition)
        row_failed(row, what, "true", "false");
    return condition;
}

void lib_end_rows(void)
{
    size_t failed = failed_rows;

    failed_rows = 0;
    if (failed > 0)
        fail_msg("%zu differences, see above", failed);
}

void lib_put(struct lib_text *text, const char *format, ...)
{
    size_t room = sizeof(text->at) - text->len;
    va_list values;
    int len;

    va_start(values, format);
    len = vsnprintf(text->at + text->len, room, format, values);
    va_end(values);
    if (len > 0)
        text->len += (size_t)len < room ? (size_t)len : room - 1;
}

void lib_put_bytes(struct lib_text *text, struct bytes b)
{
    static const char named[] = "\r\n\t\\\"", names[] = "rnt\\\"";

    lib_put(text, "%s", "");
    for (size_t i = 0; i < b.len; i++) {
        const char *name = b.at[i] == 0 ? NULL : strchr(named, b.at[i]);

        if (name != NULL)
            lib_put(text, "\\%c", names[name - named]);
        else if (b.at[i] >= ' ' && b.at[i] <= '~')
            lib_put(text, "%c", b.at[i]);
        else
            lib_put(text, "\\x%02x", b.at[i]);
    }
}

void lib_add(struct lib_octets *octets, struct bytes more)
{
    assert_true(more.len <= sizeof(octets->at) - octets->len);
    if (more.len > 0)
        memcpy(octets->at + octets->len, more.at, more.len);
    octets->len += more.len;
}

/* Readable memory of at least `size_bytes`, followed by a page that is not. */
static struct lib_guard guard_make(size_t size_bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t readable = (size_bytes + page - 1) / page * page;
    struct lib_guard guard = {.map_bytes = readable + page};

    guard.map =
        mmap(NULL, guard.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (guard.map == MAP_FAILED || mprotect(guard.map + readable, page, PROT_NONE) != 0) {
        perror("guard page");
        abort();
    }
    guard.bytes = bytes_make(guard.map + readable - size_bytes, size_bytes);
    return guard;
}

struct lib_guard lib_guard_copy(struct bytes b)
{
    struct lib_guard guard = guard_make(b.len);

    if (b.len > 0)
        memcpy(guard.map + (guard.bytes.at - guard.map), b.at, b.len);
    return guard;
}

void lib_guard_free(struct lib_guard *guard)
{
    munmap(guard->map, guard->map_bytes);
    guard->map = NULL;
}

/* Pieces end at `cut` and at the end of the input, or after every octet. */
struct lib_pieces {
    struct bytes input;
    struct lib_guard guard;
    size_t consumed;  /* octets of the input that are gone */
    size_t offered;   /* octets of the input that were in the last piece or before it */
    size_t last_from; /* where the last piece began; input.len + 1: there was none */
    size_t cut;
    bool is_byte_by_byte;
};

bool lib_next_piece(struct lib_pieces *in, struct bytes *piece_out)
{
    uint8_t *end = in->guard.map + (in->guard.bytes.at - in->guard.map) + in->guard.bytes.len;
    size_t len;

    mem_unpoison(in->guard.map, (size_t)(end - in->guard.map));
    memset(end - in->guard.bytes.len, 0xa5, in->guard.bytes.len);
    if (in->offered == in->input.len) {
        if (in->consumed == in->input.len || in->consumed == in->last_from)
            return false;
    } else if (in->is_byte_by_byte) {
        in->offered++;
    } else {
        in->offered = in->offered < in->cut ? in->cut : in->input.len;
    }
    in->last_from = in->consumed;
    len = in->offered - in->consumed;
    memcpy(end - len, in->input.at + in->consumed, len);
    mem_poison(in->guard.map, (size_t)(end - len - in->guard.map));
    in->consumed = in->offered;
    *piece_out = bytes_make(end - len, len);
    return true;
}

void lib_unread(struct lib_pieces *in, size_t octets)
{
    in->consumed -= octets;
}

bool lib_run_three_ways(size_t row, struct bytes input, const char *expected,
                        void (*run)(const void *given, struct lib_pieces *in,
                                    struct lib_text *seen),
                        const void *given)
{
    static struct lib_text seen;
    struct lib_guard guard = guard_make(input.len);
    bool is_same = true;

    /* Way 0: whole. Ways 1 to len-1: in two. The last: byte by byte. */
    for (size_t way = 0; is_same && way <= (input.len < 2 ? 0 : input.len); way++) {
        struct lib_pieces in = {.input = input,
                                .guard = guard,
                                .last_from = input.len + 1,
                                .cut = way,
                                .is_byte_by_byte = input.len > 1 && way == input.len};
        char what[64];

        seen.len = 0;
        seen.at[0] = '\0';
        run(given, &in, &seen);
        if (in.is_byte_by_byte)
            snprintf(what, sizeof(what), "seen, input byte by byte");
        else if (way == 0)
            snprintf(what, sizeof(what), "seen, input whole");
        else
            snprintf(what, sizeof(what), "seen, input split after %zu octets", way);
        is_same = lib_same_text(row, what, expected, seen.at);
    }
    mem_unpoison(guard.map, guard.map_bytes - (size_t)sysconf(_SC_PAGESIZE));
    lib_guard_free(&guard);
    return is_same;
}

uint64_t lib_fail_each_allocation(bool (*run)(void *given), void *given)
{
    for (uint64_t n = 1;; n++) {
        bool is_fine;
        uint64_t asked;

        mem_fail_nth(n);
        is_fine = run(given);
        asked = mem_fail_nth(0);
        if (asked >= n)
            continue;
        if (!is_fine)
            fail_msg("fails although no allocation did");
        return asked;
    }
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
uint64_t lib_random_next(struct lib_random *r)
{
    uint64_t x = r->state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

uint64_t lib_random_below(struct lib_random *r, uint64_t end)
{
    return lib_random_next(r) % end;
}
