/* SPDX-License-Identifier: BSD-2-Clause */
/* Which targets have announced XCLIENT, kept in `targets` of the spool directory across restarts.
 */
#include "route/relay_memory.h"

#include <errno.h>

#include "proxy/base/buf.h"
#include "proxy/base/error.h"
#include "proxy/base/hash.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/io/disk.h"
#include "proxy/io/work.h"

/* One line a target: its name as xtext, a space, "xclient". */
#define LINE_END       " xclient\n"
#define FILE_MAX_BYTES (4 << 20)
#define NAME_MAX_BYTES 4096 /* of one name as xtext */

struct known {
    struct hash_entry entry;
    struct known *next;
    uint8_t name[]; /* as xtext */
};

struct relay_memory {
    struct loop *loop;
    struct log *log;
    uint32_t log_sinks;
    struct hash_table table;
    struct known *first;
    char *directory, *path, *fresh_path; /* the job's too */
    struct work work;
    uint8_t *image; /* what the job writes */
    size_t image_len;
    int error; /* of the job */
    bool is_writing;
    bool is_dirty;
};

/* ---- names ---- */

static struct known *remember(struct relay_memory *m, struct bytes name)
{
    struct known *k = mem_zalloc(sizeof(*k) + name.len);

    if (k == NULL)
        return NULL;
    if (name.len != 0)
        memcpy(k->name, name.at, name.len);
    if (hash_table_add(&m->table, &k->entry, bytes_make(k->name, name.len)) != 0) {
        mem_free(k);
        return NULL;
    }
    k->next = m->first;
    m->first = k;
    return k;
}

static void put_name(const struct relay_memory *m, struct buf *out, struct bytes target)
{
    buf_init(out, &loop_pools(m->loop)->small, NAME_MAX_BYTES);
    text_put_xtext(out, target);
}

bool relay_memory_has_xclient(const struct relay_memory *m, struct bytes target)
{
    struct buf name;
    bool is_known;

    put_name(m, &name, target);
    is_known = !name.has_failed && hash_table_find(&m->table, buf_bytes(&name)) != NULL;
    buf_done(&name);
    return is_known;
}

/* ---- the file ---- */

/* The path of the directory and a name in it, as a C string of its own. */
static char *join(struct bytes directory, const char *name)
{
    size_t len = strlen(name);
    char *path = mem_zalloc(directory.len + 1 + len + 1);

    if (path == NULL)
        return NULL;
    memcpy(path, directory.at, directory.len);
    if (len != 0) {
        path[directory.len] = '/';
        memcpy(path + directory.len + 1, name, len);
    }
    return path;
}

static int write_image(const struct relay_memory *m)
{
    int fd, error;

    disk_unlink(m->fresh_path); /* left over by a crash, perhaps */
    fd = disk_create(m->fresh_path);
    if (fd < 0)
        return fd;
    error = disk_write_at(fd, 0, bytes_make(m->image, m->image_len));
    if (error == 0)
        error = disk_sync(fd);
    if (disk_close(fd) != 0 && error == 0)
        error = -EIO;
    if (error == 0)
        error = disk_replace(m->fresh_path, m->path);
    return error == 0 ? disk_sync_directory(m->directory) : error;
}

static void run(struct work *w)
{
    struct relay_memory *m = CONTAINER_OF(w, struct relay_memory, work);
    m->error = write_image(m);
}

static size_t image_length(const struct relay_memory *m)
{
    size_t len = 0;
    for (const struct known *k = m->first; k != NULL; k = k->next)
        len += k->entry.key.len + sizeof(LINE_END) - 1;
    return len;
}

static bool make_image(struct relay_memory *m)
{
    uint8_t *at;

    m->image_len = image_length(m);
    m->image = mem_alloc(m->image_len);
    if (m->image == NULL)
        return false;
    at = m->image;
    for (const struct known *k = m->first; k != NULL; k = k->next) {
        memcpy(at, k->entry.key.at, k->entry.key.len);
        at += k->entry.key.len;
        memcpy(at, LINE_END, sizeof(LINE_END) - 1);
        at += sizeof(LINE_END) - 1;
    }
    return true;
}

