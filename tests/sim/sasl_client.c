/* SPDX-License-Identifier: BSD-2-Clause */
/* sasl_client.h in a world where no target asks who we are. */
#include "proxy/io/sasl_client.h"

#include "proxy/base/error.h"

struct sasl_client *sasl_client_new(const char *mechanism, struct bytes user, struct bytes secret)
{
    (void)mechanism;
    (void)user;
    (void)secret;
    return NULL;
}

void sasl_client_free(struct sasl_client *sasl)
{
    (void)sasl;
}

int sasl_client_step(struct sasl_client *sasl, const char *challenge,
                     struct sasl_client_line *line_out)
{
    (void)sasl;
    (void)challenge;
    *line_out = (struct sasl_client_line){.at = NULL};
    return ERR_GARBAGE;
}

void sasl_client_wipe(struct sasl_client_line *line)
{
    *line = (struct sasl_client_line){.at = NULL};
}
