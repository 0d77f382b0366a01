/* SPDX-License-Identifier: BSD-2-Clause */
/* What a milter answers: each packet read, with every octet of it checked. Pure. */
#ifndef POSTERN_MILTER_ANSWER_H
#define POSTERN_MILTER_ANSWER_H

#include "filters/filter.h"
#include "filters/milter/milter_wire.h"
#include "proxy/smtp/reply.h"

enum milter_answer_kind {
    MILTER_CONTINUE,
    MILTER_ACCEPT,
    MILTER_REPLY, /* reject, tempfail, shutdown, connection failure, or words of its own: `reply` */
    MILTER_DISCARD,
    MILTER_SKIP,
    MILTER_PROGRESS,
    MILTER_EDIT /* `edit`, `action` */
};

struct milter_answer {
    enum milter_answer_kind kind;
    struct reply reply;
    struct filter_edit edit;
    uint32_t action; /* the bit of SMFIF_* that the edit needs */
};

/* Where texts of an answer lie that are not as the milter wrote them. */
struct milter_texts {
    struct arena arena;
    struct buf text;
    struct reply_parser reply;
};

void milter_texts_init(struct milter_texts *texts, struct pool *small, struct pool *medium);
void milter_texts_done(struct milter_texts *texts);

/* NULL, or what is wrong with the packet. What *answer_out points to is borrowed from the packet,
 * or until the next call. `keeps_space`: the milter writes the blank behind the colon of a field.
 */
const char *milter_answer_read(struct milter_texts *texts, const struct milter_packet *packet,
                               bool keeps_space, struct milter_answer *answer_out);

/* What a milter said to the options that it was offered. */
#define MILTER_STAGES   (SMFIM_LAST + 1)
#define MILTER_LIST_MAX 2048 /* octets: names of macros for one stage */

struct milter_terms {
    uint32_t version, actions, steps;
    struct bytes lists[MILTER_STAGES]; /* names of macros for a stage, by SMFIM_*; `at` NULL: our
                                          own choice */
};

/* All actions that there are in that version: bits of SMFIF_*. */
uint32_t milter_actions_of(uint32_t version);
/* As above. `offer`: version, actions and steps; *terms_out has only what was offered, and borrows
 * from the packet. *beyond_out: steps that were not. */
const char *milter_terms_read(const struct milter_packet *packet, const struct milter_terms *offer,
                              struct milter_terms *terms_out, uint32_t *beyond_out);

#endif
