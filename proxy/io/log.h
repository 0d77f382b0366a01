/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines: one event a line, key=value or JSON, to stderr, syslog, the journal and files. */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/io/loop.h"

struct log; /* one for each loop: its sinks, and the lines of this turn that are not written yet */

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO };
enum log_kind { LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL, LOG_TO_FILE };

#define LOG_SINKS_MAX 16 /* different ones in a configuration */

struct log_sink {
    enum log_kind kind;
    struct bytes file_pattern; /* LOG_TO_FILE: strftime */
    struct bytes ident;        /* syslog and journal */
    int facility;              /* syslog number */
    const char *socket_path;   /* syslog and journal; NULL: the usual path */
};

/* `sinks` must live as long as the log; at most LOG_SINKS_MAX. `is_json`: core.log-format. NULL:
 * see *error_out. */
struct log *log_new(struct loop *loop, const struct log_sink *sinks, int count, bool is_json,
                    int *error_out);
/* From now on each line says which process speaks. The text is borrowed. */
void log_name(struct log *log, struct bytes process);
void log_reopen(struct log *log); /* USR1 */
void log_flush(struct log *log);  /* writes the lines of this turn now */
/* Legal when no line is being built. Flushes. */
void log_free(struct log **held);

/* From now on no process that shares our standard error waits for who reads it: what a full pipe or
 * a stopped terminal does not take is counted as lost. Does not touch the descriptors of others.
 * Call it before the process forks and changes its account. */
void log_unblock_stderr(void);

/* A line that is being built: begin, add fields in their fixed order, end. `sinks` is a bit mask
 * (bit i: sinks[i]). Values are escaped and quoted where needed, and may hold any octet. Never
 * blocks on syslog or the journal: lines that they do not take are counted and reported later. */
struct log_line {
    struct log *log;
    uint32_t sinks;
    enum log_level level;
    bool is_open; /* false: no sink takes the line, and fields are ignored */
};

/* Legal when no other line of this log is being built. */
struct log_line log_begin(struct log *log, uint32_t sinks, enum log_level level, const char *event);
void log_put(struct log_line *line, const char *key, struct bytes value);
void log_put_text(struct log_line *line, const char *key, const char *value);
void log_put_number(struct log_line *line, const char *key, int64_t value);
void log_put_error(struct log_line *line, const char *key, int error); /* ours or -errno */
/* Items, each ended by a newline. Text joins them by commas, JSON has an array, the journal a field
 * for each. */
void log_put_list(struct log_line *line, const char *key, struct bytes items);
/* The fields between the two are of one thing among several. JSON has an object for each in the
 * array `key`; in text the keys of the second thing end in 2, and so on. Parts follow each other,
 * and log_close_parts() them. */
void log_open_part(struct log_line *line, const char *key);
void log_close_part(struct log_line *line);
void log_close_parts(struct log_line *line);
void log_end(struct log_line *line);

#endif
