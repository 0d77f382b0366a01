/* SPDX-License-Identifier: BSD-2-Clause */
/* RFC 3030 2:  bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF
 *              chunk-size ::= 1*DIGIT    end-marker ::= "LAST" */
#include "proxy/smtp/bdat.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

#define DIGITS_MAX 20 /* of 64 bits */

int bdat_parse(struct bytes argument, struct bdat *out)
{
    struct bytes size = text_word(&argument), marker = text_word(&argument);
    struct bdat bdat = {.is_last = marker.len != 0};

    if (size.len > DIGITS_MAX || text_word(&argument).len != 0 ||
        (bdat.is_last && !bytes_is_nocase(marker, "LAST")))
        return ERR_SYNTAX;
    int error = text_decimal(size, UINT64_MAX, &bdat.bytes);
    if (error == ERR_RANGE)
        bdat.bytes = UINT64_MAX;
    else if (error != 0)
        return ERR_SYNTAX;
    *out = bdat;
    return 0;
}
