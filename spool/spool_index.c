/* SPDX-License-Identifier: BSD-2-Clause */
/* The index file: a first block, a row for each message in the order of ids, and the contents that
 * the rows point to. */
#include "spool/spool_index.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/spool_format_private.h"
#include "spool/store_private.h"

#define MAGIC          "POSTERNI"
#define VERSION        2
#define FILE_MAX       (64U << 20)
#define RECIPIENTS_MAX 100 /* a message with more has no row */

enum head { AT_MAGIC = 0, AT_VERSION = 8, AT_COUNT = 16, AT_SUM = 56, HEAD = 64 };
enum row { AT_ID = 0, AT_OFFSET = 16, AT_LENGTH = 20, ROW = 24 };

/* Of a recipient. */
#define RECIPIENT_BYTES_MIN 34

static uint64_t sum_of(struct bytes head, struct bytes rows, struct bytes contents)
{
    return hash_chain(hash_chain(hash_chain(0, bytes_first(head, AT_SUM)), rows), contents);
}

/* ---- contents: a message in short ---- */

static void put_recipient(struct buf *out, const struct spool_recipient *s)
{
    spool_add_text(out, s->original.domain);
    spool_add_text(out, s->to.domain);
    spool_add_text(out, s->target);
    spool_add_number(out, s->to.mailbox, 8);
    spool_add_tries(out, s);
}

static void put_message(struct buf *out, const struct spool_message *m)
{
    spool_add_number(out, m->recipient_count, 4);
    spool_add_number(out, (m->is_held ? 1u : 0u) | (m->is_report ? 2u : 0u), 1);
    spool_add_number(out, m->head.body_bytes, 8);
    spool_add_number(out, (uint64_t)m->arrived_ms, 8);
    spool_add_address(out, &m->envelope.from);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        put_recipient(out, &m->recipients[i]);
}

static void take_recipient(struct spool_content *content, struct spool_recipient *s)
{
    s->original.domain = spool_take_text(content);
    s->to.domain = spool_take_text(content);
    s->target = spool_take_text(content);
    s->to.mailbox = spool_take_number(content, 8);
    spool_take_tries(content, s);
}

static int take_message(struct spool_content *content, struct spool_message *m)
{
    m->recipient_count = (uint32_t)spool_take_number(content, 4);
    unsigned bits = (unsigned)spool_take_number(content, 1);
    m->is_held = (bits & 1) != 0;
    m->is_report = (bits & 2) != 0;
    m->head.body_bytes = spool_take_number(content, 8);
    m->arrived_ms = (int64_t)spool_take_number(content, 8);
    spool_take_address(content, &m->envelope.from);
    if (m->recipient_count == 0 || m->recipient_count > content->left.len / RECIPIENT_BYTES_MIN)
        return ERR_SYNTAX;
    m->recipients = arena_alloc(content->arena, m->recipient_count * sizeof(*m->recipients));
    if (m->recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < m->recipient_count; i++)
        take_recipient(content, &m->recipients[i]);
    return spool_content_error(content);
}

/* ---- making ---- */

struct making {
    const struct store *store;
    struct pool pool;
    struct arena arena; /* of one message */
    struct buf rows, contents;
    uint32_t count;
    int error;
};

static void add(struct making *making, const struct id *id, const struct spool_message *message)
{
    size_t start = buf_length(&making->contents);

    put_message(&making->contents, message);
    buf_put(&making->rows, bytes_make(id->text, ID_LENGTH));
    spool_add_number(&making->rows, start, 4);
    spool_add_number(&making->rows, buf_length(&making->contents) - start, 4);
    assert(start <= FILE_MAX && message->recipient_count <= RECIPIENTS_MAX);
    making->count++;
    if (making->contents.has_failed || making->rows.has_failed)
        making->error = ERR_MEMORY;
}

/* A message that cannot be read has no row: the next start opens it. A message that somebody has
 * taken has none either: its taker may have forgotten the index before this one was begun, and
 * change the message after it was read here. Whoever takes a message later forgets this index. */
