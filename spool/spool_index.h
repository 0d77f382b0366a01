/* SPDX-License-Identifier: BSD-2-Clause */
/* What the runner must know of the messages in one directory of queue/, in one file: so that a
 * start need not open every message.
 *
 * It is a hint, written without a sync, and it says what was true when it was written. A file that
 * is torn or strange is not used at all; a message that it does not name is to be opened; one that
 * has no name any more is to be forgotten; and what is taken for delivery is read from the message
 * itself. Whoever changes a message has taken it, and forgets the index of its directory first:
 * also the one that is being made just now. */
#ifndef POSTERN_SPOOL_INDEX_H
#define POSTERN_SPOOL_INDEX_H

#include "spool/store.h"

struct spool_index {
    uint8_t *octets; /* NULL: there is none */
    size_t len;
    uint32_t count; /* of messages */
};

/* Job. -ENOENT: there is none; ERR_SYNTAX: not whole, or not ours: then it is as good as none. The
 * caller frees. */
int spool_index_read(const struct store *s, uint32_t directory, struct spool_index *index_out);
void spool_index_free(struct spool_index *index);
/* What it says of that message. Set is what a queue is made of: head.id and head.body_bytes,
 * envelope.from, arrived_ms, is_held, is_report, and of each recipient the target, both domains,
 * fate, tries, tried_ms and the booleans. Everything else is empty. -ENOENT: it does not know it;
 * ERR_SYNTAX, ERR_MEMORY. */
int spool_index_find(const struct spool_index *index, const struct id *id, struct arena *arena,
                     struct spool_message *message_out);

/* Job: makes it anew where it is due: in a directory that holds many messages, and to which none
 * came for a while. Opens each of them. 0 though nothing was due. */
int spool_index_refresh(const struct store *s, uint32_t directory, int64_t now_s);
/* Job: from here on there is none that says anything of what lies there now, durably; nor does one
 * come of what is being made. For whoever has taken the message that he changes. 0 though there was
 * none. */
int spool_index_forget(const struct store *s, uint32_t directory);

#endif
