/* SPDX-License-Identifier: BSD-2-Clause */
/* What an actor hears, with the frames of BDAT taken off where the script wants that. */
#include "tests/transcripts/actor.h"

#include <stdlib.h>

void actor_hear(struct actor *a, struct bytes octets)
{
    if (octets.len == 0)
        return;
    a->heard = realloc(a->heard, a->length + octets.len);
    if (a->heard == NULL)
        abort();
    memcpy(a->heard + a->length, octets.at, octets.len);
    a->length += octets.len;
}

static void end_chunk(struct actor *a)
{
    if (a->chunk_is_last)
        actor_hear(a, bytes_of("BDAT LAST\r\n"));
    else if (sim_may_send(a->peer))
        sim_send(a->peer, bytes_of("250 2.0.0 So far\r\n"));
    a->has_answered = !a->chunk_is_last;
}

/* Takes the frames of BDAT off: where chunks are cut is nobody's business. Returns octets used. */
static size_t hear_chunked(struct actor *a, struct bytes in)
{
    struct bytes line = bytes_first(in, bytes_find(in, '\n') + 1);
    char head[32] = "";

    if (a->chunk_left > 0) {
        struct bytes now = bytes_first(in, a->chunk_left);
        actor_hear(a, now);
        a->chunk_left -= now.len;
        if (a->chunk_left == 0)
            end_chunk(a);
        return now.len;
    }
    if (line.at[line.len - 1] != '\n')
        return 0;
    if (line.len < 6 || memcmp(line.at, "BDAT ", 5) != 0) {
        actor_hear(a, line);
        return line.len;
    }
    memcpy(head, line.at, line.len < sizeof(head) - 1 ? line.len : sizeof(head) - 1);
    a->chunk_left = strtoull(head + 5, NULL, 10);
    a->chunk_is_last = strstr(head, " LAST") != NULL;
    if (a->chunk_left == 0)
        end_chunk(a);
    return line.len;
}

void actor_listen(struct actor *a)
{
    size_t used;

    do {
        struct bytes in = sim_received(a->peer);
        used = in.len;
        if (in.len > 0 && a->takes_chunks)
            used = hear_chunked(a, in);
        else
            actor_hear(a, in);
        sim_take(a->peer, used);
    } while (used > 0 && sim_received(a->peer).len > 0);
}

void actor_forget(struct actor *a, size_t octets)
{
    a->length -= octets;
    memmove(a->heard, a->heard + octets, a->length);
}