static bool on_found(void *owner, const struct store_found *found)
{
    struct making *making = owner;
    struct spool_message message;
    int fd;

    if (found->stray != NULL) {
        making->error = found->error;
        return found->error == 0;
    }
    if (store_take(making->store, &found->place, &fd) != 0)
        return true;
    int error = store_read(fd, &found->place.id, &making->arena, &message);
    if (error == 0 && message.recipient_count <= RECIPIENTS_MAX)
        add(making, &found->place.id, &message);
    else if (error == ERR_MEMORY)
        making->error = error;
    disk_close(fd);
    arena_reset(&making->arena);
    return making->error == 0;
}

static int save(struct making *making, int fd)
{
    uint8_t head[HEAD] = MAGIC;
    struct bytes pieces[] = {bytes_make(head, sizeof(head)), buf_bytes(&making->rows),
                             buf_bytes(&making->contents)};

    spool_store_number(head + AT_VERSION, VERSION, 4);
    spool_store_number(head + AT_COUNT, making->count, 8);
    spool_store_number(head + AT_SUM, sum_of(pieces[0], pieces[1], pieces[2]), 8);
    return disk_write_pieces_at(fd, 0, pieces, (int)ARRAY_LENGTH(pieces));
}

static int read_all(struct making *making, uint32_t directory, int fd)
{
    int error = store_list_directory(making->store, directory, on_found, making);

    if (error == 0)
        error = making->error;
    if (error != 0)
        return error;
    return making->count < store_limits(making->store)->index_messages_min ? -ENOENT
                                                                           : save(making, fd);
}

/* The new index has its name before the first message is read. Whoever changes a message removes
 * that name, and the rename fails then. */
static int make_new(struct making *making, uint32_t directory)
{
    struct store_path path = store_queue_path(making->store, directory, STORE_INDEX);
    struct store_path new_path = store_queue_path(making->store, directory, STORE_NEW_INDEX);
    int fd = disk_create(new_path.text);

    if (fd < 0)
        return fd;
    int error = read_all(making, directory, fd);
    disk_close(fd);
    if (error == 0)
        error = disk_replace(new_path.text, path.text);
    if (error != 0)
        disk_unlink(new_path.text);
    return error == -ENOENT ? 0 : error;
}

static bool count_message(void *owner, const struct store_found *found)
{
    uint32_t *count = owner;

    *count += found->stray == NULL;
    return true;
}

/* The old index is forgotten first: a power cut could undo its replacement. */
static int make(const struct store *store, uint32_t directory)
{
    struct making making = {.store = store};
    uint32_t count = 0;
    int error = store_list_directory(store, directory, count_message, &count);

    if (error != 0 || count < store_limits(store)->index_messages_min)
        return error;
    pool_init(&making.pool, 4096, 4);
    arena_init(&making.arena, &making.pool, SIZE_MAX);
    buf_init(&making.rows, &making.pool, FILE_MAX / 4);
    buf_init(&making.contents, &making.pool, FILE_MAX / 2);
    error = spool_index_forget(store, directory);
    if (error == 0)
        error = make_new(&making, directory);
    buf_done(&making.rows);
    buf_done(&making.contents);
    arena_reset(&making.arena);
    pool_done(&making.pool);
    return error;
}

/* A time in the future is from before the clock was set back, and counts as long ago. */
static bool is_recent(int64_t changed_s, int64_t now_s, int64_t quiet_s)
{
    return changed_s <= now_s && now_s - changed_s < quiet_s;
}

int spool_index_refresh(const struct store *store, uint32_t directory, int64_t now_s)
{
    int64_t quiet_s = store_limits(store)->index_quiet_s;
    struct disk_facts of_directory, of_index;
    int error = disk_facts_of_path(store_queue_path(store, directory, "").text, &of_directory);

    if (error != 0)
        return error == -ENOENT ? 0 : error;
    if (is_recent(of_directory.changed_s, now_s, quiet_s))
        return 0;
    error = disk_facts_of_path(store_queue_path(store, directory, STORE_INDEX).text, &of_index);
    /* The last change of the directory was the index's own name, or came very soon after it. */
    if (error == 0 && of_index.changed_s <= now_s &&
        of_index.changed_s + quiet_s / 2 > of_directory.changed_s)
        return 0;
    return error == 0 || error == -ENOENT ? make(store, directory) : error;
}

