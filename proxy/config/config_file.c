/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads the configuration file and the files that routing tables include. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/config/config_private.h"
#include "proxy/io/regular.h"

#define CHUNK_BYTES   (64 * 1024)
#define FILE_MAX      ((size_t)1 << 30)
#define INCLUDE_DEPTH 32

static void report(struct config *config, struct cf_place place, const char *path, const char *what)
{
    char after[160];
    snprintf(after, sizeof after, " %s", what);
    cf_fault(&config->problems, place,
             cf_phrase(&config->problems, "file ", bytes_of(path), after));
}

static void report_unreadable(struct config *config, struct cf_place place, const char *path,
                              int error)
{
    char what[128];
    snprintf(what, sizeof what, "cannot be read: %s", strerror(-error));
    report(config, place, path, what);
}

/* ---- one file's text ---- */

/* Returns how many octets are in `*block_out`, which the caller frees, or a negative error. */
static ssize_t read_all(int fd, uint8_t **block_out)
{
    uint8_t *block = NULL;
    size_t len = 0, capacity = 0;
    for (;;) {
        if (len == capacity) {
            capacity = capacity == 0 ? CHUNK_BYTES : 2 * capacity;
            uint8_t *grown = capacity > FILE_MAX ? NULL : mem_grow(block, capacity);
            if (grown == NULL) {
                mem_free(block);
                return capacity > FILE_MAX ? -EFBIG : ERR_MEMORY;
            }
            block = grown;
        }
        ssize_t n = read(fd, block + len, capacity - len);
        if (n < 0 && errno != EINTR) {
            int error = -errno;
            mem_free(block);
            return error;
        }
        if (n == 0)
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    *block_out = block;
    return (ssize_t)len;
}

/* Reads the text of `fd` into the arena and closes it, and its inode into `file`. 0, ERR_MEMORY or
 * -errno. */
static int load(struct config *config, struct config_file *file, int fd, struct bytes *text_out)
{
    struct stat status;
    uint8_t *block = NULL;
    ssize_t n = fstat(fd, &status) != 0 ? -errno : read_all(fd, &block);
    close(fd);
    if (n < 0)
        return (int)n;
    file->device = status.st_dev;
    file->inode = status.st_ino;
    int error = arena_copy(&config->arena, bytes_make(block, (size_t)n), text_out);
    mem_free(block);
    return error;
}

/* ---- items ---- */

static void report_unknown_kind(struct config *config, const struct cf_item *item)
{
    struct cf_nearest nearest;
    char expected[160] = "a section:";
    const struct setting_section *kind;
    cf_nearest_init(&nearest, item->words[0].text);
    for (size_t i = 0; (kind = config_builder_each_kind(i)) != NULL; i++) {
        bool is_last = config_builder_each_kind(i + 1) == NULL;
        size_t len = strlen(expected);
        cf_nearest_offer(&nearest, bytes_of(kind->kind));
        snprintf(expected + len, sizeof expected - len, "%s%s%s", is_last ? " or " : " ",
                 kind->kind, is_last || config_builder_each_kind(i + 2) == NULL ? "" : ",");
    }
    cf_error(&config->problems, item->place, item->words[0].text, bytes_of(expected),
             cf_nearest_name(&nearest));
}

/* NULL in `section_out`: the section was refused, and what follows in it is skipped. */
static int enter(struct config *config, const struct cf_item *item,
                 struct config_section **section_out)
{
    char expected[64];
    struct bytes name = bytes_make(NULL, 0);
    struct cf_place place = item->place;
    *section_out = NULL;
    if (item->word_count == 0)
        return 0;
    const struct setting_section *kind = config_builder_kind(item->words[0].text);
    if (kind == NULL) {
        report_unknown_kind(config, item);
        return 0;
    }
    if (item->word_count == 2) {
        name = item->words[1].text;
        place.column = item->words[1].column;
    }
    if (kind->is_named ? item->word_count == 1 && kind != &route_source_section
                       : item->word_count == 2) {
        snprintf(expected, sizeof expected,
                 kind->is_named ? "[%s \"NAME\"]" : "[%s], without a name", kind->kind);
        cf_error(&config->problems, place, item->word_count == 2 ? name : item->words[0].text,
                 bytes_of(expected), bytes_make(NULL, 0));
        return 0;
    }
    return config_builder_section(config, kind, name, place, section_out);
}

static int read_items(struct config *config, struct bytes text, const struct config_file *file,
                      struct config_section *section)
{
    struct cf_reader reader;
    struct cf_item item;
    int error = 0;
    cf_reader_init(&reader, text, file->path, &config->arena, &config->problems);
    while (error == 0) {
        bool is_route = section != NULL && section->kind == &route_source_section;
        error = cf_next(&reader, is_route, &item);
        if (error != 0 || item.kind == CF_END)
            break;
        config->is_empty = false;
        if (item.kind == CF_ASSIGNMENT && section != NULL)
            error = config_file_assign(config, section, &item, file);
        if (item.kind == CF_SECTION && file->parent == NULL)
            error = enter(config, &item, &section);
        if (item.kind == CF_SECTION && file->parent != NULL && item.word_count > 0) {
            cf_error(&config->problems, item.place, item.words[0].text,
                     bytes_of("routes only, in a file that a table includes"), bytes_make(NULL, 0));
            section = NULL;
        }
    }
    cf_reader_done(&reader);
    return error;
}

/* ---- files ---- */

static const struct setting_section *const route_kind = &route_source_section;

int config_file_read(struct config *config, const char *path)
{
    struct config_file file = {.path = path};
    struct bytes text;
    int fd = open(path, O_RDONLY | O_CLOEXEC); /* perhaps a FIFO: a shell's <() */
    int error = fd < 0 ? -errno : load(config, &file, fd, &text);
    if (error == ERR_MEMORY)
        return error;
    if (error != 0) {
        report_unreadable(config, (struct cf_place){.file = path}, path, error);
        return 0;
    }
    config->has_file = config->is_empty = true;
    return read_items(config, text, &file,
                      config_builder_find(config, route_kind, bytes_make(NULL, 0)));
}

/* A relative path begins in the folder of the including file. */
static char *path_beside(struct config *config, struct bytes path, const struct config_file *parent)
{
    const char *slash = parent == NULL || parent->is_flag ? NULL : strrchr(parent->path, '/');
    size_t folder = slash == NULL || path.at[0] == '/' ? 0 : (size_t)(slash - parent->path) + 1;
    char *whole = arena_alloc(&config->arena, folder + path.len + 1);
    if (whole == NULL)
        return NULL;
    if (folder > 0)
        memcpy(whole, parent->path, folder);
    memcpy(whole + folder, path.at, path.len);
    return whole;
}

static bool is_loop(const struct config_file *file)
{
    unsigned depth = 0;
    for (const struct config_file *up = file->parent; up != NULL; up = up->parent)
        if (++depth > INCLUDE_DEPTH || (up->device == file->device && up->inode == file->inode))
            return true;
    return false;
}

static int include(struct config *config, struct config_section *section,
                   const struct cf_item *item, const struct config_file *parent)
{
    const struct cf_word *path = &item->words[1];
    struct cf_place place = item->place;
    struct config_file file = {.parent = parent, .is_flag = parent->is_flag};
    char why[REGULAR_WHY_MAX];
    struct stat found;
    struct bytes text;
    if (item->word_count != 2) {
        place.column = item->words[2].column;
        cf_error(&config->problems, place, item->words[2].text, bytes_of("one path"),
                 bytes_make(NULL, 0));
        return 0;
    }
    place.column = path->column;
    if (path->text.len == 0 || memchr(path->text.at, 0, path->text.len) != NULL) {
        cf_error(&config->problems, place, path->text, bytes_of("a path"), bytes_make(NULL, 0));
        return 0;
    }
    file.path = path_beside(config, path->text, parent);
    if (file.path == NULL)
        return ERR_MEMORY;
    int fd = regular_open(bytes_of(file.path), &found, why);
    if (fd < 0) {
        report(config, place, file.path, why);
        return 0;
    }
    int error = load(config, &file, fd, &text);
    if (error == ERR_MEMORY)
        return error;
    if (error != 0) {
        report_unreadable(config, place, file.path, error);
        return 0;
    }
    if (is_loop(&file)) {
        report(config, place, file.path, "is a loop: it includes itself");
        return 0;
    }
    return read_items(config, text, &file, section);
}

int config_file_assign(struct config *config, struct config_section *section,
                       const struct cf_item *item, const struct config_file *file)
{
    const struct cf_word *key = &item->words[0];
    if (section->kind == &route_source_section && !key->is_quoted && bytes_is(key->text, "file"))
        return include(config, section, item, file);
    return config_assign(config, section, item, file);
}
