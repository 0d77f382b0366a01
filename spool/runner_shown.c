/* SPDX-License-Identifier: BSD-2-Clause */
/* A message of the queue as its recipients get it, for people. */
#include "spool/runner_shown.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/smtp/header.h"
#include "spool/store.h"

static const char empty_line[] = "\r\n";

#define EMPTY_LINE_BYTES (sizeof(empty_line) - 1)

/* Returns how many octets found room behind `len`. */
static size_t add(uint8_t *octets, size_t len, size_t most, struct bytes fields)
{
    struct bytes now = bytes_first(fields, most - len);

    if (now.len != 0)
        memcpy(octets + len, now.at, now.len);
    return now.len;
}

/* As route/outgoing.c does for a target. */
static size_t part(uint8_t *fields_end, size_t content)
{
    if (!header_would_continue(bytes_make(fields_end, content)))
        return 0;
    memmove(fields_end + EMPTY_LINE_BYTES, fields_end, content);
    memcpy(fields_end, empty_line, EMPTY_LINE_BYTES);
    return EMPTY_LINE_BYTES;
}

int runner_shown_read(int fd, const struct spool_message *message, uint64_t most,
                      uint8_t **octets_out, size_t *len_out)
{
    struct spool_shown shown = spool_shown_to_all(message);
    uint64_t all = spool_shown_bytes(&shown);
    size_t len = (size_t)(all < most ? all : most), fields = 0;
    uint8_t *octets = mem_alloc(len + EMPTY_LINE_BYTES);

    if (octets == NULL)
        return ERR_MEMORY;
    fields += add(octets, fields, len, shown.in_front);
    fields += add(octets, fields, len, shown.view.lines);
    int error = store_read_body(fd, &message->head, shown.view.at, octets + fields, len - fields);
    if (error != 0) {
        mem_free(octets);
        return error;
    }
    if (fields != 0)
        len += part(octets + fields, len - fields);
    *octets_out = octets;
    *len_out = len;
    return 0;
}
