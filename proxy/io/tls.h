/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates, keys and trust of one section of the configuration, read from their files. Made
 * before the process forks, so that processes of one generation share the keys of session tickets,
 * each of which is used for two hours and good for two more (tls_tickets.h);
 * a ticket is of no use to another `struct tls`. Connections: stream_start_tls(). */
#ifndef POSTERN_TLS_H
#define POSTERN_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "proxy/base/bytes.h"

struct tls; /* opaque; read-only once it is made, but for the sessions that a client remembers, and
             * a server's keys of tickets */

struct tls_file {
    struct bytes certificate; /* PEM: the certificate, then those that lead to its root */
    struct bytes key;         /* PEM */
};

struct tls_settings {
    struct bytes section;         /* whose it is */
    const struct tls_file *files; /* a server's first is for clients that name no server */
    size_t file_count;            /* a server: one at least; a client: one at most */
    struct bytes ca; /* PEM: whose signature is trusted. Empty: a server asks for no certificate, a
                        client trusts whom the system trusts */
    bool hears_secrets; /* a server: what it has decrypted is wiped when it has been taken */
    bool verifies;      /* a client: a server that is not who it should be is not spoken to */
};

enum tls_file_kind { TLS_FILE_NONE, TLS_FILE_CERTIFICATE, TLS_FILE_KEY, TLS_FILE_CA };

/* Why there is no `struct tls`. */
struct tls_problem {
    enum tls_file_kind kind; /* of the file that is wrong; NONE: no memory */
    size_t index;            /* of settings.files */
    char text[200];          /* "cannot read it: No such file or directory" */
};

/* Block; for the start only. NULL: see *problem_out. */
struct tls *tls_new_server(const struct tls_settings *settings, struct tls_problem *problem_out);
struct tls *tls_new_client(const struct tls_settings *settings, struct tls_problem *problem_out);
/* Who forks, and speaks to nobody itself, calls this now and then, so that old keys of tickets are
 * not in its memory either. False: OpenSSL fails. */
bool tls_turn(struct tls *tls);
void tls_free(struct tls **held); /* no connection uses it any more */

#endif
