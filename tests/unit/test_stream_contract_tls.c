/* SPDX-License-Identifier: BSD-2-Clause */
/* The same contract, kept where everything is encrypted. */
/* needs: io */
#define UNSENT_MAX        (65536 + 1024)
#define CONTRACT_SETUP    set_up
#define CONTRACT_TEARDOWN tear_down

static int set_up(void **state);
static int tear_down(void **state);

#include "tests/unit/test_stream_contract.c"
#include "tests/unit/tls_files.h"

static struct tls *server, *client;
static struct stream_tls_start server_start, client_start;

static int set_up(void **state)
{
    static const char *const names[] = {"mx.example.org", NULL};

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

static int tear_down(void **state)
{
    (void)state;
    tls_free(&server);
    tls_free(&client);
    tls_remove_directory();
    return 0;
}
