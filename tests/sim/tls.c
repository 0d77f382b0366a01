/* SPDX-License-Identifier: BSD-2-Clause */
/* tls.h in a world where nothing is encrypted, and no certificate is read. */
#include "proxy/io/tls.h"

#include <stdio.h>

#include "proxy/base/mem.h"

struct tls {
    bool is_client;
};

static struct tls *new (bool is_client, struct tls_problem *problem_out)
{
    struct tls *tls = mem_alloc(sizeof(*tls));

    if (tls != NULL)
        tls->is_client = is_client;
    else
        snprintf(problem_out->text, sizeof(problem_out->text), "out of memory");
    problem_out->kind = TLS_FILE_NONE;
    return tls;
}

struct tls *tls_new_server(const struct tls_settings *settings, struct tls_problem *problem_out)
{
    (void)settings;
    return new (false, problem_out);
}

struct tls *tls_new_client(const struct tls_settings *settings, struct tls_problem *problem_out)
{
    (void)settings;
    return new (true, problem_out);
}

bool tls_turn(struct tls *tls)
{
    (void)tls;
    return true;
}

void tls_free(struct tls **held)
{
    mem_free(*held);
    *held = NULL;
}
