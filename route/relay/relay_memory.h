/* SPDX-License-Identifier: BSD-2-Clause */
/* What was learnt of targets: who has announced XCLIENT, and which recipients they took or refused
 * lately. Kept in `targets` of the spool directory across restarts. */
#ifndef POSTERN_RELAY_MEMORY_H
#define POSTERN_RELAY_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/bytes.h"
#include "proxy/io/log.h"
#include "proxy/io/loop.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/capability.h"
#include "proxy/smtp/reply.h"
#include "route/relay/relay_facts.h"

struct relay_memory;

/* Who else must know: the other processes. A line is what the file holds of one fact. False: nobody
 * was there to be told, it comes again. */
struct relay_memory_events {
    bool (*learnt)(void *owner, struct bytes line);
};

/* Reads the file, which may be missing; blocks, so only at start. `directory` is copied. `writes`:
 * this process keeps the file up to date; else only `learnt` is told. NULL: no memory, or it cannot
 * be read: *error_out. */
struct relay_memory *relay_memory_new(struct loop *l, struct log *log, uint32_t log_sinks,
                                      struct bytes directory, bool writes, int *error_out);
/* NULL: nobody. */
void relay_memory_tell(struct relay_memory *m, const struct relay_memory_events *events,
                       void *owner);
/* A line of another process. Is not told on. True: it says what some target announces. */
bool relay_memory_hear(struct relay_memory *m, struct bytes line);
/* For one who has just come, and may have missed it: what was learnt within the last minutes. What
 * is older the file has. */
void relay_memory_tell_recent(struct relay_memory *m, bool (*tell)(void *owner, struct bytes line),
                              void *owner);
/* Writes what is not written yet, now; for the end of the process. */
void relay_memory_close(struct relay_memory *m);
/* A job that runs is waited for by the loop, so: after the loop has ended. */
void relay_memory_free(struct relay_memory **m);

/* By how much the recipients of a target are bounded. What is known of it lives as long as `m`;
 * NULL: no memory. */
const struct relay_facts_target *relay_memory_limit(struct relay_memory *m, struct bytes target,
                                                    const struct relay_remember *how);

/* The first time for this target the file is written at once: new file, sync, rename. */
void relay_memory_note_xclient(struct relay_memory *m, struct bytes target);

/* What the target announced last in reply to EHLO. True: that is news. */
bool relay_memory_note_announced(struct relay_memory *m, struct bytes target,
                                 const struct capability *caps);
/* False: nothing is known. Attributes are not. */
bool relay_memory_announced(const struct relay_memory *m, struct bytes target,
                            struct capability *caps_out);

enum relay_recall { RELAY_RECALL_NOTHING, RELAY_RECALL_ACCEPTED, RELAY_RECALL_REFUSED };

/* The target's own answer to RCPT. Kept are 2xx where `names_domain`, and 55x with 5.1.1, 5.1.2,
 * 5.1.6, 5.1.10 or 5.2.1; a contrary one of these replaces what was known, and any 2xx ends a
 * refusal. Other answers change nothing. The file is written at most once a second, and less often
 * where it is large. */
void relay_memory_note(struct relay_memory *m, struct bytes target, const struct address *rcpt,
                       bool names_domain, const struct reply *reply);
/* For an outage. REFUSED: its words, in `mail`. */
enum relay_recall relay_memory_recall(const struct relay_memory *m, struct bytes target,
                                      const struct address *rcpt, struct arena *mail,
                                      struct reply *reply_out);
/* How many recipients of it are remembered. */
void relay_memory_count(const struct relay_memory *m, struct bytes target, uint32_t *accepted_out,
                        uint32_t *refused_out);

#endif
