/* SPDX-License-Identifier: BSD-2-Clause */
/* One evaluation of a policy (RFC 7208 4 to 6) over a table of answers. Pure.
 *
 * libspf2 decides in which order terms are asked and what follows from them; it never sees a
 * record, a name or an address of the outside world. Each record that it asks for is checked and
 * handed over as a skeleton of numbered steps:
 *
 *   v=spf1 ip4:192.0.2.0/24 a:%{h} include:b.test -all     as the domain wrote it
 *   v=spf1 +exists:1.t +include:2.t -exists:3.t            as libspf2 sees it
 *
 * and each step that it asks about is answered here. Terms and void look-ups are counted for the
 * whole evaluation, across all records. */
#ifndef POSTERN_SPF_EVALUATION_H
#define POSTERN_SPF_EVALUATION_H

#include "filters/spf/spf_record.h"
#include "filters/spf/spf_wire.h"

#define SPF_ASKING_TERMS_MAX 10 /* RFC 7208 4.6.4 */
#define SPF_VOIDS_MAX        2
#define SPF_HOSTS_MAX        10                         /* of one MX or PTR answer */
#define SPF_PLACES_MAX       (1 + SPF_ASKING_TERMS_MAX) /* each but the first costs a term */
#define SPF_STEPS_MAX        (1 + SPF_PLACES_MAX * (SPF_ASKING_TERMS_MAX + 2))
#define SPF_SKELETON_MAX     512

enum spf_verdict {
    SPF_MATCHES,
    SPF_MATCHES_NOT,
    SPF_STOPS /* the evaluation ends: `stop` says why */
};

/* Why an evaluation ends before libspf2 has a result. */
enum spf_stop {
    SPF_STOP_NOT,
    SPF_STOP_NEED,
    SPF_STOP_NONE,
    SPF_STOP_TEMPERROR,
    SPF_STOP_PERMERROR
};

/* A record that is evaluated. */
struct spf_place {
    struct spf_name domain;
    struct bytes explanation;
    unsigned led_here; /* the number of the step, an include or a redirect; 0: it is the first */
};

struct spf_step {
    struct spf_term term;
    unsigned place;
};

struct spf_evaluation {
    const struct spf_request *request;
    struct pool *pool; /* for what is forgotten before a call returns */
    enum spf_stop stop;
    enum spf_type need_type;
    struct spf_name need_name;
    const char *problem;
    struct bytes fault; /* the term that is the problem; empty: `problem` says it all */
    bool is_explaining; /* the result is known; terms are not counted any more */
    unsigned terms, voids;
    unsigned matched; /* the step that matched last */
    unsigned place_count, step_count;
    struct spf_place places[SPF_PLACES_MAX];
    struct spf_step steps[SPF_STEPS_MAX]; /* step 0 is the check itself */
};

/* Everything is borrowed. */
void spf_evaluation_begin(struct spf_evaluation *e, const struct spf_request *request,
                          struct pool *pool);
/* Finds the record that step `number` leads to, and writes its skeleton. False: the evaluation
 * stops. */
bool spf_evaluation_policy(struct spf_evaluation *e, unsigned number, struct buf *skeleton_out);
enum spf_verdict spf_evaluation_ask(struct spf_evaluation *e, unsigned number);
/* Legal when the last step that was asked has decided the result. The term of the first record, or
 * of one it redirects to, that did. */
struct bytes spf_evaluation_mechanism(const struct spf_evaluation *e);
/* Legal likewise. What the domain says about a failure; nothing where it says nothing that may be
 * used. False: stop is SPF_STOP_NEED. */
bool spf_evaluation_explain(struct spf_evaluation *e, struct buf *text_out);

#endif
