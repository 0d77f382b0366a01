/* SPDX-License-Identifier: BSD-2-Clause */
/* Macros: what a milter is told beside each command. Pure. */
#ifndef POSTERN_MILTER_MACROS_H
#define POSTERN_MILTER_MACROS_H

#include "filters/milter/milter_wire.h"
#include "proxy/base/arena.h"
#include "proxy/smtp/envelope.h"
#include "proxy/smtp/identity.h"
#include "proxy/smtp/transaction.h"

/* What commands and macros speak of. Borrowed. */
struct milter_about {
    const struct identity *client;
    struct bytes helo;               /* empty: not said yet */
    struct bytes hostname, listener; /* our name, and the section of the listener */
    struct bytes version;            /* what we are */
    const struct envelope *envelope; /* NULL: there is no message */
    const struct address *rcpt;      /* NULL: it is about none */
    struct bytes rcpt_params;
    struct bytes line; /* an unknown command */
};

/* A copy of all of it in the arena. ERR_MEMORY. */
int milter_about_copy(struct arena *arena, const struct milter_about *about,
                      struct milter_about *copy_out);

/* SMFIM_*, and MILTER_STAGE_UNKNOWN for a command that we do not know. */
#define MILTER_STAGE_UNKNOWN (SMFIM_LAST + 1)
#define MILTER_STAGE_COUNT   (SMFIM_LAST + 2)
extern const char *const milter_stage_names[MILTER_STAGE_COUNT]; /* "connect" */

/* What a stage gets where nobody has chosen. */
struct bytes milter_macros_usual(unsigned stage);
/* Appends the packet that goes before `command`. `names`: between blanks or commas. Those that have
 * no value are left out, and the packet where none has. */
void milter_macros_put(struct buf *out, uint8_t command, struct bytes names,
                       const struct milter_about *about);

#endif
