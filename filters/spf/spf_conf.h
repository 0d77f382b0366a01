/* SPDX-License-Identifier: BSD-2-Clause */
/* The settings of [spf "N"]. */
#ifndef POSTERN_SPF_CONF_H
#define POSTERN_SPF_CONF_H

#include "filters/filter_conf.h"
#include "filters/spf/spf_wire.h"

/* What a result means for the message, the worst first. */
enum spf_action { SPF_ACTION_REJECT, SPF_ACTION_DEFER, SPF_ACTION_MARK, SPF_ACTION_PASS };

enum spf_checked { SPF_CHECKED_MAIL, SPF_CHECKED_HELO, SPF_CHECKED_BOTH };

enum spf_field { SPF_FIELD_RECEIVED = 1, SPF_FIELD_RESULTS = 2, SPF_FIELD_NONE = 4 };

struct spf_conf {
    struct filter_common common;
    enum spf_action actions[SPF_RESULT_COUNT]; /* a pass is marked */
    enum spf_checked check;
    unsigned header; /* enum spf_field */
    struct bytes authserv_id;
    bool explain;
    uint64_t timeout_ms;
    struct bytes hostname; /* core.hostname */
};

extern const struct setting_section spf_conf_section;
void spf_conf_finish(struct setting_reading *section);

#endif
