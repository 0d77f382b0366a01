/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of Maildirs and of the files in them. */
#include "route/maildir_path_private.h"

#include <limits.h>

#include "proxy/base/buf.h"
#include "proxy/base/mem.h"

static struct bytes variable_of(const struct maildir_conf *conf, struct bytes path,
                                const struct address *to, size_t *used_out)
{
    static const char local[] = "${RCPT_LOCAL}", domain[] = "${RCPT_DOMAIN}";

    if (path.len >= sizeof(local) - 1 && memcmp(path.at, local, sizeof(local) - 1) == 0) {
        *used_out = sizeof(local) - 1;
        return to->local;
    }
    if (path.len >= sizeof(domain) - 1 && memcmp(path.at, domain, sizeof(domain) - 1) == 0) {
        *used_out = sizeof(domain) - 1;
        return to->domain.len != 0 ? to->domain : conf->hostname;
    }
    *used_out = 0;
    return bytes_make(NULL, 0);
}

/* False for a value that is empty, or could lead elsewhere in the file system. */
static bool is_safe(struct bytes value)
{
    for (size_t i = 0; i < value.len; i++)
        if (value.at[i] == '/' || value.at[i] < 0x20 || value.at[i] == 0x7f)
            return false;
    return value.len > 0 && value.len <= NAME_MAX && value.at[0] != '.';
}

bool maildir_path_takes(const struct maildir_conf *conf, const struct address *to)
{
    for (struct bytes path = conf->path; path.len != 0; path = bytes_skip(path, 1)) {
        size_t used;
        struct bytes value = variable_of(conf, path, to, &used);
        if (used != 0 && !is_safe(value))
            return false;
    }
    return true;
}

static void put_value(struct buf *out, struct bytes value, bool keeps_case)
{
    for (size_t i = 0; i < value.len; i++)
        buf_byte(out, keeps_case ? value.at[i] : byte_lower(value.at[i]));
}

static char *finish_text(struct buf *text)
{
    char *copy = NULL;

    buf_byte(text, '\0');
    if (!text->has_failed)
        copy = mem_alloc(buf_length(text));
    if (copy != NULL)
        memcpy(copy, buf_bytes(text).at, buf_length(text));
    buf_done(text);
    return copy;
}

static void begin_text(struct loop *loop, struct buf *text)
{
    buf_init(text, &loop_pools(loop)->medium, MAILDIR_PATH_MAX);
}

char *maildir_path_directory(struct loop *loop, const struct maildir_conf *conf,
                             const struct address *to)
{
    struct buf text;
    struct bytes path = conf->path;

    begin_text(loop, &text);
    while (path.len != 0) {
        size_t used;
        struct bytes value = variable_of(conf, path, to, &used);
        if (used == 0) {
            buf_byte(&text, path.at[0]);
            used = 1;
        } else {
            put_value(&text, value, to->keeps_case);
        }
        path = bytes_skip(path, used);
    }
    return finish_text(&text);
}

/* Made of time, chance and host. */
char *maildir_path_new_name(struct loop *loop, struct bytes hostname)
{
    static const char digits[] = "0123456789abcdef";
    struct buf text;
    uint64_t wall_ms = (uint64_t)loop_wall_ms(loop), chance = loop_random(loop);

    begin_text(loop, &text);
    buf_decimal(&text, wall_ms / 1000);
    buf_text(&text, ".M");
    buf_decimal(&text, wall_ms % 1000 * 1000);
    buf_text(&text, "R");
    for (int i = 0; i < 16; i++, chance >>= 4)
        buf_byte(&text, (uint8_t)digits[chance & 15]);
    buf_text(&text, ".");
    for (size_t i = 0; i < hostname.len; i++) {
        uint8_t c = hostname.at[i];
        buf_byte(&text, c == '/' || c == ':' ? '_' : c);
    }
    return finish_text(&text);
}

const char *maildir_path_join(char path[MAILDIR_PATH_ROOM], const char *directory,
                              const char *folder, const char *name)
{
    size_t directory_len = strlen(directory), folder_len = strlen(folder);

    assert(directory_len + folder_len + strlen(name) < MAILDIR_PATH_ROOM);
    memcpy(path, directory, directory_len);
    memcpy(path + directory_len, folder, folder_len);
    memcpy(path + directory_len + folder_len, name, strlen(name) + 1);
    return path;
}
