/* SPDX-License-Identifier: BSD-2-Clause */
/* As whom a client authenticates itself, read from what it says when somebody else judges it. Pure.
 */
#ifndef POSTERN_SASL_USER_H
#define POSTERN_SASL_USER_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/base/bytes.h"

#define SASL_USER_MAX 255 /* octets of a name */

/* What XCLIENT calls a name that there is and that we do not know: mechanisms like GSSAPI do not
 * show it. */
#define SASL_USER_UNKNOWN "[UNAVAILABLE]"

/* Whose password, or token, it is, as the client's response says, which is in base64: the first
 * that is not empty, or that of CRAM-MD5. `out` has SASL_USER_MAX octets. 0: it does not say, or
 * the name has control characters. */
size_t sasl_user(uint32_t mechanism, struct bytes response, uint8_t *out);

#endif
