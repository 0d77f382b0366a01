/* SPDX-License-Identifier: BSD-2-Clause */
/* One message: taken, read, changed, moved. All of it by jobs. */
#include "spool/store.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/store_private.h"

#define TAKE_TRIES 8 /* in case the file is replaced again and again */

/* ---- delivering ---- */

/* The file may have been moved, removed or replaced between opening and locking it. -ESTALE: it was
 * replaced, and can be opened anew. */
static int take_once(const char *path, int *fd_out)
{
    int fd = disk_open_append(path);

    if (fd < 0)
        return fd;
    int error = disk_lock(fd);
    if (error == 0)
        error = store_compare_name(fd, path);
    if (error != 0) {
        disk_close(fd);
        return error;
    }
    *fd_out = fd;
    return 0;
}

int store_take(const struct store *store, const struct store_place *place, int *fd_out)
{
    struct store_path path = store_message_path(store, place);
    int error = -ESTALE;

    for (int i = 0; i < TAKE_TRIES && error == -ESTALE; i++)
        error = take_once(path.text, fd_out);
    return error == -ESTALE ? -EAGAIN : error;
}

int store_look(const struct store *store, const struct store_place *place, int *fd_out)
{
    int fd = disk_open_read(store_message_path(store, place).text);

    if (fd < 0)
        return fd;
    *fd_out = fd;
    return 0;
}

int store_each_block(int fd, const struct spool_head *head,
                     int (*fn)(void *owner, uint64_t at, struct bytes block), void *owner)
{
    uint8_t *octets = mem_alloc(STORE_BLOCK_BYTES);
    uint64_t sum = 0;
    int error = octets == NULL ? ERR_MEMORY : 0;

    for (uint64_t at = 0; error == 0 && at < head->body_bytes; at += STORE_BLOCK_BYTES) {
        struct bytes block = bytes_make(octets, STORE_BLOCK_BYTES);
        if (head->body_bytes - at < block.len)
            block.len = (size_t)(head->body_bytes - at);
        error = disk_read_at(fd, SPOOL_HEAD_BYTES + at, octets, block.len);
        if (error != 0)
            break;
        sum = hash_chain(sum, block);
        error = fn(owner, at, block);
    }
    mem_free(octets);
    if (error == 0 && sum != head->body_sum)
        error = -EBADMSG;
    return error;
}

struct wanted {
    uint8_t *into;
    uint64_t at; /* of the next octet */
    size_t len;  /* still wanted */
};

static int keep_wanted(void *owner, uint64_t at, struct bytes block)
{
    struct wanted *wanted = owner;

    if (wanted->len != 0 && wanted->at < at + block.len) {
        block = bytes_first(bytes_skip(block, (size_t)(wanted->at - at)), wanted->len);
        memcpy(wanted->into, block.at, block.len);
        wanted->into += block.len;
        wanted->at += block.len;
        wanted->len -= block.len;
    }
    return 0;
}

int store_read_body(int fd, const struct spool_head *head, uint64_t at, uint8_t *into, size_t len)
{
    struct wanted wanted = {.into = into, .at = at, .len = len};

    assert(at <= head->body_bytes && len <= head->body_bytes - at);
    return store_each_block(fd, head, keep_wanted, &wanted);
}

const char *store_damage(int error)
{
    switch (error) {
    case ERR_SYNTAX:
        return "is damaged";
    case -EBADMSG:
        return "has a damaged body";
    case -EFBIG:
        return "has more records than are ever written";
    default:
        return NULL;
    }
}

static int read_head(int fd, const struct id *id, uint64_t file_bytes, struct spool_head *head_out)
{
    uint8_t block[SPOOL_HEAD_BYTES];
    int error;

    if (file_bytes < sizeof(block))
        return ERR_SYNTAX;
    error = disk_read_at(fd, 0, block, sizeof(block));
    if (error == 0)
        error = spool_head_parse(bytes_make(block, sizeof(block)), head_out);
    if (error != 0)
        return error;
    bool is_it = memcmp(head_out->id.text, id->text, ID_LENGTH) == 0;
    return is_it && spool_records_at(head_out) <= file_bytes ? 0 : ERR_SYNTAX;
}

static int read_records(int fd, uint64_t file_bytes, const struct spool_head *head,
                        struct arena *arena, struct spool_message *message_out)
{
    uint64_t at = spool_records_at(head), len = file_bytes - at;

    if (len > SPOOL_RECORDS_MAX)
        return -EFBIG;
    uint8_t *records = mem_alloc((size_t)len + 1);
    int error = records == NULL ? ERR_MEMORY : disk_read_at(fd, at, records, (size_t)len);

    if (error == 0)
        error = spool_message_parse(head, bytes_make(records, (size_t)len), arena, message_out);
    mem_free(records);
    return error;
}

