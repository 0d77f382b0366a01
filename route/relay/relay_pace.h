/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a transaction moves while it holds a connection, and which one gives its connection up
 * for those who wait. Pure.
 *
 * A transaction moves when its client does: what the client has brought counts, be the target quick
 * or slow to take it, and while the target owes a reply to RCPT the client's time does not run. */
#ifndef POSTERN_RELAY_PACE_H
#define POSTERN_RELAY_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define RELAY_PACE_WINDOW_MS 10000
#define RELAY_PACE_BYTES     65536 /* of content in that time: less is slow */
#define RELAY_PACE_RECIPIENT 4096  /* a recipient counts as so many octets */
#define RELAY_PACE_OVER_MS   1000  /* see RELAY_PACE_OVER */
#define RELAY_PACE_LONG_MS   60000 /* see RELAY_PACE_REFUSED_LONG */

/* Of one transaction on one connection. */
struct relay_pace {
    uint64_t begun_ms;
    uint64_t since_ms;   /* when the window began */
    uint64_t asked_ms;   /* since when the target owes a reply to RCPT */
    uint64_t mark;       /* octets of content that the target had when the window began */
    unsigned recipients; /* that were named in it */
};

void relay_pace_begin(struct relay_pace *p, uint64_t now_ms);
void relay_pace_asked(struct relay_pace *p, uint64_t now_ms);
void relay_pace_answered(struct relay_pace *p, uint64_t now_ms);
/* Less than RELAY_PACE_BYTES in a window that is over. `brought`: all content so far, of which the
 * target has `taken`. Where it is not slow a window that is over is followed by the next one. */
bool relay_pace_is_slow(struct relay_pace *p, uint64_t now_ms, uint64_t brought, uint64_t taken);

/* Who gives a connection up, the first of these first; within one of them who has brought least. */
enum relay_pace_turn {
    RELAY_PACE_SLOW,         /* it is replayed when its message is whole */
    RELAY_PACE_OVER,         /* likewise: its net holds more than its share, and it was not through
                                within RELAY_PACE_OVER_MS */
    RELAY_PACE_REFUSED_SLOW, /* part of its copy was freed, so its message is refused */
    RELAY_PACE_REFUSED_LONG, /* likewise, for it has held a connection beyond its net's share for
                                RELAY_PACE_LONG_MS: an ordinary message is through by then */
    RELAY_PACE_KEEPS
};

struct relay_pace_facts {
    bool is_slow;
    bool may_replay; /* all of its copy can be read */
    bool is_over;    /* its net holds more than its share */
    bool is_claimed; /* who waits is of a net that holds less than its share */
    uint64_t held_ms;
};

enum relay_pace_turn relay_pace_turn(const struct relay_pace_facts *f);

#endif
