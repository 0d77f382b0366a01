/* SPDX-License-Identifier: BSD-2-Clause */
/* The disk of a world: what processes see, and what a power cut leaves. Private to
 * tests/sim/disk*.c.
 *
 * A file has its text and, beside that, what is durable of it and the changes since. A directory
 * has its names and those that are durable; what lies between the two are the operations of the
 * whole disk, in the order in which they were done. */
#ifndef POSTERN_FILES_H
#define POSTERN_FILES_H

#include "tests/sim/world.h"

/* A write or, `is_cut`, a new length; not durable yet. */
struct sim_change {
    struct list link;
    bool is_cut;
    uint64_t at;
    size_t len;
    uint8_t octets[];
};

#define SIM_PATH_MAX 128

struct sim_node {
    unsigned uses;  /* names, durable names, operations, descriptors */
    unsigned links; /* names that processes see */
    bool is_directory;
    unsigned marks; /* disk_mark() */
    struct sim_text text, durable;
    struct list changes; /* oldest first */
    int64_t changed_s;
    int locked_by;                    /* a descriptor; 0: none */
    int spoiled;                      /* an error that stays; 0: none */
    uint64_t lost_from, lost_to;      /* octets that cannot be read */
    unsigned sync_failures;           /* of a directory */
    bool hangs;                       /* a directory of the root, with all that is below */
    const struct sim_node *volume;    /* of a file: such a directory */
    char path[SIM_PATH_MAX];          /* of a file: its last name; empty: none yet */
    struct list names, durable_names; /* of a directory, sorted */
    struct sim_node *twin;            /* while a moment is made of the disk */
};

struct sim_name {
    struct list link;
    struct sim_node *node;
    size_t len;
    char text[]; /* ends with NUL */
};

/* A name went, a name came, or both; that is atomic. */
struct sim_operation {
    struct list link;
    struct sim_node *node;
    struct sim_half {
        struct sim_node *directory; /* NULL: no such half */
        char *name;
    } from, to;
};

/* disk.c: every call begins with one of the first two. Whatever can go wrong goes wrong here: an
 * error is returned, or the process is no more. */
int sim_disk_begin(enum sim_disk_call what, const char *path);
int sim_disk_begin_on(enum sim_disk_call what, const struct sim_node *n); /* an open file */
struct sim_fd *sim_fd_of(int fd);
void sim_text_write(struct sim_text *t, uint64_t at, struct bytes octets);
void sim_text_cut(struct sim_text *t, uint64_t length);

/* disk_names.c */
struct sim_node *sim_node_new(bool is_directory); /* used once */
void sim_node_unuse(struct sim_node *n);
struct sim_node *sim_node_at(const char *path);         /* NULL: there is nothing */
const struct sim_node *sim_volume_of(const char *path); /* NULL: there is none */
/* What stays bad of a path: in a directory on the way, or `octets` of the file itself. */
int sim_node_trouble(const char *path, bool octets);
/* A new name. The directory must be there, the name must not: -ENOENT, -ENOTDIR, -EEXIST. */
int sim_node_link(struct sim_node *n, const char *path);
struct sim_name *sim_name_in(const struct list *names, struct bytes text);
struct sim_name *sim_name_set(struct list *names, struct bytes text, struct sim_node *n);
void sim_name_remove(struct sim_name *name);

/* disk_cut.c */
bool sim_disk_keeps(struct sim *w); /* chance, or who has been given the choice, says yes */
void sim_change_add(struct sim_node *n, bool is_cut, uint64_t at, struct bytes octets);
void sim_changes_keep(struct sim_node *n); /* a sync that went well */
void sim_changes_risk(struct sim_node *n); /* one that failed: chance decides, for good */
void sim_changes_drop(struct sim_node *n);
/* NULL: no such half. */
void sim_operation_add(struct sim_node *n, struct sim_node *from, struct bytes from_name,
                       struct sim_node *to, struct bytes to_name);
void sim_operations_keep(struct sim_node *directory);
void sim_operations_risk(struct sim_node *directory);
void sim_operations_free(struct list *operations); /* as if they had never been */

#endif
