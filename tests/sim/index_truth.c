/* SPDX-License-Identifier: BSD-2-Clause */
/* Do the indexes of the queue know all that stands in the files of the messages? They may know of
 * what a power cut took out of a file, and of files that have gone. */
#include <stdio.h>
#include <stdlib.h>

#include "spool/spool_format.h"
#include "spool/spool_index.h"
#include "tests/sim/index_truth.h"
#include "tests/sim/stage.h"

#define QUEUE STAGE_SPOOL "/queue"

static bool read_file(struct sim *w, const char *path, struct arena *arena,
                      struct spool_message *message_out)
{
    struct spool_head head;
    struct bytes file;

    if (!sim_file(w, path, &file) ||
        spool_head_parse(bytes_first(file, SPOOL_HEAD_BYTES), &head) != 0 ||
        spool_records_at(&head) > file.len)
        return false;
    return spool_message_parse(&head, bytes_skip(file, (size_t)spool_records_at(&head)), arena,
                               message_out) == 0 &&
           !message_out->has_torn_end;
}

static bool read_row(struct sim *w, const char *path, struct arena *arena,
                     struct spool_message *message_out)
{
    size_t directory_len = (size_t)(strrchr(path, '/') - path);
    char index_path[128];
    struct spool_index index = {.octets = NULL};
    struct bytes file;
    struct id id = {.text = ""};

    snprintf(index_path, sizeof(index_path), "%.*s/index", (int)directory_len, path);
    if (!sim_file(w, index_path, &file))
        return false;
    snprintf(id.text, sizeof(id.text), "%s", path + directory_len + 1);
    index.octets = arena_alloc(arena, file.len);
    index.len = file.len;
    if (index.octets == NULL)
        return false;
    memcpy(index.octets, file.at, file.len);
    return spool_index_check(&index) == 0 && spool_index_find(&index, &id, arena, message_out) == 0;
}

static bool is_newer(const struct spool_recipient *file, const struct spool_recipient *row)
{
    return file->tries > row->tries || (file->is_reported && !row->is_reported) ||
           (file->is_warned && !row->is_warned) || !bytes_equal(file->target, row->target);
}

static bool is_true(struct sim *w, const char *path)
{
    struct spool_message file, row;
    struct pool pool;
    struct arena arena;
    bool is_true = true;

    pool_init(&pool, 4096, 4);
    arena_init(&arena, &pool, SIZE_MAX);
    if (read_row(w, path, &arena, &row) && read_file(w, path, &arena, &file)) {
        is_true = file.recipient_count == row.recipient_count && file.is_held == row.is_held;
        for (uint32_t i = 0; is_true && i < file.recipient_count; i++)
            is_true = !is_newer(&file.recipients[i], &row.recipients[i]);
    }
    arena_reset(&arena);
    pool_done(&pool);
    return is_true;
}

const char *index_lie(struct sim *w)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, QUEUE, i)) != NULL; i++)
        if (strlen(strrchr(path, '/') + 1) == ID_LENGTH && !is_true(w, path))
            return path;
    return NULL;
}
