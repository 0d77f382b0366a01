/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of an evaluation share. */
#ifndef POSTERN_SPF_EVALUATION_PRIVATE_H
#define POSTERN_SPF_EVALUATION_PRIVATE_H

#include "filters/spf/spf_evaluation.h"

/* spf_evaluation.c */
void spf_stop(struct spf_evaluation *e, enum spf_stop why, const char *problem);

/* spf_step.c. Those that return a truth value return false when the evaluation stops. */

/* One more term that asks DNS. */
bool spf_count_term(struct spf_evaluation *e);
/* The answer in the table; the empty one for what is no name. NULL: the evaluation stops. */
const struct spf_answer *spf_look_up(struct spf_evaluation *e, enum spf_type type,
                                     struct bytes name);
/* Expands a text that was checked. */
bool spf_expand(struct spf_evaluation *e, unsigned place, struct bytes text, struct buf *out);
/* The name that a term's domain-spec stands for; the empty one: it is none. */
bool spf_step_target(struct spf_evaluation *e, const struct spf_step *step,
                     struct spf_name *name_out);

#endif
