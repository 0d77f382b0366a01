/* SPDX-License-Identifier: BSD-2-Clause */
/* What the target owes: how many replies, and to what. */
#include "proxy/smtp/outbound.h"

size_t outbound_owed(const struct outbound *o)
{
    switch (o->state) {
    case OUT_GREETING:
    case OUT_EHLO:
    case OUT_HELO:
    case OUT_STARTTLS:
    case OUT_AUTH:
    case OUT_XCLIENT:
    case OUT_LOGIN:
    case OUT_QUITTING:
        return 1;
    case OUT_ENVELOPE:
    case OUT_CONTENT:
    case OUT_FINAL:
    case OUT_DRAINING:
        return o->sent.count;
    case OUT_SECURING:
    case OUT_PROVING:
    case OUT_LOGIN_LINE:
    case OUT_IDLE:
    case OUT_GONE:
        break;
    }
    return 0;
}

static const char *command_name(enum outbound_sent_kind sent)
{
    switch (sent) {
    case SENT_XFORWARD:
        return "XFORWARD";
    case SENT_MAIL:
        return "MAIL";
    case SENT_DATA:
        return "DATA";
    case SENT_RCPT:
    case SENT_BDAT:
    case SENT_END:
    case SENT_RSET:
    case SENT_LONE_DOT:
        break;
    }
    return "RCPT";
}

const char *outbound_stage(bool is_lmtp, enum outbound_state state, enum outbound_sent_kind sent)
{
    switch (state) {
    case OUT_GREETING:
        return "greeting";
    case OUT_EHLO:
        return is_lmtp ? "LHLO" : "EHLO";
    case OUT_HELO:
        return "HELO";
    case OUT_STARTTLS:
        return "STARTTLS";
    case OUT_SECURING:
        return "TLS";
    case OUT_PROVING:
    case OUT_AUTH:
    case OUT_LOGIN:
    case OUT_LOGIN_LINE:
        return "AUTH";
    case OUT_XCLIENT:
        return "XCLIENT";
    case OUT_ENVELOPE:
        return command_name(sent);
    case OUT_CONTENT:
    case OUT_FINAL:
        return "content";
    case OUT_IDLE:
    case OUT_DRAINING:
        return "RSET";
    case OUT_QUITTING:
    case OUT_GONE:
        break;
    }
    return "QUIT";
}
