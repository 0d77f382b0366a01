/* SPDX-License-Identifier: BSD-2-Clause */
/* What both sides of AUTH need in a world. SCRAM has the lines of the real one, and a hash in the
 * place of its cryptography. */
#ifndef POSTERN_SIM_SASL_H
#define POSTERN_SIM_SASL_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"

#define SASL_TEXT_MAX  128 /* octets of what one side says at once */
#define SASL_LINE_SIZE (4 * ((SASL_TEXT_MAX + 2) / 3) + 1)

/* Any octets that one side says. */
struct sasl_text {
    char at[SASL_TEXT_MAX + 1]; /* with a zero octet behind it */
    size_t len;
};

struct sasl_text sasl_text_of(const char *format, ...) __attribute__((format(printf, 1, 2)));
void sasl_encode(const struct sasl_text *text, char line_out[SASL_LINE_SIZE]); /* in base64 */
bool sasl_decode(struct bytes line, struct sasl_text *text_out); /* false: it cannot be */

enum sasl_side { SASL_CLIENT, SASL_SERVER };

/* Shows that this side knows the password; the other one cannot say the same. */
struct sasl_text sasl_proof(enum sasl_side side, const char *password, struct bytes challenge);

#endif