/* Overwrites the first block and syncs it: the index is worthless even if its name comes back. */
static int spoil(const char *path)
{
    static const uint8_t nothing[HEAD];
    int fd = disk_open_append(path);

    if (fd < 0)
        return fd;
    int error = disk_write_at(fd, 0, bytes_make(nothing, sizeof(nothing)));
    if (error == 0)
        error = disk_sync(fd);
    disk_close(fd);
    return error;
}

/* An index that is being made is removed first, so that it cannot get its name in between. */
int spool_index_forget(const struct store *store, uint32_t directory)
{
    struct store_path path = store_queue_path(store, directory, STORE_INDEX);
    int error = disk_unlink(store_queue_path(store, directory, STORE_NEW_INDEX).text);

    if (error != 0 && error != -ENOENT)
        return error;
    int spoil_error = spoil(path.text);
    if (spoil_error == -ENOENT)
        return 0;
    error = disk_unlink(path.text);
    if (error == 0)
        error = disk_sync_directory(store_queue_path(store, directory, "").text);
    return error == -ENOENT || spoil_error == 0 ? 0 : error;
}

/* ---- using ---- */

static struct bytes rows_of(const struct spool_index *index)
{
    return bytes_make(index->octets + HEAD, (size_t)index->count * ROW);
}

static struct bytes contents_of(const struct spool_index *index)
{
    return bytes_skip(bytes_make(index->octets, index->len), HEAD + (size_t)index->count * ROW);
}

int spool_index_check(struct spool_index *index)
{
    const uint8_t *head = index->octets;

    if (index->len < HEAD || memcmp(head + AT_MAGIC, MAGIC, 8) != 0 ||
        spool_load_number(head + AT_VERSION, 4) != VERSION ||
        spool_load_number(head + AT_COUNT, 8) > (index->len - HEAD) / ROW)
        return ERR_SYNTAX;
    index->count = (uint32_t)spool_load_number(head + AT_COUNT, 8);
    return spool_load_number(head + AT_SUM, 8) ==
                   sum_of(bytes_make(head, HEAD), rows_of(index), contents_of(index))
               ? 0
               : ERR_SYNTAX;
}

int spool_index_read(const struct store *store, uint32_t directory, struct spool_index *index_out)
{
    struct store_path path = store_queue_path(store, directory, STORE_INDEX);
    struct spool_index index = {0};
    int error = disk_read_file(path.text, FILE_MAX, &index.octets, &index.len);

    if (error == 0)
        error = spool_index_check(&index);
    if (error != 0) {
        spool_index_free(&index);
        return error;
    }
    *index_out = index;
    return 0;
}

void spool_index_free(struct spool_index *index)
{
    mem_free(index->octets);
    *index = (struct spool_index){0};
}

/* NULL: none. */
static const uint8_t *find_row(const struct spool_index *index, const struct id *id)
{
    struct bytes rows = rows_of(index);
    size_t first = 0, end = index->count;

    assert(HEAD + rows.len <= index->len);
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        int order = memcmp(rows.at + middle * ROW + AT_ID, id->text, ID_LENGTH);
        if (order == 0)
            return rows.at + middle * ROW;
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

int spool_index_find(const struct spool_index *index, const struct id *id, struct arena *arena,
                     struct spool_message *message_out)
{
    const uint8_t *row = index->count == 0 ? NULL : find_row(index, id);
    struct spool_message message = {.head.id = *id};

    if (row == NULL)
        return -ENOENT;

    struct bytes contents = contents_of(index);
    uint64_t offset = spool_load_number(row + AT_OFFSET, 4);
    uint64_t len = spool_load_number(row + AT_LENGTH, 4);
    if (offset > contents.len || len > contents.len - offset)
        return ERR_SYNTAX;

    struct spool_content content = {
        .left = bytes_first(bytes_skip(contents, (size_t)offset), (size_t)len), .arena = arena};
    int error = take_message(&content, &message);
    if (error == 0)
        *message_out = message;
    return error;
}
