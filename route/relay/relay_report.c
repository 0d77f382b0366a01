/* SPDX-License-Identifier: BSD-2-Clause */
/* What a branch tells its carrier while it goes on. */
#include "route/relay/relay_report.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proxy/base/error.h"
#include "route/carrier.h"
#include "route/relay/relay_branch_private.h"
#include "route/relay/relay_outage.h"
#include "route/relay/relay_private.h"
#include "route/relay/relay_recipient.h"

void relay_report_note_error(struct relay_branch *w, int error)
{
    const char *own = error_text(error);
    char buffer[128];

    if (error > 0)
        snprintf(buffer, sizeof(buffer), "greeted with %d", error);
    else if (own == NULL && error != 0)
        own = strerror_r(-error, buffer, sizeof(buffer));
    if (error != 0)
        (void)arena_copy(w->branch->transaction->mail, bytes_of(own != NULL ? own : buffer),
                         &w->branch->facts.error);
}

bool relay_report(struct relay_branch *w, struct event *ev)
{
    bool *outer = w->dropped_out;
    bool is_dropped = false;

    ev->branch = w->branch;
    w->dropped_out = &is_dropped;
    carrier_report(w->asker.carrier, ev);
    if (is_dropped) {
        if (outer != NULL)
            *outer = true;
        return false;
    }
    w->dropped_out = outer;
    return true;
}

bool relay_report_answer(struct relay_branch *w, struct event *ev)
{
    struct recipient *rcpt = ev->rcpt;
    uint64_t now_ms = loop_now_ms(w->asker.carrier->loop);

    assert(w->unanswered != 0 && rcpt->envelope == FATE_OPEN);
    ev->kind = EV_ANSWER;
    if (--w->unanswered == 0)
        relay_pace_answered(&w->pace, now_ms);
    if (rcpt == w->mark) {
        w->mark = w->last;
        relay_branch_owe_answer(w);
    }
    return relay_report(w, ev);
}

bool relay_report_stead(struct relay_branch *w)
{
    if (!relay_outage_answers(w))
        return true;
    RELAY_EACH_RECIPIENT (rcpt, w) {
        if (rcpt->envelope != FATE_OPEN)
            continue;
        struct event ev = relay_outage_answer(w, rcpt);
        if (!relay_report_answer(w, &ev))
            return false;
    }
    return true;
}
