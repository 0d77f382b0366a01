/* SPDX-License-Identifier: BSD-2-Clause */
/* A password or a token that stands in a file of its own. */
#include "proxy/io/secret.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/error.h"
#include "proxy/io/regular.h"

#define MAPPED_BYTES ((size_t)SECRET_MAX_BYTES + 4096)

static void report(const struct secret *secret, const char *key, const char *what,
                   struct setting_reading *section)
{
    char before[64], after[200];

    snprintf(before, sizeof(before), "%s ", key);
    snprintf(after, sizeof(after), ": %s", what);
    cf_fault(section->problems, section->place_of(section, key, 0),
             cf_phrase(section->problems, before, secret->path, after));
}

static void warn_of_readers(const struct secret *secret, const char *key,
                            struct setting_reading *section)
{
    char before[64];

    snprintf(before, sizeof(before), "%s ", key);
    cf_warning(section->problems, section->place_of(section, key, 0),
               cf_phrase(section->problems, before, secret->path,
                         " can be read by others than its owner"));
}

static struct bytes line_of(struct bytes text)
{
    if (text.len > 0 && text.at[text.len - 1] == '\n')
        text.len--;
    if (text.len > 0 && text.at[text.len - 1] == '\r')
        text.len--;
    return text;
}

static const char *problem_with(struct bytes line)
{
    if (line.len == 0)
        return "is empty";
    if (line.len > SECRET_MAX_BYTES)
        return "is longer than 8192 octets";
    for (size_t i = 0; i < line.len; i++)
        if (line.at[i] < ' ' || line.at[i] == 127)
            return "is more than one line, or has a control character";
    return NULL;
}

/* NULL: no memory. */
static uint8_t *map_undumped(void)
{
    void *at = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED)
        return NULL;
    if (madvise(at, MAPPED_BYTES, MADV_DONTDUMP) == 0)
        return at;
    munmap(at, MAPPED_BYTES);
    return NULL;
}

int secret_load(struct secret *secret, const char *key, struct setting_reading *section)
{
    struct stat found;
    char why[REGULAR_WHY_MAX];
    int fd;

    if (secret->path.len == 0 || secret->text.len != 0)
        return 0;
    fd = regular_open(secret->path, &found, why);
    if (fd < 0) {
        report(secret, key, why, section);
        return 0;
    }
    if ((found.st_mode & (S_IRGRP | S_IROTH)) != 0)
        warn_of_readers(secret, key, section);
    uint8_t *at = map_undumped();
    ssize_t len = at == NULL ? 0 : read(fd, at, SECRET_MAX_BYTES + 3);
    close(fd);
    if (at == NULL)
        return ERR_MEMORY;
    struct bytes line = line_of(bytes_make(at, len < 0 ? 0 : (size_t)len));
    const char *problem = len < 0 ? "cannot be read" : problem_with(line);
    secret->text = bytes_make(at, problem == NULL ? line.len : 0);
    if (problem != NULL) {
        report(secret, key, problem, section);
        secret_free(secret);
    }
    return 0;
}

void secret_free(struct secret *secret)
{
    if (secret->text.at == NULL)
        return;
    explicit_bzero((void *)(uintptr_t)secret->text.at, MAPPED_BYTES);
    munmap((void *)(uintptr_t)secret->text.at, MAPPED_BYTES);
    secret->text = bytes_make(NULL, 0);
}
