/* SPDX-License-Identifier: BSD-2-Clause */
/* Sinks and the text of lines: the parts of log.c. Private to proxy/io/log*.c. */
#ifndef POSTERN_LOG_OUT_H
#define POSTERN_LOG_OUT_H

#include "proxy/io/log.h"

#define LOG_LINE_MAX   16384 /* longer ones are cut */
#define LOG_FIELDS_MAX 32768 /* the same for the journal; fields that do not fit are left out */

/* Text that is appended to within bounds. */
struct log_text {
    uint8_t *at;
    size_t len, max;
    bool is_full; /* something did not fit */
};

void log_text_put(struct log_text *text, struct bytes octets);
void log_text_octet(struct log_text *text, uint8_t octet);
/* In the header, so that compilers know how long a constant is. */
static inline void log_text_cstring(struct log_text *text, const char *octets)
{
    log_text_put(text, bytes_of(octets));
}
void log_text_number(struct log_text *text, int64_t number);
void log_text_value(struct log_text *text, struct bytes value);       /* quoted where needed */
void log_text_json_string(struct log_text *text, struct bytes value); /* with its quotes */
/* Items that each end in a newline. */
void log_text_list(struct log_text *text, struct bytes items);
void log_text_json_list(struct log_text *text, struct bytes items);
void log_text_journal_field(struct log_text *text, const char *key, struct bytes value);
/* "2026-11-22T03:47:44", 19 octets. */
void log_text_time(struct log_text *text, int64_t wall_s);

/* One sink and this turn's lines for it: text, or datagrams with their length in front. */
struct log_out {
    const struct log_sink *sink;
    struct pool *pool; /* of the block */
    uint8_t *block;    /* NULL while empty */
    size_t used;
    uint64_t pending; /* lines in the block */
    uint64_t lost;    /* lines; not reported yet */
    int fd;           /* -1: none */
    bool is_stream;   /* standard error is a socket */
    char *path;       /* files: the open one's */
    int64_t minute;   /* files: when the pattern was last evaluated */
    int64_t tried_s;  /* sockets: when connecting was last tried */
};

int log_out_open(struct log_out *out, const struct log_sink *sink, struct pool *pool,
                 int64_t wall_s);
void log_out_close(struct log_out *out);
void log_out_reopen(struct log_out *out, int64_t wall_s);
/* Adds a whole line with its newline, or a whole datagram, in two parts. */
void log_out_add(struct log_out *out, struct bytes head, struct bytes body, int64_t wall_s);
/* True: something was written, and nothing was lost or is left. */
bool log_out_flush(struct log_out *out, int64_t wall_s);

/* log_socket.c */
void log_socket_connect(struct log_out *out, int64_t wall_s);
void log_socket_flush(struct log_out *out, int64_t wall_s);

#endif
