/* SPDX-License-Identifier: BSD-2-Clause */
/* Log lines about a milter. */
#include "filters/milter/milter_log.h"

#include "proxy/base/mem.h"

#define TEXT_MAX 1024

bool milter_log_init(struct milter_log *log, struct filter_services *services,
                     const struct milter_conf *conf)
{
    *log = (struct milter_log){.services = services, .conf = conf};
    log->is_down = mem_zalloc(conf->addresses.count * sizeof(*log->is_down));
    return log->is_down != NULL;
}

void milter_log_done(struct milter_log *log)
{
    mem_free(log->is_down);
}

/* ---- fields ---- */

static struct log_line begin(const struct milter_log *log, enum log_level level)
{
    struct log_line line = log_begin(log->services->log, log->services->log_sinks, level, "milter");

    log_put(&line, "filter", log->conf->common.section);
    return line;
}

static void put_address(const struct milter_log *log, struct log_line *line,
                        const struct milter_link *link)
{
    struct buf text;

    buf_init(&text, &loop_pools(log->services->loop)->small, TEXT_MAX);
    milter_link_put_address(&link->to, &text);
    log_put(line, "address", buf_bytes(&text));
    buf_done(&text);
}

static void put_edits(const struct milter_log *log, struct log_line *line, const char *key,
                      uint32_t edits)
{
    struct buf text;

    buf_init(&text, &loop_pools(log->services->loop)->small, TEXT_MAX);
    milter_conf_put_edits(&text, edits);
    log_put_list(line, key, buf_bytes(&text));
    buf_done(&text);
}

static const struct {
    uint32_t bit;
    const char *word;
} step_words[] = {
    {SMFIP_NOCONNECT, "no-connect"},
    {SMFIP_NOHELO, "no-helo"},
    {SMFIP_NOMAIL, "no-mail"},
    {SMFIP_NORCPT, "no-rcpt"},
    {SMFIP_NODATA, "no-data"},
    {SMFIP_NOHDRS, "no-header"},
    {SMFIP_NOEOH, "no-eoh"},
    {SMFIP_NOBODY, "no-body"},
    {SMFIP_NOUNKNOWN, "no-unknown"},
    {SMFIP_NR_CONN, "quiet-connect"},
    {SMFIP_NR_HELO, "quiet-helo"},
    {SMFIP_NR_MAIL, "quiet-mail"},
    {SMFIP_NR_RCPT, "quiet-rcpt"},
    {SMFIP_NR_DATA, "quiet-data"},
    {SMFIP_NR_HDR, "quiet-header"},
    {SMFIP_NR_EOH, "quiet-eoh"},
    {SMFIP_NR_BODY, "quiet-body"},
    {SMFIP_NR_UNKN, "quiet-unknown"},
    {SMFIP_SKIP, "skip"},
    {SMFIP_RCPT_REJ, "refused-rcpt"},
    {SMFIP_HDR_LEADSPC, "leading-space"},
};

static void put_steps(const struct milter_log *log, struct log_line *line, uint32_t steps)
{
    struct buf text;

    buf_init(&text, &loop_pools(log->services->loop)->small, TEXT_MAX);
    for (size_t i = 0; i < ARRAY_LENGTH(step_words); i++) {
        if ((steps & step_words[i].bit) != 0)
            buf_cat(&text, step_words[i].word, "\n", NULL);
    }
    if (buf_length(&text) == 0)
        buf_text(&text, "all\n");
    log_put_list(line, "steps", buf_bytes(&text));
    buf_done(&text);
}

/* What a message waits for while this milter has not judged it. */
static const char *held_by(uint32_t edits)
{
    bool holds_envelope = (edits & FILTER_EDITS_ENVELOPE) != 0;

    if ((edits & FILTER_EDITS_CONTENT) != 0)
        return holds_envelope ? "envelope\ncontent\n" : "content\n";
    return holds_envelope ? "envelope\n" : "no\n";
}

/* ---- lines ---- */

static bool is_news(const struct milter_log *log, const struct milter_terms *terms, size_t address)
{
    return log->terms.version != terms->version || log->terms.actions != terms->actions ||
           log->terms.steps != terms->steps || log->address != address || log->is_down[address];
}

void milter_log_agreed(struct milter_log *log, const struct milter_link *link, uint32_t beyond)
{
    const struct milter_terms *terms = &link->talk.terms;
    size_t address = link->dial.next - 1;
    uint32_t edits = log->conf->edits & milter_conf_edits_of(terms->actions);

    if (!is_news(log, terms, address))
        return;
    log->terms = *terms;
    log->address = address;
    log->is_down[address] = false;
    struct log_line line = begin(log, beyond == 0 ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING);
    put_address(log, &line, link);
    log_put_number(&line, "version", terms->version);
    put_edits(log, &line, "actions", edits);
    put_steps(log, &line, terms->steps);
    log_put_list(&line, "holds", bytes_of(held_by(edits)));
    if (beyond != 0)
        log_put_number(&line, "not-offered", beyond);
    log_end(&line);
}

void milter_log_unreached(struct milter_log *log, const struct milter_link *link, int error)
{
    size_t address = link->dial.next - 1;

    if (log->is_down[address])
        return;
    log->is_down[address] = true;
    struct log_line line = begin(log, LOG_LEVEL_WARNING);
    put_address(log, &line, link);
    log_put_error(&line, "error", error);
    log_end(&line);
}

void milter_log_ignored(struct milter_log *log, enum filter_edit_kind kind)
{
    if ((log->ignored & FILTER_EDIT(kind)) != 0)
        return;
    log->ignored |= FILTER_EDIT(kind);
    struct log_line line = begin(log, LOG_LEVEL_WARNING);
    put_edits(log, &line, "ignored", FILTER_EDIT(kind));
    log_end(&line);
}
