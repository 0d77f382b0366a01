/* SPDX-License-Identifier: BSD-2-Clause */
/* The master's own log lines. */
#include <unistd.h>

#include "proxy/logging.h"
#include "proxy/master_private.h"
#include "proxy/privileged.h"

static void write_line(const struct config *config, enum log_level level, const char *event,
                       const struct master_field *fields, size_t count)
{
    struct log_sink sinks[LOG_SINKS_MAX];
    int sink_count = logging_sinks(config, sinks);
    struct loop *l = loop_new();
    struct log *log = NULL;
    int error;

    if (l != NULL && sink_count >= 0)
        log = log_new(l, sinks, sink_count, config->core.log_format == CORE_LOG_JSON, &error);
    if (log == NULL)
        return;
    log_name(log, bytes_of("master"));
    struct log_line line = log_begin(log, logging_mask(config, bytes_make(NULL, 0)), level, event);
    for (size_t i = 0; i < count; i++) {
        if (fields[i].text.at != NULL)
            log_put(&line, fields[i].key, fields[i].text);
        else
            log_put_number(&line, fields[i].key, fields[i].number);
    }
    log_end(&line);
    log_free(&log);
}

void master_log(struct master *m, enum log_level level, const char *event,
                const struct master_field *fields, size_t count)
{
    const struct config *config;

    if (m->serving == NULL) /* stderr has been told */
        return;
    config = m->serving->config;
    if (fork() != 0)
        return;
    /* This process must not keep sockets open that the master has closed. */
    LIST_EACH (link, &m->generations)
        master_generation_close_sockets(LIST_ENTRY(link, struct master_generation, link));
    if (privileged_drop(config) == 0)
        write_line(config, level, event, fields, count);
    _exit(0);
}
