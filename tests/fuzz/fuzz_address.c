/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses: what was read can be written and read again, is printable, and within its limits. */
#include "proxy/smtp/address.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"

static void check_error(int error)
{
    PIECES_MUST(error == ERR_SYNTAX || error == ERR_TOO_LONG || error == ERR_RANGE);
}

static void check_same(const struct address *a, const struct address *b)
{
    PIECES_MUST(bytes_equal(a->local, b->local) && bytes_equal(a->domain, b->domain) &&
                a->is_literal == b->is_literal && a->keeps_dots == b->keeps_dots);
}

static void check_address(const struct address *a, struct arena *arena, struct pool *pool)
{
    struct address again;
    struct bytes text;
    struct buf out;

    PIECES_MUST(a->local.len <= ADDRESS_PATH_MAX && a->domain.len <= ADDRESS_DOMAIN_MAX);
    PIECES_MUST(a->is_literal == address_is_literal(a->domain));
    buf_init(&out, pool, 4096);
    address_put(&out, a);
    text = buf_bytes(&out);
    PIECES_MUST(!out.has_failed && pieces_are_printable(text));
    PIECES_MUST(text.len + 2 <= ADDRESS_PATH_MAX);
    PIECES_MUST((text.len == 0) == address_is_null(a));
    if (text.len > 0) {
        PIECES_MUST(address_parse_mailbox(text, arena, &again) == 0);
        check_same(a, &again);
    }
    buf_done(&out);
}

/* A mailbox in brackets is a path, and says the same. */
static void check_mailbox(struct bytes text, struct arena *arena, struct pool *pool)
{
    struct address alone, in_brackets;
    uint8_t *path = malloc(text.len + 2);
    int error, path_error;
    size_t used = 0;

    PIECES_MUST(path != NULL);
    path[0] = '<';
    if (text.len > 0)
        memcpy(path + 1, text.at, text.len);
    path[text.len + 1] = '>';
    error = address_parse_mailbox(text, arena, &alone);
    path_error = address_parse_path(bytes_make(path, text.len + 2), arena, &in_brackets, &used);
    if (error != 0) {
        check_error(error);
    } else {
        PIECES_MUST(path_error == 0 && used == text.len + 2 && !address_is_null(&alone));
        check_same(&alone, &in_brackets);
        check_address(&alone, arena, pool);
    }
    free(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_make(data, size);
    struct address address, again;
    size_t used, used_again;
    struct arena arena;
    struct pool pool;
    int error;

    pool_init(&pool, 512, 1);
    arena_init(&arena, &pool, 1 << 20);
    error = address_parse_path(input, &arena, &address, &used);
    if (error != 0) {
        check_error(error);
    } else {
        PIECES_MUST(used >= 2 && used <= size && used <= ADDRESS_PATH_MAX);
        PIECES_MUST(data[0] == '<' && data[used - 1] == '>');
        PIECES_MUST(address_is_null(&address) == (used == 2));
        check_address(&address, &arena, &pool);
        /* what stands behind the path does not matter */
        PIECES_MUST(address_parse_path(bytes_first(input, used), &arena, &again, &used_again) == 0);
        PIECES_MUST(used_again == used);
        check_same(&address, &again);
    }
    check_mailbox(input, &arena, &pool);
    arena_reset(&arena);
    pool_done(&pool);
    return 0;
}