static void log_failure(struct relay_memory *m, int error)
{
    struct log_line line = log_begin(m->log, m->log_sinks, LOG_LEVEL_ERROR, "targets-not-written");

    log_put_text(&line, "path", m->path);
    log_put_error(&line, "error", error);
    log_end(&line);
}

static void write_file(struct relay_memory *m);

static void done(struct work *w)
{
    struct relay_memory *m = CONTAINER_OF(w, struct relay_memory, work);

    m->is_writing = false;
    mem_free(m->image);
    m->image = NULL;
    if (m->error != 0)
        log_failure(m, m->error);
    if (m->is_dirty)
        write_file(m);
}

static void write_file(struct relay_memory *m)
{
    m->is_dirty = m->is_writing;
    if (m->is_writing)
        return;
    m->is_writing = true;
    if (make_image(m) && work_run(m->loop, &m->work) == 0)
        return;
    mem_free(m->image);
    m->image = NULL;
    m->is_writing = false;
    log_failure(m, ERR_MEMORY);
}

void relay_memory_note_xclient(struct relay_memory *m, struct bytes target)
{
    struct buf name;

    put_name(m, &name, target);
    if (!name.has_failed && hash_table_find(&m->table, buf_bytes(&name)) == NULL &&
        remember(m, buf_bytes(&name)) != NULL)
        write_file(m);
    buf_done(&name);
}

/* Lines that mean nothing to us are passed over. */
static bool take_lines(struct relay_memory *m, struct bytes text)
{
    while (text.len != 0) {
        struct bytes line = bytes_first(text, bytes_find(text, '\n'));
        struct bytes name, rest = line;

        text = bytes_skip(text, line.len == text.len ? line.len : line.len + 1);
        name = text_word(&rest);
        if (name.len == 0 || !bytes_is(text_word(&rest), "xclient") ||
            hash_table_find(&m->table, name) != NULL)
            continue;
        if (remember(m, name) == NULL)
            return false;
    }
    return true;
}

static int read_file(struct relay_memory *m)
{
    uint8_t *octets;
    size_t len;
    int error = disk_read_file(m->path, FILE_MAX_BYTES, &octets, &len);

    if (error == -ENOENT)
        return 0;
    if (error != 0)
        return error;
    if (!take_lines(m, bytes_make(octets, len)))
        error = ERR_MEMORY;
    mem_free(octets);
    return error;
}

/* ---- life ---- */

struct relay_memory *relay_memory_new(struct loop *l, struct log *log, uint32_t log_sinks,
                                      struct bytes directory, int *error_out)
{
    struct relay_memory *m = mem_zalloc(sizeof(*m));
    int error = ERR_MEMORY;

    if (m != NULL) {
        m->loop = l;
        m->log = log;
        m->log_sinks = log_sinks;
        m->work = (struct work){.run = run, .done = done};
        hash_table_init(&m->table, loop_hash_key(l));
        m->directory = join(directory, "");
        m->path = join(directory, "targets");
        m->fresh_path = join(directory, "targets.new");
        if (m->directory != NULL && m->path != NULL && m->fresh_path != NULL)
            error = read_file(m);
    }
    if (error != 0) {
        relay_memory_free(&m);
        *error_out = error;
    }
    return m;
}

void relay_memory_free(struct relay_memory **memory)
{
    struct relay_memory *m = *memory;
    struct known *next;

    if (m == NULL)
        return;
    for (struct known *k = m->first; k != NULL; k = next) {
        next = k->next;
        mem_free(k);
    }
    hash_table_done(&m->table);
    mem_free(m->directory);
    mem_free(m->path);
    mem_free(m->fresh_path);
    mem_free(m);
    *memory = NULL;
}
