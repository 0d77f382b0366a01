/* SPDX-License-Identifier: BSD-2-Clause */
/* What is known of targets, as lines: what they announced, who ever announced XCLIENT, which
 * recipients they took or refused lately. Pure: a line is what one fact looks like in a file, and
 * between processes.
 *
 *   TARGET xclient
 *   ehlo WALL-SECONDS TARGET WORD...                what it announced last: capability_put_words()
 *   accepted WALL-SECONDS TARGET RECIPIENT
 *   refused WALL-SECONDS TARGET RECIPIENT REPLY     the target's words
 *   open WALL-SECONDS TARGET RECIPIENT              it was refused, and is not any more
 *
 * Names, recipients and replies are xtext; the domain of a recipient is in lower case. */
#ifndef POSTERN_RELAY_FACTS_H
#define POSTERN_RELAY_FACTS_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/reply.h"

#define RELAY_FACTS_LINE_MAX 4096 /* without its end */

/* How long and how many (relay.remember). */
struct relay_remember {
    uint64_t accepted_ms;
    uint64_t refused_ms;
    uint32_t count; /* of each target; the oldest goes first */
};

enum relay_fact_kind {
    RELAY_FACT_ACCEPTED,
    RELAY_FACT_REFUSED,
    RELAY_FACT_OPEN,
    RELAY_FACT_XCLIENT
};

struct relay_announced;

/* What is known of one target. Others read `has_xclient` alone. */
struct relay_facts_target {
    struct hash_entry by_name;
    struct relay_facts_target *next;
    struct list facts; /* oldest first */
    uint32_t count;
    struct relay_remember how;
    struct relay_announced *announced; /* NULL: unknown */
    bool has_xclient;                  /* it has announced it ever */
    bool is_held;                      /* that it has */
    size_t line_len; /* of the line that says so: its name as xtext, and XCLIENT_END */
    uint8_t line[];
};

struct relay_facts {
    struct hash_table targets, recipients;
    struct relay_facts_target *first;
    struct relay_facts_target **link; /* where the next new one goes */
    struct pool *pool;                /* for lines and keys in the making */
    size_t held;                      /* see relay_facts_hold() */
};

void relay_facts_init(struct relay_facts *f, struct hash_key secret, struct pool *pool);
void relay_facts_done(struct relay_facts *f);
/* By how much its recipients are bounded, from now on. What is known of it lives as long as `f`;
 * NULL: no memory. */
const struct relay_facts_target *relay_facts_limit(struct relay_facts *f, struct bytes target,
                                                   const struct relay_remember *how);

/* One line, without its end; what it says is passed over where something newer is known, and where
 * it is known, and was not long ago. */
enum relay_facts_result {
    RELAY_FACTS_NOTHING, /* no news, or no line of ours */
    RELAY_FACTS_NEWS,
    RELAY_FACTS_XCLIENT,   /* news, and of this kind */
    RELAY_FACTS_ANNOUNCED, /* likewise */
    RELAY_FACTS_NO_MEMORY
};
enum relay_facts_result relay_facts_learn(struct relay_facts *f, struct bytes line, int64_t now_s);
/* Would a line of now say anything new of a recipient? Mostly it would not: asking costs less than
 * to write it. */
bool relay_facts_would_learn(const struct relay_facts *f, enum relay_fact_kind kind, int64_t now_s,
                             struct bytes target, const struct address *rcpt);

/* A line that was learnt, and others shall know, but could not be told. */
void relay_facts_hold(struct relay_facts *f, struct bytes line);
/* Tells what is held, as far as `tell` says true. True: nothing is left. */
bool relay_facts_tell(struct relay_facts *f, bool (*tell)(void *owner, struct bytes line),
                      void *owner);

/* Tells everything that is not older than `since_s`, and what targets announce whenever it was. */
void relay_facts_tell_recent(struct relay_facts *f, int64_t since_s,
                             bool (*tell)(void *owner, struct bytes line), void *owner);

/* What is known of a recipient and is not too old; false: nothing. *reply_out: of REFUSED, as
 * xtext, borrowed. */
bool relay_facts_find(const struct relay_facts *f, struct bytes target, const struct address *rcpt,
                      int64_t now_s, enum relay_fact_kind *kind_out, struct bytes *reply_out);

/* False: nothing is known. Attributes of XCLIENT and XFORWARD are not. */
bool relay_facts_announced(const struct relay_facts *f, struct bytes target,
                           struct capability *caps_out);

/* How many recipients of it are known, by kind (RELAY_FACT_ACCEPTED, RELAY_FACT_REFUSED). */
void relay_facts_count(const struct relay_facts *f, struct bytes target, uint32_t *accepted_out,
                       uint32_t *refused_out);

/* Writes a line, without its end. `reply`: of REFUSED, cut where it is too long. */
void relay_facts_put(const struct relay_facts *f, struct buf *out, enum relay_fact_kind kind,
                     int64_t now_s, struct bytes target, const struct address *rcpt,
                     const struct reply *reply);

/* All lines, each with its end; what is too old is forgotten first. The caller frees. ERR_MEMORY.
 */
int relay_facts_image(struct relay_facts *f, int64_t now_s, uint8_t **octets_out, size_t *len_out);

#endif