int store_read(int fd, const struct id *id, struct arena *arena, struct spool_message *message_out)
{
    struct disk_facts facts;
    struct spool_head head;
    int error = disk_facts_of(fd, &facts);

    if (error == 0)
        error = read_head(fd, id, facts.bytes, &head);
    return error == 0 ? read_records(fd, facts.bytes, &head, arena, message_out) : error;
}

int store_append(int fd, uint64_t at, struct bytes records)
{
    struct disk_facts facts;
    int error = disk_facts_of(fd, &facts);

    assert(at % 8 == 0);
    if (error == 0 && facts.bytes < at)
        error = -EIO;
    if (error == 0 && facts.bytes > at)
        error = disk_truncate(fd, at);
    return error == 0 ? disk_write_at(fd, at, records) : error;
}

/* ---- marks ---- */

int store_set_mark(int fd, enum disk_mark mark, bool is_set)
{
    struct disk_facts facts;
    int error = disk_facts_of(fd, &facts);

    if (error != 0)
        return error;
    return disk_mark(fd, is_set ? facts.marks | mark : facts.marks & ~(unsigned)mark);
}

void store_begin_try(int fd, bool *was_left_out)
{
    struct disk_facts facts;

    *was_left_out = false;
    if (disk_facts_of(fd, &facts) != 0)
        return;
    *was_left_out = (facts.marks & DISK_MARK_TRIED) != 0;
    if (!*was_left_out)
        disk_mark(fd, facts.marks | DISK_MARK_TRIED);
}

void store_end_try(int fd)
{
    store_set_mark(fd, DISK_MARK_TRIED, false);
}

/* ---- names ---- */

int store_remove(const struct store *store, const struct store_place *place)
{
    return disk_unlink(store_message_path(store, place).text);
}

/* Both ends of a move, and the directories that they lie in. */
struct move {
    struct store_path from, to, from_directory;
    int goal; /* the directory of `to` */
};

/* A name at the goal was left by an earlier move that was cut short. No sync makes a name durable
 * whose sync has failed before, and the file may have been rewritten since. The name is therefore
 * removed and made anew; the old name is made durable before that. */
static int link_goal(const struct move *move)
{
    int error = disk_link(move->from.text, move->to.text);

    if (error != -EEXIST)
        return error;
    error = disk_sync_directory(move->from_directory.text);
    if (error == 0)
        error = disk_unlink(move->to.text);
    return error == 0 || error == -ENOENT ? disk_link(move->from.text, move->to.text) : error;
}

/* The old name is removed when the new one is durable: whatever fails, one of both is. A removal
 * that fails may have happened; then the message lies at the goal alone. */
static int move_file(const struct move *move)
{
    struct disk_facts facts;
    int error = link_goal(move);

    if (error != 0)
        return error;
    error = disk_sync_open_directory(move->goal);
    if (error != 0) {
        disk_unlink(move->to.text);
        return error;
    }
    error = disk_unlink(move->from.text);
    return error != 0 && disk_facts_of_path(move->from.text, &facts) == 0 ? error : 0;
}

int store_move(const struct store *store, const struct store_place *place, enum store_folder to,
               uint32_t directory, struct store_place *place_out)
{
    struct store_place there = {
        .id = place->id, .directory = to == STORE_QUEUE ? directory : 0, .folder = to};
    struct move move = {.from = store_message_path(store, place),
                        .to = store_message_path(store, &there),
                        .from_directory = store_parent_path(store, place),
                        .goal = store_open_parent(store, &there)};

    assert(place->folder != to);
    assert(to != STORE_QUEUE || (directory != 0 && directory <= STORE_DIRECTORY_MAX));
    if (move.goal < 0)
        return move.goal;
    int error = move_file(&move);
    disk_close(move.goal);
    if (error != 0)
        return error;
    *place_out = there;
    error = disk_sync_directory(move.from_directory.text);
    return error == -ENOENT ? 0 : error; /* the directory was removed after its last message */
}

/* A message whose move was cut short has two names. The file says where it was going, and the name
 * that it was leaving is durable. */
int store_end_move(const struct store *store, const struct store_place *place, int fd, bool is_held)
{
    struct store_place held = {.id = place->id, .folder = STORE_HOLD}, there;
    struct store_path path = store_message_path(store, &held);
    struct disk_facts facts;
    int error = disk_facts_of(fd, &facts);

    if (error != 0 || facts.links < 2 || place->folder == STORE_BAD)
        return error;
    if (place->folder == STORE_HOLD)
        return -EAGAIN;
    error = store_compare_name(fd, path.text);
    if (error != 0)
        return error == -ENOENT || error == -ESTALE ? 0 : error;
    if (!is_held)
        return store_move(store, &held, STORE_QUEUE, place->directory, &there);
    error = disk_unlink(path.text);
    return error == 0 ? store_sync_folder(store, STORE_HOLD) : error;
}
