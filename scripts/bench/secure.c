/* SPDX-License-Identifier: BSD-2-Clause */
#include "scripts/bench/secure.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "scripts/bench/common.h"

static struct {
    SSL_CTX *context;
    unsigned long resumed;
} tls;

struct secure {
    SSL *ssl;
    SSL_SESSION *session; /* the latest that can be resumed; NULL: none */
};

static int keep_session(SSL *ssl, SSL_SESSION *session)
{
    struct secure *s = SSL_get_app_data(ssl);

    SSL_SESSION_free(s->session);
    s->session = session;
    return 1; /* it is ours now */
}

void secure_init(bool resumes)
{
    tls.context = SSL_CTX_new(TLS_client_method());
    if (tls.context == NULL)
        bench_die("no TLS");
    SSL_CTX_set_mode(tls.context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                      SSL_MODE_RELEASE_BUFFERS);
    if (!resumes)
        return;
    SSL_CTX_set_session_cache_mode(tls.context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(tls.context, keep_session);
}

void secure_open(struct secure **s, int fd)
{
    SSL *ssl = SSL_new(tls.context);

    if (*s == NULL)
        *s = bench_alloc(1, sizeof(**s));
    (*s)->ssl = ssl;
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 || SSL_set_app_data(ssl, *s) != 1)
        bench_die("no TLS");
    if ((*s)->session != NULL && SSL_set_session(ssl, (*s)->session) != 1)
        bench_die("no session");
    SSL_set_connect_state(ssl);
}

void secure_close(struct secure *s)
{
    ERR_clear_error();
    if (SSL_is_init_finished(s->ssl))
        SSL_shutdown(s->ssl);
    SSL_free(s->ssl);
}

static int failure(struct secure *s, int result)
{
    int error = SSL_get_error(s->ssl, result);

    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        errno = EAGAIN;
    else if (error != SSL_ERROR_SYSCALL || errno == 0)
        errno = EPROTO;
    return -1;
}

int secure_shake(struct secure *s)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_do_handshake(s->ssl);

    if (result != 1)
        return failure(s, result);
    tls.resumed += SSL_session_reused(s->ssl) == 1;
    return 0;
}

ssize_t secure_read(struct secure *s, void *octets, size_t room)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_read(s->ssl, octets, (int)room);

    if (result > 0)
        return result;
    return SSL_get_error(s->ssl, result) == SSL_ERROR_ZERO_RETURN ? 0 : failure(s, result);
}

ssize_t secure_send(struct secure *s, const void *octets, size_t length)
{
    ERR_clear_error();
    errno = 0;
    int result = SSL_write(s->ssl, octets, (int)length);

    return result > 0 ? result : failure(s, result);
}

unsigned long secure_resumed(void)
{
    return tls.resumed;
}
