/* SPDX-License-Identifier: BSD-2-Clause */
/* One message that is there: taken, read, changed, moved. All of it in jobs. */
#include "spool/store.h"

#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define BLOCK_BYTES 65536 /* that sums are made of */

/* ---- delivering ---- */

int store_take(const struct store *s, const struct store_place *place, int *fd_out)
{
    struct disk_facts facts;
    int fd = disk_open_append(store_message_path(s, place).text);

    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        error = disk_facts_of(fd, &facts);
    if (error == 0 && facts.links == 0)
        error = -ENOENT;
    if (error != 0) {
        disk_close(fd);
        return error;
    }
    *fd_out = fd;
    return 0;
}

int store_look(const struct store *s, const struct store_place *place, int *fd_out)
{
    int fd = disk_open_read(store_message_path(s, place).text);

    if (fd < 0)
        return fd;
    *fd_out = fd;
    return 0;
}

static int check_body(int fd, const struct spool_head *head)
{
    uint8_t *block = mem_alloc(BLOCK_BYTES);
    uint64_t sum = 0;
    int error = block == NULL ? ERR_MEMORY : 0;

    for (uint64_t at = 0; error == 0 && at < head->body_bytes; at += BLOCK_BYTES) {
        uint64_t left = head->body_bytes - at;
        size_t len = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
        error = disk_read_at(fd, SPOOL_HEAD_BYTES + at, block, len);
        sum = error == 0 ? hash_chain(sum, bytes_make(block, len)) : sum;
    }
    mem_free(block);
    if (error == 0 && sum != head->body_sum)
        error = -EBADMSG;
    return error;
}

static int read_head(int fd, uint64_t file_bytes, struct spool_head *head_out)
{
    uint8_t block[SPOOL_HEAD_BYTES];
    int error;

    if (file_bytes < sizeof(block))
        return ERR_SYNTAX;
    error = disk_read_at(fd, 0, block, sizeof(block));
    if (error == 0)
        error = spool_head_parse(bytes_make(block, sizeof(block)), head_out);
    if (error == 0 && spool_records_at(head_out) > file_bytes)
        error = ERR_SYNTAX;
    return error;
}

static int read_records(int fd, uint64_t file_bytes, const struct spool_head *head,
                        struct arena *arena, struct spool_message *message_out)
{
    uint64_t at = spool_records_at(head), left = file_bytes - at;
    size_t len = left < SPOOL_RECORDS_MAX ? (size_t)left : SPOOL_RECORDS_MAX;
    uint8_t *records = mem_alloc(len + 1);
    int error = records == NULL ? ERR_MEMORY : disk_read_at(fd, at, records, len);

    if (error == 0)
        error = spool_message_parse(head, bytes_make(records, len), arena, message_out);
    mem_free(records);
    return error;
}

int store_read(int fd, bool checks_body, struct arena *arena, struct spool_message *message_out)
{
    struct disk_facts facts;
    struct spool_head head;
    int error = disk_facts_of(fd, &facts);

    if (error == 0)
        error = read_head(fd, facts.bytes, &head);
    if (error == 0 && checks_body)
        error = check_body(fd, &head);
    return error == 0 ? read_records(fd, facts.bytes, &head, arena, message_out) : error;
}

int store_append(int fd, uint64_t at, struct bytes records, bool is_synced)
{
    struct disk_facts facts;
    int error = disk_facts_of(fd, &facts);

    if (error == 0 && facts.bytes < at)
        error = -EIO;
    if (error == 0 && facts.bytes > at)
        error = disk_truncate(fd, at);
    if (error == 0)
        error = disk_write_at(fd, at, records);
    if (error == 0 && is_synced)
        error = disk_sync(fd);
    return error;
}

/* ---- names ---- */

int store_remove(const struct store *s, const struct store_place *place)
{
    return disk_unlink(store_message_path(s, place).text);
}

/* A move whose file stands at its goal has happened: what was missing was a sync. */
static int move_file(const char *from, const char *to, const char *directory)
{
    struct disk_facts facts;
    int error = disk_rename(from, to);

    if (error != -ENOENT)
        return error;
    if (disk_facts_of_path(to, &facts) == 0)
        return 0;
    error = disk_make_directories(directory);
    return error == 0 ? disk_rename(from, to) : error;
}

int store_move(const struct store *s, const struct store_place *place, enum store_folder to,
               uint32_t directory, struct store_place *place_out)
{
    struct store_place there = {
        .id = place->id, .directory = to == STORE_QUEUE ? directory : 0, .folder = to};
    struct store_path from = store_message_path(s, place), path = store_message_path(s, &there);
    struct store_path parent = store_parent_path(s, &there);
    int error = move_file(from.text, path.text, parent.text);

    if (error == 0)
        error = disk_sync_directory(parent.text);
    if (error == 0)
        error = disk_sync_directory(store_parent_path(s, place).text);
    if (error == 0)
        *place_out = there;
    return error;
}
