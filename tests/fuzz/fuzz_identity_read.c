/* SPDX-License-Identifier: BSD-2-Clause */
/* What XCLIENT and XFORWARD say of a client: wrong commands change nothing, texts are neutral, and
 * what we would say to a target reads back the same. */
#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/smtp/identity.h"
#include "tests/fuzz/pieces.h"

#define SAID_MAX 1024 /* a command line */

static void check_text(struct bytes text)
{
    PIECES_MUST(text.len <= 255 && pieces_are_printable(text));
}

static void check_neutral(const struct identity *who)
{
    static const char odd[] = " <>()\\\";@";

    check_text(who->name);
    check_text(who->reverse_name);
    check_text(who->helo);
    check_text(who->login);
    check_text(who->reference);
    check_text(who->protocol);
    for (size_t i = 0; i < who->helo.len; i++)
        PIECES_MUST(strchr(odd, who->helo.at[i]) == NULL);
    PIECES_MUST(who->name.len == 0 || text_is_host_name(who->name));
    PIECES_MUST(who->reverse_name.len == 0 || text_is_host_name(who->reverse_name));
    PIECES_MUST((who->name_state == IDENTITY_NAME_CONFIRMED) == (who->name.len != 0));
}

static bool same(const struct identity *a, const struct identity *b)
{
    return netaddr_equal(&a->client, &b->client) && netaddr_equal(&a->local, &b->local) &&
           a->name_state == b->name_state && bytes_equal(a->name, b->name) &&
           bytes_equal(a->reverse_name, b->reverse_name) && bytes_equal(a->helo, b->helo) &&
           bytes_equal(a->login, b->login) && bytes_equal(a->reference, b->reference) &&
           bytes_equal(a->protocol, b->protocol) && a->hops_left == b->hops_left &&
           a->is_esmtp == b->is_esmtp && a->is_local == b->is_local;
}

/* The argument of the only command in `out`. */
static struct bytes argument_of(const struct buf *out, const char *verb)
{
    struct bytes line = buf_bytes(out);

    PIECES_MUST(line.len > strlen(verb) + 3 && line.at[line.len - 1] == '\n');
    return bytes_first(bytes_skip(line, strlen(verb) + 1), line.len - strlen(verb) - 3);
}

/* Only what did not fit may be lost on the way, and one hop is. */
static void check_said_again(const struct identity *who, struct arena *arena, struct pool *pool)
{
    struct identity again = {.is_esmtp = false};
    struct buf out;
    uint32_t given;

    buf_init(&out, pool, 4096);
    identity_put_xclient(&out, who,
                         &(struct identity_way){.attributes = IDENTITY_XCLIENT & ~ATTRIBUTE_TTL,
                                                .form = IDENTITY_FORM_PREFIXED});
    PIECES_MUST(identity_read_xclient(argument_of(&out, "XCLIENT"), arena, &again, &given) == 0);
    PIECES_MUST(netaddr_same_host(&again.client, &who->client));
    PIECES_MUST(bytes_equal(again.name, who->name));
    PIECES_MUST(again.login.len == 0 || bytes_equal(again.login, who->login));
    PIECES_MUST(again.helo.len == 0 || bytes_equal(again.helo, who->helo));
    PIECES_MUST(again.is_esmtp == who->is_esmtp);
    buf_done(&out);
}

static void check_xclient(struct bytes said, struct arena *arena, struct pool *pool)
{
    struct identity who = {.is_esmtp = true, .login = bytes_of("joe"), .hops_left = 9};
    struct identity before = who;
    uint32_t given;

    int error = identity_read_xclient(said, arena, &who, &given);
    PIECES_MUST(error == 0 || error == ERR_SYNTAX || error == ERR_RANGE);
    if (error != 0) {
        PIECES_MUST(same(&who, &before));
        return;
    }
    PIECES_MUST((given & ~IDENTITY_XCLIENT) == 0 && given != 0);
    PIECES_MUST((given & ATTRIBUTE_LOGIN) != 0 || who.login.len == 0);
    PIECES_MUST(who.hops_left != 0);
    if (who.name_state == IDENTITY_NAME_PENDING)
        return;
    check_neutral(&who);
    check_said_again(&who, arena, pool);
}

static void check_xforward(struct bytes said, struct arena *arena)
{
    struct identity who = identity_unknown(), before = identity_unknown();

    if (identity_read_xforward(said, arena, &who) != 0) {
        PIECES_MUST(same(&who, &before));
        return;
    }
    PIECES_MUST(who.login.len == 0 && who.hops_left == 0 && who.local.family == NETADDR_NONE);
    check_neutral(&who);
    struct identity *copy = identity_copy(&who);
    PIECES_MUST(copy != NULL && same(copy, &who));
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes said = bytes_make(data, size < SAID_MAX ? size : SAID_MAX);
    struct arena arena;
    struct pool pool;

    pool_init(&pool, 512, 4);
    arena_init(&arena, &pool, 1 << 20);
    check_xclient(said, &arena, &pool);
    check_xforward(said, &arena);
    arena_reset(&arena);
    pool_done(&pool);
    return 0;
}
