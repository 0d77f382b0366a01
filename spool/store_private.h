/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the spool's files. Private to store*.c. */
#ifndef POSTERN_STORE_PRIVATE_H
#define POSTERN_STORE_PRIVATE_H

#include "proxy/io/disk.h"
#include "proxy/io/work.h"
#include "spool/store.h"

#define STORE_DIRECTORY_MAX 999999
/* In each directory of queue/; locked as long as a process puts messages there. */
#define STORE_OWNER     "owner"
#define STORE_INDEX     "index" /* see spool_index.h */
#define STORE_NEW_INDEX "index.new"
/* Added to the name of a message: the file that is about to take its place. */
#define STORE_NEW         ".new"
#define STORE_BLOCK_BYTES 65536 /* sums of bodies are made of such blocks */

/* A directory of our own: nobody removes it while `fd` is open. */
struct store_own {
    uint32_t number;
    int fd; /* of the directory's owner file, locked; -1: none */
};

#define STORE_BATCHES 4 /* jobs of commits at the same time: half of the pool's threads */

/* Commits that one job makes durable. */
struct store_batch {
    struct work work;
    struct store *store;
    struct store_commit *commits[STORE_BATCH_MAX];
    size_t count; /* 0: no job runs */
};

struct store_path {
    char text[STORE_PATH_MAX + 64];
};

struct store {
    struct loop *loop;
    char directory[STORE_PATH_MAX]; /* never changes: jobs read it */
    struct store_limits limits;     /* likewise */
    struct store_own current;
    struct store_own next;     /* made in advance */
    struct store_own previous; /* commits may still be going on there */
    uint32_t used;             /* names given out in `current` */
    bool is_closing;
    struct {
        struct list waiting; /* struct store_commit.in_store */
        struct loop_post post;
        struct store_batch batches[STORE_BATCHES];
    } commits;
    struct { /* the job that makes the next directory */
        struct work work;
        bool runs;
        uint32_t after; /* numbers to try begin after this one */
        struct store_own made;
        int retired_fd; /* closed by the job, which may block */
    } job;
    struct {
        struct store_own own; /* of tmp/; none if drafts have no names */
        struct store_path path;
        struct draft_folder drafts;
    } tmp;
};

struct store_path store_folder_path(const struct store *store, const char *name); /* "queue" ... */
struct store_path store_numbered_path(const struct store *store, const char *folder,
                                      uint32_t directory, const char *name);
struct store_path store_queue_path(const struct store *store, uint32_t directory, const char *name);
struct store_path store_message_path(const struct store *store, const struct store_place *place);
struct store_path store_new_path(const struct store *store, const struct store_place *place);
struct store_path store_mark_path(const struct store *store, const char *name);
/* The directory that the message lies in. */
struct store_path store_parent_path(const struct store *store, const struct store_place *place);
/* Job: opens that directory, which is made if it is missing: it may have been removed, because it
 * was empty and nobody seemed to fill it. It is opened before a name is made there, so that our
 * sync also reports what a sync of somebody else has lost meanwhile. A descriptor, or an error. */
int store_open_parent(const struct store *store, const struct store_place *place);

/* Job: `fn` gets the body, block by block; a result other than 0 ends this. -EBADMSG: the body is
 * damaged, which is known only after the last block. */
int store_each_block(int fd, const struct spool_head *head,
                     int (*fn)(void *owner, uint64_t at, struct bytes block), void *owner);
/* Job: is the open file the one that has the name `path` now? -ENOENT: no file has it; -ESTALE:
 * another has. */
int store_compare_name(int fd, const char *path);

/* Job: sets or takes away one mark of the file. */
int store_set_mark(int fd, enum disk_mark mark, bool is_set);

/* Makes a directory of our own. -EEXIST: it is, or was, that of another process. */
int store_make_own(const struct store *store, const char *folder, uint32_t number,
                   struct store_own *own_out);
/* ... the first of a number after `after` that can be had. */
int store_make_next(const struct store *store, const char *folder, uint32_t after,
                    struct store_own *own_out);
void store_close_own(struct store_own *own);
/* At start: removes what dead processes left in tmp/, and finds out how drafts can be made here. */
int store_open_drafts(struct store *store);
void store_close_drafts(struct store *store);

/* 0: this is no name of a directory of queue/ or tmp/. */
uint32_t store_directory_number(const char *name);
/* Job: as store_list(), of one directory of queue/. */
int store_list_directory(const struct store *store, uint32_t directory,
                         bool (*fn)(void *owner, const struct store_found *found), void *owner);
/* Job: removes a directory of queue/ that holds no message, and whose owner is gone. 0 also if it
 * stays. */
int store_remove_directory(const struct store *store, uint32_t directory);

#endif
