/* SPDX-License-Identifier: BSD-2-Clause */
/* The mechanisms of AUTH (RFC 4954, RFC 4422), by name. Pure. */
#ifndef POSTERN_SASL_H
#define POSTERN_SASL_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

/* Every mechanism is one line of sasl.def. */
enum sasl_mechanism {
#define SASL(id, name, bit, seen) SASL_##id = 1 << (bit),
#include "proxy/smtp/sasl.def"
#undef SASL
};

#define SASL_LINE_MAX 12288 /* octets of what either side says, in base64: RFC 4954 4 */

/* RFC 4648 4, with all of the padding; nothing is fine, too. */
bool sasl_is_base64(struct bytes text);

/* Octet `i` of what begins there in base64; -1: it ends before. */
int sasl_decoded(struct bytes base64, size_t i);

/* The bit of a name, in any case; 0: none that we know. */
uint32_t sasl_mechanism(struct bytes name);
const char *sasl_name(uint32_t mechanism); /* of one bit */
/* Those that show the password to whoever reads along. */
uint32_t sasl_shown(void);
/* The names of those bits, each with `before` in front of it but the first, which has `first`. */
void sasl_put(struct buf *out, uint32_t mechanisms, const char *first, const char *before);

#endif
