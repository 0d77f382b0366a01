/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS by OpenSSL: what tls.c and stream_tls.c share. */
#ifndef POSTERN_TLS_UV_H
#define POSTERN_TLS_UV_H

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include "proxy/io/tls.h"
#include "proxy/io/tls_tickets.h"

/* A server's certificate; with another of the same names, of another kind of key. */
struct tls_identity {
    SSL_CTX *context;
    X509 *leaf;       /* the first one's */
    int key_kinds[4]; /* EVP_PKEY_RSA, ... */
    size_t kind_count;
};

#define TLS_SESSIONS_MAX 16
#define TLS_PEER_MAX     320

/* What a client remembers of a server. */
struct tls_session {
    char peer[TLS_PEER_MAX]; /* its address, and the name that it was called */
    SSL_SESSION *session;
};

struct tls {
    BIO_METHOD *method; /* between OpenSSL and a stream; made by stream_tls.c when it is needed */
    struct tls_identity *identities;
    size_t identity_count;
    bool is_client, verifies;
    struct tls_tickets tickets;                    /* a server's */
    struct tls_session sessions[TLS_SESSIONS_MAX]; /* a client's */
    size_t next_session;                           /* is overwritten next */
};

/* A new connection's, not connected to a stream yet. NULL: no memory. */
SSL *tls_new_ssl(const struct tls *tls);
/* What is to be offered to this server, or NULL. */
SSL_SESSION *tls_session_find(struct tls *tls, const char *peer);
/* Takes the session over. */
void tls_session_keep(struct tls *tls, const char *peer, SSL_SESSION *session);

#endif
