/* SPDX-License-Identifier: BSD-2-Clause */
/* One file that has what the runner must know of all messages in one directory of queue/. With it a
 * start need not open every message.
 *
 * * * An index is a hint, written without a sync, and says what was true when it was written. A
 * torn or strange index is not used at all. A message that the index does not name is to be opened;
 * a row whose message has no name any more is to be ignored; a message that is taken for delivery
 * is read from its own file. Whoever changes a message has taken it, and forgets the index of its
 * directory first, also one that is being made just now. */
#ifndef POSTERN_SPOOL_INDEX_H
#define POSTERN_SPOOL_INDEX_H

#include "spool/store.h"

struct spool_index {
    uint8_t *octets; /* NULL: there is none */
    size_t len;
    uint32_t count; /* of messages */
};

/* Job. -ENOENT: there is none; ERR_SYNTAX: it is not whole, or not ours, and is as good as none.
 * The caller frees. */
int spool_index_read(const struct store *store, uint32_t directory, struct spool_index *index_out);
void spool_index_free(struct spool_index *index);
/* Sets `count` of an index whose octets are there. ERR_SYNTAX as above. */
int spool_index_check(struct spool_index *index);
/* What the index says of that message. Set are head.id and head.body_bytes, envelope.from,
 * arrived_ms, is_held, is_report, and of each recipient the target, both domains, fate, tries,
 * tried_ms and the booleans. Everything else is empty. -ENOENT: it has no such row; ERR_SYNTAX,
 * ERR_MEMORY. */
int spool_index_find(const struct spool_index *index, const struct id *id, struct arena *arena,
                     struct spool_message *message_out);

/* Job: makes the index anew if it is due: in a directory that holds many messages and has not
 * changed for a while. Opens each message. 0 also if nothing was due. */
int spool_index_refresh(const struct store *store, uint32_t directory, int64_t now_s);
/* Job: removes the index durably, and one that is being made. The caller has taken the message that
 * it is about to change. 0 also if there was none. */
int spool_index_forget(const struct store *store, uint32_t directory);

#endif
