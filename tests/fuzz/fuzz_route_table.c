/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of any text; addresses are looked up in them as line by line, and routed to the end. */
/* needs: tests/unit/route_world.c route/route.c route/route_walk.c */
/* needs: route/route_check.c route/route_explain.c route/target_group.c */
#include <stdlib.h>

#include "tests/unit/route_world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static void look_up(struct route_world *w, const struct address *address)
{
    struct route_table_names names = route_world_names(w);
    for (size_t i = 0; i < w->table_count; i++) {
        struct route_match match = {.rule = NULL};
        struct route_table *table;
        if (route_table_new(w->tables[i], &names, route_world_key(), &w->arena, &w->problems,
                            &table) != 0)
            continue;
        bool is_found = route_table_find(table, address, &match);
        REQUIRE(is_found == (match.rule != NULL));
        REQUIRE(match.rule == route_world_find(table, address));
    }
}

static void route(struct route_world *w, const struct address *address)
{
    struct route_directory directory = route_world_directory(w);
    const struct route_client client = {.rejects_routed = true};
    struct route_set *set;
    struct routed routed;
    struct buf text;
    int relays = 0;
    if (route_set_new(w->tables, w->table_count, &directory, route_world_key(), &w->arena,
                      &w->problems, &set) != 0)
        return;
    route_resolve(set, address, &client, &w->arena, &routed);
    REQUIRE((routed.reply.code != 0) + routed.is_discarded + (routed.leg_count > 0) == 1);
    for (int i = 0; i < routed.leg_count; i++)
        relays += !routed.legs[i].target->can_prepare;
    REQUIRE(relays < 2);
    buf_init(&text, &w->pool, 1000000);
    route_explain(set, address, &client, &w->arena, &text);
    buf_done(&text);
}

/* The first line is an address, the others are tables. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes input = bytes_make(data, size);
    struct bytes first = bytes_first(input, bytes_find(input, '\n'));
    struct address address;
    struct route_world w;
    char text[100];
    if (first.len == size)
        return 0;
    REQUIRE(route_world_init(&w, bytes_skip(input, first.len + 1)));
    if (first.len > 0 && address_parse_mailbox(first, &w.arena, &address) == 0) {
        look_up(&w, &address);
        route(&w, &address);
    }
    route_world_problems(&w, text, sizeof(text));
    route_world_done(&w);
    return 0;
}
