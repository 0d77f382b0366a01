/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the spool's files. Private to store*.c. */
#ifndef POSTERN_STORE_PRIVATE_H
#define POSTERN_STORE_PRIVATE_H

#include "proxy/io/work.h"
#include "spool/store.h"

#define STORE_DIRECTORY_MAX 999999
/* In each directory of queue/: locked as long as a process puts messages there. */
#define STORE_OWNER     "owner"
#define STORE_INDEX     "index" /* see spool_index.h */
#define STORE_NEW_INDEX "index.new"
/* Behind the name of a message: the file that is about to take its place. */
#define STORE_NEW         ".new"
#define STORE_BLOCK_BYTES 65536 /* that sums of bodies are made of */

/* A directory that is ours: nobody removes it while `fd` is open. */
struct store_own {
    uint32_t number;
    int fd; /* of its owner file, locked; -1: none */
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
        uint32_t behind; /* numbers to try begin after this one */
        struct store_own made;
        int retired_fd; /* closed by the job, which may block */
    } job;
    struct {
        struct store_own own; /* of tmp/; none where drafts have no names */
        struct store_path path;
        struct draft_folder drafts;
    } tmp;
};

struct store_path store_folder_path(const struct store *s, const char *name); /* "queue" ... */
struct store_path store_numbered_path(const struct store *s, const char *folder, uint32_t directory,
                                      const char *name);
struct store_path store_queue_path(const struct store *s, uint32_t directory, const char *name);
struct store_path store_message_path(const struct store *s, const struct store_place *place);
struct store_path store_new_path(const struct store *s, const struct store_place *place);
struct store_path store_mark_path(const struct store *s, const char *name);
/* The directory that it lies in. */
struct store_path store_parent_path(const struct store *s, const struct store_place *place);
/* Job: that directory, which is made where it is missing: it may be gone, since it was empty, and
 * nobody seemed to fill it. Open before any name is made there: what a sync of somebody else has
 * lost meanwhile is told to us too. A descriptor, or an error. */
int store_open_parent(const struct store *s, const struct store_place *place);

/* Job: fn gets the body, block by block; what it returns other than 0 ends that. Only at the end is
 * it known whether that was the body: -EBADMSG. */
int store_each_block(int fd, const struct spool_head *head,
                     int (*fn)(void *owner, uint64_t at, struct bytes block), void *owner);
/* Job: is that file the one which has the name now? -ENOENT: nothing has it; -ESTALE: another. */
int store_compare_name(int fd, const char *path);

/* Makes a directory ours. -EEXIST: it is, or was, another one's. */
int store_make_own(const struct store *s, const char *folder, uint32_t number,
                   struct store_own *own_out);
/* ... the first of a number behind `behind` that can be had. */
int store_make_next(const struct store *s, const char *folder, uint32_t behind,
                    struct store_own *own_out);
void store_close_own(struct store_own *own);
/* At start: removes what dead processes left in tmp/, finds out what drafts can be here. */
int store_open_drafts(struct store *s);
void store_close_drafts(struct store *s);

/* 0: no name of a directory of queue/, or tmp/. */
uint32_t store_directory_number(const char *name);
/* Job: as store_list(), of one directory of queue/. */
int store_list_directory(const struct store *s, uint32_t directory,
                         bool (*fn)(void *owner, const struct store_found *found), void *owner);
/* Job: removes a directory of queue/ that holds nothing but what we put there ourselves, and whose
 * owner is gone. 0 though it stays. */
int store_remove_directory(const struct store *s, uint32_t directory);

#endif
