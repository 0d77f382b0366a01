/* SPDX-License-Identifier: BSD-2-Clause */
/* What a session waits for. */
#include "proxy/smtp/session_private.h"

bool session_wants_input(const struct session *s)
{
    switch (s->state) {
    case SESSION_SECURING:
    case SESSION_HELD:
    case SESSION_PENDING:
    case SESSION_GOING:
    case SESSION_FINAL:
        return false;
    case SESSION_NEW:
    case SESSION_COMMANDS:
    case SESSION_LINE:
    case SESSION_REFUSING:
    case SESSION_CONTENT:
    case SESSION_CHUNK:
    case SESSION_ENDING:
    case SESSION_CLOSED:
        break;
    }
    return s->todo_count == 0 && s->slot_count < SESSION_SLOTS_MAX &&
           buf_length(&s->out) < SESSION_UNSENT_MAX;
}

enum session_wait session_wait(const struct session *s)
{
    switch (s->state) {
    case SESSION_NEW:
        return SESSION_WAIT_GREETING;
    case SESSION_SECURING:
        return SESSION_WAIT_TLS;
    case SESSION_COMMANDS:
    case SESSION_LINE:
    case SESSION_REFUSING:
        return list_is_empty(&s->slots) ? SESSION_WAIT_COMMAND : SESSION_WAIT_TARGETS;
    case SESSION_PENDING:
        return s->command.rule->stage == SESSION_STAGE_END ? SESSION_WAIT_FINAL
                                                           : SESSION_WAIT_TARGETS;
    case SESSION_HELD:
    case SESSION_GOING:
    case SESSION_ENDING:
        return SESSION_WAIT_TARGETS;
    case SESSION_CONTENT:
    case SESSION_CHUNK:
        return SESSION_WAIT_CONTENT;
    case SESSION_FINAL: /* the client may be slow to read */
        return s->end.untold == NULL ? SESSION_WAIT_FINAL : SESSION_WAIT_COMMAND;
    case SESSION_CLOSED:
        break;
    }
    return s->tx != NULL ? SESSION_WAIT_FINAL : SESSION_WAIT_CLOSE;
}
