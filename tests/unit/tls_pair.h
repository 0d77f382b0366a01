/* SPDX-License-Identifier: BSD-2-Clause */
/* Two ends that are encrypted: those of stream_pair.h, which comes before. */
#ifndef POSTERN_TLS_PAIR_H
#define POSTERN_TLS_PAIR_H

#include "tests/unit/tls_files.h"

static struct tls *server, *client;

static int tls_pair_set_up(void **state)
{
    static const char *const names[] = {"mx.example.org", NULL};
    static struct stream_tls_start server_start, client_start;

    (void)state;
    tls_make_directory();
    server = tls_server("mx", names, NULL);
    client = tls_client(NULL, "authority");
    server_start.with = server;
    client_start.with = client;
    client_start.names[0] = bytes_of("mx.example.org");
    server_tls = &server_start;
    client_tls = &client_start;
    return 0;
}

static int tls_pair_tear_down(void **state)
{
    (void)state;
    tls_free(&server);
    tls_free(&client);
    tls_remove_directory();
    return 0;
}

#endif
