/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a report, between the files that make it. */
#ifndef POSTERN_BOUNCE_PRIVATE_H
#define POSTERN_BOUNCE_PRIVATE_H

#include "spool/bounce.h"

/* What all parts are made from. */
struct bounce_report {
    const struct bounce_conf *conf;
    const struct bounce_job *job;
    struct id id;
    struct bytes returned; /* of the message; empty: nothing of it */
    bool is_whole;         /* `returned` is all of it, not only its headers */
    bool is_8bit;          /* octets over 127 stand in it, and stay as they are */
};

/* bounce_audience.c */
/* Is this recipient in the report? */
bool bounce_tells(const struct bounce_job *job, uint32_t index);
struct bounce_audience {
    struct address postmaster;
    bool has_sender, has_postmaster;
};
/* BOUNCE_MADE: to the audience. `audience->postmaster` is set before. */
enum bounce_result bounce_choose_audience(const struct bounce_conf *conf,
                                          const struct bounce_job *job,
                                          struct bounce_audience *audience);

/* bounce_text.c. What comes from outside is neutralized on the way: printable ASCII stays, the rest
 * becomes "?". */
void bounce_text_printable(struct buf *out, struct bytes text);
void bounce_text_mailbox(struct buf *out, const struct address *a);
/* The same in angle brackets. */
void bounce_text_address(struct buf *out, const struct address *a);
/* Words, from `column` on; where they do not fit a line more begins with `indent`. Cut where they
 * are too many. */
void bounce_text_words(struct buf *out, struct bytes text, size_t column, const char *indent);
/* What a human reads. */
void bounce_text_put(struct buf *out, const struct bounce_report *report);

/* bounce_dsn.c */
/* What of job.content is returned. */
void bounce_dsn_choose(struct bounce_report *report);
/* message/delivery-status */
void bounce_dsn_put(struct buf *out, const struct bounce_report *report);
/* message/rfc822 or text/rfc822-headers */
void bounce_dsn_put_returned(struct buf *out, const struct bounce_report *report);

#endif
