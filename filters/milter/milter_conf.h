/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [milter "N"]. */
#ifndef POSTERN_MILTER_CONF_H
#define POSTERN_MILTER_CONF_H

#include "filters/filter_conf.h"
#include "filters/milter/milter_talk.h"
#include "proxy/base/endpoint.h"

/* What an unreachable or confused milter means. */
enum milter_default {
    MILTER_DEFAULT_ACCEPT,
    MILTER_DEFAULT_TEMPFAIL,
    MILTER_DEFAULT_REJECT,
    MILTER_DEFAULT_QUARANTINE
};

struct milter_times {
    uint64_t connect_ms, command_ms, content_ms;
};

struct milter_list { /* macros of one stage */
    unsigned stage;
    struct bytes names; /* between spaces */
};

struct milter_lists {
    struct milter_list *at;
    size_t count;
};

struct milter_conf {
    struct filter_common common;
    struct endpoints addresses;
    struct milter_times times;
    enum milter_default default_action;
    unsigned action_words; /* one bit a word */
    uint32_t protocol;
    struct milter_lists lists;
    struct filter_exempts skips;
    /* what follows from that */
    struct milter_choice choice;
    uint32_t edits; /* FILTER_EDIT() bits */
};

extern const struct setting_section milter_conf_section;
void milter_conf_finish(struct setting_reading *section);

/* The edits that these actions (bits of SMFIF_*) are for: FILTER_EDIT() bits. */
uint32_t milter_conf_edits_of(uint32_t actions);
/* A line for each: "add-header", "change-body"; or "none". */
void milter_conf_put_edits(struct buf *out, uint32_t edits);

#endif
