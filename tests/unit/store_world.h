/* SPDX-License-Identifier: BSD-2-Clause */
/* A spool below /tmp and messages for it, on the real disk or a simulated one. */
#ifndef POSTERN_STORE_WORLD_H
#define POSTERN_STORE_WORLD_H

#include "proxy/io/loop.h"
#include "spool/store.h"
#include "tests/unit/lib.h"

#define STORE_WORLD_CHUNK 65536

struct store_world {
    char directory[64];
    struct loop *loop;
    struct store *store;
    struct pool pool;
    struct arena arena;
    struct id_source ids;
};

/* What commits need: a body in pieces, as a copy has them, and the records of two recipients. */
struct store_world_message {
    struct store_place place;
    struct copy_image image;
    struct bytes pieces[8];
    struct buf records;
};

/* Octet number `at` of every body. */
static inline uint8_t store_world_octet(uint64_t at)
{
    return (uint8_t)(at ^ (at >> 8) * 3 ^ (at >> 16) * 7);
}

void store_world_begin(struct store_world *w); /* an empty place, a loop, a store */
void store_world_end(struct store_world *w);   /* removes all of it */
/* The same for a process of the simulator, which finds /spool as those before it have left it. */
void store_world_enter(struct store_world *w);
int store_world_leave(struct store_world *w); /* 0: an exit code */
int store_world_open(struct store_world *w);
void store_world_close(struct store_world *w); /* the store alone */

/* At most eight pieces. */
void store_world_make(struct store_world *w, struct store_world_message *m, size_t body_bytes);
void store_world_done(struct store_world_message *m); /* closes its file */
/* Makes, commits and closes one. */
int store_world_put(struct store_world *w, size_t body_bytes, struct store_place *place_out);
/* All of an open file, its body too. */
int store_world_read(int fd, const struct id *id, struct arena *arena,
                     struct spool_message *message_out);
/* Takes it and reads all of it; looks at every octet. 0, or what kept it from being read. */
int store_world_look(struct store_world *w, const struct store_place *place, size_t body_bytes,
                     struct spool_message *message_out);
/* What store_list() tells, one line each: "queue ID", "hold ID", "stray PATH",
 * "unread PATH". */
int store_world_list(struct store_world *w, struct lib_text *seen);
/* Removes everything below the path, and itself. */
void store_world_remove(const char *path);

#endif
