/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines of Dovecot's auth service: whatever it says, a challenge is base64, a login can be shown,
 * and a request that is answered is one that has a number. */
#include "proxy/smtp/dovecot_auth.h"

#include "tests/fuzz/pieces.h"

#include "proxy/base/error.h"
#include "proxy/smtp/sasl.h"

static bool can_be_shown(struct bytes text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < ' ' || text.at[i] == 127)
            return false;
    return true;
}

static void check_line(struct bytes line)
{
    struct dovecot_auth_said said;
    int error = dovecot_auth_read(line, &said);

    PIECES_MUST(error == 0 || error == ERR_SYNTAX);
    if (error != 0)
        return;
    PIECES_MUST(sasl_is_base64(said.challenge) && can_be_shown(said.challenge));
    PIECES_MUST(can_be_shown(said.user) && said.user.len <= 512);
    PIECES_MUST(said.kind != DOVECOT_AUTH_OK || said.user.len != 0);
    PIECES_MUST(said.mechanism == 0 || sasl_mechanism(bytes_of(sasl_name(said.mechanism))) != 0);
    PIECES_MUST(said.challenge.len == 0 || said.kind == DOVECOT_AUTH_CHALLENGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes rest = bytes_make(data, size);

    while (rest.len != 0) {
        size_t end = bytes_find(rest, '\n');
        check_line(bytes_first(rest, end));
        rest = bytes_skip(rest, end < rest.len ? end + 1 : end);
    }
    return 0;
}
