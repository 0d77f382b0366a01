/* SPDX-License-Identifier: BSD-2-Clause */
/* What is told of checks: header fields for the message, and the text of a refusal. Whatever came
 * from the client or from DNS is made harmless. Pure. */
#ifndef POSTERN_SPF_HEADER_H
#define POSTERN_SPF_HEADER_H

#include "filters/spf/spf_wire.h"

enum spf_identity { SPF_IDENTITY_MAIL, SPF_IDENTITY_HELO };

/* One check that is over. */
struct spf_report {
    enum spf_identity identity;
    struct spf_subject subject;
    struct spf_reply reply;
};

const char *spf_result_name(enum spf_result result);

#define SPF_VALUE_MAX   320 /* octets of one value; RFC 5321 4.5.3.1 has no longer sender */
#define SPF_REFUSAL_MAX 450 /* octets of a refusal */

/* RFC 7208 9.1, folded, ended by CRLF. */
void spf_header_put_received(struct buf *out, const struct spf_report *report);
/* RFC 8601: one field for all reports. */
void spf_header_put_results(struct buf *out, struct bytes authserv_id,
                            const struct spf_report *reports, size_t count);
/* One line of printable ASCII without a code, that says whose words are whose. */
void spf_header_put_refusal(struct buf *out, const struct spf_report *report);

#endif
