/* SPDX-License-Identifier: BSD-2-Clause */
/* Command lines and parameters: what is read lies within the line and holds what it may. */
#include "proxy/smtp/command.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"
#include "proxy/smtp/params.h"

static bool lies_in(struct bytes part, struct bytes whole)
{
    return part.len == 0 || (part.at >= whole.at && part.at + part.len <= whole.at + whole.len);
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

static bool is_trimmed(struct bytes b)
{
    return b.len == 0 || (!is_blank(b.at[0]) && !is_blank(b.at[b.len - 1]));
}

/* Each parameter is gone when it was taken; written one after another they are read again. */
static void check_params(struct bytes text)
{
    struct bytes rest = text;
    struct param param;
    int error;

    for (;;) {
        struct bytes before = rest;

        error = params_next(&rest, &param);
        if (error != 0)
            break;
        PIECES_MUST(rest.len < before.len && lies_in(param.keyword, before) &&
                    lies_in(param.value, before));
        PIECES_MUST(param.keyword.len > 0 && param.has_value == (param.value.len > 0));
        PIECES_MUST(pieces_are_printable(param.keyword) && pieces_are_printable(param.value));
        PIECES_MUST(bytes_find(param.keyword, '=') == param.keyword.len);
        PIECES_MUST(bytes_find(param.value, ' ') == param.value.len);
    }
    PIECES_MUST(error == ERR_SYNTAX || (error == ERR_NOT_FOUND && rest.len == 0));
}

static void check_path(struct bytes argument, const char *prefix, struct arena *arena,
                       struct pool *pool)
{
    struct address address = {.is_literal = false};
    struct bytes params = bytes_of("untouched");
    int error = command_path(argument, prefix, arena, &address, &params);
    struct buf out;

    if (error != 0) {
        PIECES_MUST(error == ERR_SYNTAX || error == ERR_TOO_LONG || error == ERR_RANGE);
        PIECES_MUST(bytes_is(params, "untouched") && address_is_null(&address));
        return;
    }
    PIECES_MUST(lies_in(params, argument) && is_trimmed(params));
    check_params(params);
    buf_init(&out, pool, 4096);
    address_put(&out, &address);
    PIECES_MUST(pieces_are_printable(buf_bytes(&out)));
    buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes line = bytes_make(data, size), argument;
    enum verb verb = command_verb(line, &argument);
    struct arena arena;
    struct pool pool;

    PIECES_MUST(lies_in(argument, line) && is_trimmed(argument));
    size_t letters = verb == VERB_XCLIENT    ? strlen("XCLIENT")
                     : verb == VERB_XFORWARD ? strlen("XFORWARD")
                                             : 4;
    PIECES_MUST(verb == VERB_UNKNOWN ||
                (size >= letters && pieces_are_printable(bytes_first(line, letters)) &&
                 (size == letters || is_blank(data[letters]))));
    if (command_is_helo_argument(argument))
        PIECES_MUST(argument.len > 0 && argument.len <= 255 &&
                    bytes_find(argument, 0x7f) == argument.len);
    pool_init(&pool, 512, 1);
    arena_init(&arena, &pool, 1 << 20);
    check_path(argument, "FROM:", &arena, &pool);
    check_path(argument, "TO:", &arena, &pool);
    check_params(argument);
    arena_reset(&arena);
    pool_done(&pool);
    return 0;
}
