/* SPDX-License-Identifier: BSD-2-Clause */
/* The index file: a first block, a row for each message in the order of ids, what the rows point
 * to.
 */
#include "spool/spool_index.h"

#include <assert.h>
#include <errno.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/io/disk.h"
#include "spool/spool_format_private.h"
#include "spool/store_private.h"

#define MAGIC          "POSTERNI"
#define VERSION        1
#define FILE_MAX       (64U << 20)
#define RECIPIENTS_MAX 100 /* a message with more has no row */

enum head { AT_MAGIC = 0, AT_VERSION = 8, AT_COUNT = 16, AT_SUM = 56, HEAD = 64 };
enum row { AT_ID = 0, AT_OFFSET = 16, AT_LENGTH = 20, ROW = 24 };

/* Of a recipient. */
#define RECIPIENT_BYTES_MIN 26

static uint64_t sum_of(struct bytes head, struct bytes rows, struct bytes contents)
{
    return hash_chain(hash_chain(hash_chain(0, bytes_first(head, AT_SUM)), rows), contents);
}

/* ---- contents: a message in short ---- */

static void put_recipient(struct buf *out, const struct spool_recipient *r)
{
    spool_add_text(out, r->original.domain);
    spool_add_text(out, r->to.domain);
    spool_add_text(out, r->target);
    spool_add_tries(out, r);
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

static void take_recipient(struct spool_content *c, struct spool_recipient *r)
{
    r->original.domain = spool_take_text(c);
    r->to.domain = spool_take_text(c);
    r->target = spool_take_text(c);
    spool_take_tries(c, r);
}

static int take_message(struct spool_content *c, struct spool_message *m)
{
    m->recipient_count = (uint32_t)spool_take_number(c, 4);
    unsigned bits = (unsigned)spool_take_number(c, 1);
    m->is_held = (bits & 1) != 0;
    m->is_report = (bits & 2) != 0;
    m->head.body_bytes = spool_take_number(c, 8);
    m->arrived_ms = (int64_t)spool_take_number(c, 8);
    spool_take_address(c, &m->envelope.from);
    if (m->recipient_count == 0 || m->recipient_count > c->left.len / RECIPIENT_BYTES_MIN)
        return ERR_SYNTAX;
    m->recipients = arena_alloc(c->arena, m->recipient_count * sizeof(*m->recipients));
    if (m->recipients == NULL)
        return ERR_MEMORY;
    for (uint32_t i = 0; i < m->recipient_count; i++)
        take_recipient(c, &m->recipients[i]);
    return spool_content_error(c);
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

static void add(struct making *m, const struct id *id, const struct spool_message *message)
{
    size_t start = buf_length(&m->contents);

    put_message(&m->contents, message);
    buf_put(&m->rows, bytes_make(id->text, ID_LENGTH));
    spool_add_number(&m->rows, start, 4);
    spool_add_number(&m->rows, buf_length(&m->contents) - start, 4);
    assert(start <= FILE_MAX && message->recipient_count <= RECIPIENTS_MAX);
    m->count++;
    if (m->contents.has_failed || m->rows.has_failed)
        m->error = ERR_MEMORY;
}

/* What cannot be read has no row: whoever starts will see for himself. Nor has what somebody has
 * taken: he may have forgotten the index before this one was begun, and change the message after it
 * was read. Whoever takes it later forgets this one. */
static bool on_found(void *owner, const struct store_found *found)
{
    struct making *m = owner;
    struct spool_message message;
    int fd;

    if (found->stray != NULL) {
        m->error = found->error;
        return found->error == 0;
    }
    if (store_take(m->store, &found->place, &fd) != 0)
        return true;
    int error = store_read(fd, &found->place.id, &m->arena, &message);
    if (error == 0 && message.recipient_count <= RECIPIENTS_MAX)
        add(m, &found->place.id, &message);
    else if (error == ERR_MEMORY)
        m->error = error;
    disk_close(fd);
    arena_reset(&m->arena);
    return m->error == 0;
}

static int save(struct making *m, int fd)
{
    uint8_t head[HEAD] = MAGIC;
    struct bytes pieces[] = {bytes_make(head, sizeof(head)), buf_bytes(&m->rows),
                             buf_bytes(&m->contents)};

    spool_store_number(head + AT_VERSION, VERSION, 4);
    spool_store_number(head + AT_COUNT, m->count, 8);
    spool_store_number(head + AT_SUM, sum_of(pieces[0], pieces[1], pieces[2]), 8);
    return disk_write_pieces_at(fd, 0, pieces, (int)ARRAY_LENGTH(pieces));
}

static int read_all(struct making *m, uint32_t directory, int fd)
{
    int error = store_list_directory(m->store, directory, on_found, m);

    if (error == 0)
        error = m->error;
    if (error != 0)
        return error;
    return m->count < store_limits(m->store)->index_messages_min ? -ENOENT : save(m, fd);
}

/* Its name stands there before the first message is read, and goes with the next change of any of
 * them: then there is nothing to be renamed. */
static int make_new(struct making *m, uint32_t directory)
{
    struct store_path path = store_queue_path(m->store, directory, STORE_INDEX);
    struct store_path new_path = store_queue_path(m->store, directory, STORE_NEW_INDEX);
    int fd = disk_create(new_path.text);

    if (fd < 0)
        return fd;
    int error = read_all(m, directory, fd);
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

/* The old one is forgotten first: a power cut could undo that it was replaced. */
static int make(const struct store *s, uint32_t directory)
{
    struct making m = {.store = s};
    uint32_t count = 0;
    int error = store_list_directory(s, directory, count_message, &count);

    if (error != 0 || count < store_limits(s)->index_messages_min)
        return error;
    pool_init(&m.pool, 4096, 4);
    arena_init(&m.arena, &m.pool, SIZE_MAX);
    buf_init(&m.rows, &m.pool, FILE_MAX / 4);
    buf_init(&m.contents, &m.pool, FILE_MAX / 2);
    error = spool_index_forget(s, directory);
    if (error == 0)
        error = make_new(&m, directory);
    buf_done(&m.rows);
    buf_done(&m.contents);
    arena_reset(&m.arena);
    pool_done(&m.pool);
    return error;
}

/* A time to come is that of a clock which was set back since: it is long ago. */
static bool is_recent(int64_t changed_s, int64_t now_s, int64_t quiet_s)
{
    return changed_s <= now_s && now_s - changed_s < quiet_s;
}

int spool_index_refresh(const struct store *s, uint32_t directory, int64_t now_s)
{
    int64_t quiet_s = store_limits(s)->index_quiet_s;
    struct disk_facts of_directory, of_index;
    int error = disk_facts_of_path(store_queue_path(s, directory, "").text, &of_directory);

    if (error != 0)
        return error == -ENOENT ? 0 : error;
    if (is_recent(of_directory.changed_s, now_s, quiet_s))
        return 0;
    error = disk_facts_of_path(store_queue_path(s, directory, STORE_INDEX).text, &of_index);
    /* Its own name was the last change, or one that came very soon behind it. */
    if (error == 0 && of_index.changed_s <= now_s &&
        of_index.changed_s + quiet_s / 2 > of_directory.changed_s)
        return 0;
    return error == 0 || error == -ENOENT ? make(s, directory) : error;
}

/* What it says is made worthless, durably: though its name came back. */
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

/* One that is being made goes first: it must not get its name in between. */
int spool_index_forget(const struct store *s, uint32_t directory)
{
    struct store_path path = store_queue_path(s, directory, STORE_INDEX);
    int error = disk_unlink(store_queue_path(s, directory, STORE_NEW_INDEX).text);

    if (error != 0 && error != -ENOENT)
        return error;
    int spoil_error = spoil(path.text);
    if (spoil_error == -ENOENT)
        return 0;
    error = disk_unlink(path.text);
    if (error == 0)
        error = disk_sync_directory(store_queue_path(s, directory, "").text);
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

static int check(struct spool_index *index)
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

int spool_index_read(const struct store *s, uint32_t directory, struct spool_index *index_out)
{
    struct store_path path = store_queue_path(s, directory, STORE_INDEX);
    struct spool_index index = {0};
    int error = disk_read_file(path.text, FILE_MAX, &index.octets, &index.len);

    if (error == 0)
        error = check(&index);
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
