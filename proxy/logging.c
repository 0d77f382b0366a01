/* SPDX-License-Identifier: BSD-2-Clause */
/* The logs that a configuration names. */
#include "proxy/logging.h"

#include "proxy/base/error.h"

static const char *const always[] = {"stderr", "syslog", "journal"};
static const enum log_kind always_kinds[] = {LOG_TO_STDERR, LOG_TO_SYSLOG, LOG_TO_JOURNAL};

static struct log_sink make_sink(const struct config *config, enum log_kind kind)
{
    return (struct log_sink){
        .kind = kind,
        .ident = config->syslog.ident,
        .facility = config_core_facility(config->syslog.facility) >> 3, /* LOG_MAIL is 2 << 3 */
    };
}

int logging_sinks(const struct config *config, struct log_sink sinks_out[LOG_SINKS_MAX])
{
    int count = 0;

    if (config->logfile_count > LOG_SINKS_MAX - ARRAY_LENGTH(always))
        return ERR_RANGE;
    for (size_t i = 0; i < ARRAY_LENGTH(always); i++)
        sinks_out[count++] = make_sink(config, always_kinds[i]);
    for (size_t i = 0; i < config->logfile_count; i++) {
        sinks_out[count] = make_sink(config, LOG_TO_FILE);
        sinks_out[count++].file_pattern = config->logfiles[i]->file;
    }
    return count;
}

static uint32_t bit_of(const struct config *config, struct bytes logger)
{
    for (size_t i = 0; i < ARRAY_LENGTH(always); i++)
        if (bytes_is(logger, always[i]))
            return 1U << i;
    for (size_t i = 0; i < config->logfile_count; i++)
        if (bytes_equal(logger, config->logfiles[i]->section))
            return 1U << (i + ARRAY_LENGTH(always));
    return 0;
}

uint32_t logging_mask(const struct config *config, struct bytes logger)
{
    uint32_t mask = 0;

    if (logger.len != 0)
        return bit_of(config, logger);
    for (size_t i = 0; i < config->core.loggers.count; i++)
        mask |= bit_of(config, config->core.loggers.at[i]);
    return mask;
}
