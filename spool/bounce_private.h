/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts of a report, between the files that make it. */
#ifndef POSTERN_BOUNCE_PRIVATE_H
#define POSTERN_BOUNCE_PRIVATE_H

#include "spool/bounce.h"

/* What all parts of a report are made from. */
struct bounce_report {
    const struct bounce_conf *conf;
    const struct bounce_job *job;
    struct id id;
    struct bytes returned; /* the part of the message that is returned; empty: nothing */
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
/* Fills `audience`, whose postmaster is set before. BOUNCE_MADE: this audience gets the report. */
enum bounce_result bounce_choose_audience(const struct bounce_conf *conf,
                                          const struct bounce_job *job,
                                          struct bounce_audience *audience);

/* bounce_text.c. Text from outside is neutralized: printable ASCII stays, the rest becomes "?". */
void bounce_text_printable(struct buf *out, struct bytes text);
void bounce_text_mailbox(struct buf *out, const struct address *address);
/* The same in angle brackets. */
void bounce_text_address(struct buf *out, const struct address *address);
/* Words, from `column` on. Each further line begins with `indent`. Too long a text is cut. */
void bounce_text_words(struct buf *out, struct bytes text, size_t column, const char *indent);
/* What a human reads. */
void bounce_text_put(struct buf *out, const struct bounce_report *report);

/* bounce_dsn.c */
/* Of the message as its recipients get it. */
uint64_t bounce_message_bytes(const struct spool_message *message);
/* Chooses what of job.content is returned. */
void bounce_dsn_choose(struct bounce_report *report);
/* message/delivery-status */
void bounce_dsn_put(struct buf *out, const struct bounce_report *report);
/* message/rfc822 or text/rfc822-headers */
void bounce_dsn_put_returned(struct buf *out, const struct bounce_report *report);

#endif
