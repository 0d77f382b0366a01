/* SPDX-License-Identifier: BSD-2-Clause */
/* Routing tables from text, and targets that are nothing but names. */
#ifndef POSTERN_ROUTE_WORLD_H
#define POSTERN_ROUTE_WORLD_H

#include "route/route.h"
#include "route/route_table.h"

#define ROUTE_WORLD_TABLES 4

/* `store...` is a [maildir], `relay...` a [relay]; both come to be when they are named. */
struct route_world_target {
    struct target target; /* first */
    struct route_world_target *next;
    bool is_implicit;
};

struct route_world {
    struct pool pool;
    struct arena arena;
    struct cf_problems problems;
    struct route_source sources[ROUTE_WORLD_TABLES];
    struct route_source *tables[ROUTE_WORLD_TABLES];
    size_t table_count;
    struct route_world_target *targets;
};

/* Lines as in a [route] section; `--` alone begins the next table. Words are separated by blanks,
 * commas end targets, quotes may hold quoted pairs; `case-sensitive yes` and
 * `recipient-delimiter +` are known. The file is called "t", with tables one after another. False:
 * no memory. */
bool route_world_init(struct route_world *w, struct bytes text);
void route_world_done(struct route_world *w);
struct route_directory route_world_directory(struct route_world *w);
struct route_table_names route_world_names(struct route_world *w);
struct hash_key route_world_key(void);
/* All problems, one a line, into `text_out`, which ends with NUL. */
void route_world_problems(struct route_world *w, char *text_out, size_t room);

/* The first line that matches, found by trying one after another. */
const struct route_rule *route_world_find(const struct route_table *table,
                                          const struct address *address);

#endif
