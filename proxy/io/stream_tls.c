/* SPDX-License-Identifier: BSD-2-Clause */
/* TLS between what a stream reads and sends and its owner. All that one read brings is decrypted at
 * once, so that nothing waits here; what is encrypted is collected and handed to the kernel in one
 * piece. OpenSSL sees the two ends as a BIO that never has to wait for room. */
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "proxy/base/error.h"
#include "proxy/io/stream_uv.h"
#include "proxy/io/tls_uv.h"

#define HANDSHAKES_A_TURN 8      /* steps; each may take half a millisecond */
#define UNSENT_MAX        262144 /* a peer that has TLS answer it, and never reads, is cut off */
#define SUBJECT_MAX       256
#define BATCH_BYTES       (LOOP_READ_BYTES / LOOP_RECORD_BYTES * LOOP_RECORD_BYTES)

struct stream_tls {
    SSL *ssl;
    struct tls *with;
    struct bytes in; /* read, and not yet asked for by OpenSSL; empty between two reads */
    const char *problem;
    bool is_secured;
    bool is_ended; /* we have said that nothing more comes */
};

/* ---- between OpenSSL and the stream ---- */

static void flush(struct stream *stream)
{
    struct loop_buffers *buffers = &stream->loop->buffers;
    size_t len = buffers->cipher_len;

    buffers->cipher_len = 0;
    if (len != 0 && stream->error == 0)
        stream_put(stream, bytes_make(buffers->cipher, len));
}

/* An idle connection holds no buffers. SSL_MODE_RELEASE_BUFFERS would free and make them for every
 * record, and leaves one behind. */
static void settle(struct stream *stream)
{
    flush(stream);
    SSL_free_buffers(stream->tls->ssl);
}

static int on_bio_write(BIO *bio, const char *at, int len)
{
    struct stream *stream = BIO_get_data(bio);
    struct loop_buffers *buffers = &stream->loop->buffers;
    struct bytes left = bytes_make(at, (size_t)len);

    while (left.len != 0) {
        size_t room = sizeof(buffers->cipher) - buffers->cipher_len;
        struct bytes now = bytes_first(left, room);

        memcpy(buffers->cipher + buffers->cipher_len, now.at, now.len);
        buffers->cipher_len += now.len;
        left = bytes_skip(left, now.len);
        if (left.len != 0)
            flush(stream);
    }
    return len;
}

static int on_bio_read(BIO *bio, char *at, int len)
{
    struct stream *stream = BIO_get_data(bio);
    struct bytes now = bytes_first(stream->tls->in, (size_t)len);

    BIO_clear_retry_flags(bio);
    if (now.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(at, now.at, now.len);
    stream->tls->in = bytes_skip(stream->tls->in, now.len);
    return (int)now.len;
}

static long on_bio_control(BIO *bio, int command, long number, void *value)
{
    (void)bio;
    (void)number;
    (void)value;
    return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

static BIO_METHOD *new_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

    if (method == NULL)
        return NULL;
    BIO_meth_set_write(method, on_bio_write);
    BIO_meth_set_read(method, on_bio_read);
    BIO_meth_set_ctrl(method, on_bio_control);
    return method;
}

/* ---- failing ---- */

static void fail(struct stream *stream)
{
    struct stream_tls *tls = stream->tls;
    long verified = SSL_get_verify_result(tls->ssl);
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    if (!tls->is_secured && tls->with->verifies && verified != X509_V_OK)
        reason = X509_verify_cert_error_string(verified);
    tls->problem = reason != NULL ? reason : "broken";
    tls->in = bytes_make(NULL, 0);
    flush(stream); /* the alert */
    stream_fail(stream, ERR_TLS);
}

static bool waits_for_input(struct stream *stream, int result)
{
    return SSL_get_error(stream->tls->ssl, result) == SSL_ERROR_WANT_READ;
}

/* ---- the handshake ---- */

static struct bytes text_of(X509_NAME *name, char text[SUBJECT_MAX])
{
    BIO *memory = BIO_new(BIO_s_mem());
    int len = 0;

    if (memory != NULL && X509_NAME_print_ex(memory, name, 0, XN_FLAG_RFC2253) >= 0)
        len = BIO_read(memory, text, SUBJECT_MAX);
    BIO_free(memory);
    ERR_clear_error();
    return bytes_make(text, len > 0 ? (size_t)len : 0);
}

/* The first one, if it is short enough and fit to be shown. */
static struct bytes common_name_of(X509_NAME *name, char text[SUBJECT_MAX])
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    unsigned char *found = NULL;
    int len = at < 0 ? 0
                     : ASN1_STRING_to_UTF8(&found,
                                           X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    bool is_good = len > 0 && len < SUBJECT_MAX;

    for (int i = 0; is_good && i < len; i++)
        is_good = found[i] >= ' ' && found[i] != 127;
    if (is_good)
        memcpy(text, found, (size_t)len);
    OPENSSL_free(found);
    ERR_clear_error();
    return bytes_make(text, is_good ? (size_t)len : 0);
}

static void tell_secured(struct stream *stream)
{
    SSL *ssl = stream->tls->ssl;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    X509 *peer =
        SSL_get_verify_result(ssl) == X509_V_OK && SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE
            ? SSL_get0_peer_certificate(ssl)
            : NULL;
    char subject[SUBJECT_MAX], issuer[SUBJECT_MAX], common_name[SUBJECT_MAX];
    struct tls_facts facts = {
        .version = SSL_get_version(ssl),
        .cipher = SSL_get_cipher_name(ssl),
        .bits = (unsigned)SSL_get_cipher_bits(ssl, NULL),
        .is_resumed = SSL_session_reused(ssl) == 1,
        .server_name = bytes_make(name, name == NULL ? 0 : strlen(name)),
    };

    if (peer != NULL) {
        facts.subject = text_of(X509_get_subject_name(peer), subject);
        facts.issuer = text_of(X509_get_issuer_name(peer), issuer);
        facts.common_name = common_name_of(X509_get_subject_name(peer), common_name);
    }
    stream->events->secured(stream->owner, &facts);
}

static void shake(struct stream *stream)
{
    struct loop_handshakes *turn = &stream->loop->handshakes;

    if (turn->turn_number != stream->loop->turn_number)
        turn->count = 0;
    turn->turn_number = stream->loop->turn_number;
    turn->count++;
    ERR_clear_error();
    int result = SSL_do_handshake(stream->tls->ssl);
    if (result != 1 && !waits_for_input(stream, result)) {
        fail(stream);
        return;
    }
    settle(stream);
    if (result != 1)
        return;
    stream->tls->is_secured = true;
    tell_secured(stream);
}

bool stream_tls_must_wait(const struct stream *stream)
{
    const struct loop_handshakes *turn = &stream->loop->handshakes;

    return !stream->tls->is_secured && turn->turn_number == stream->loop->turn_number &&
           turn->count >= HANDSHAKES_A_TURN;
}

/* ---- reading ---- */

static void decrypt(struct stream *stream)
{
    struct loop_buffers *buffers = &stream->loop->buffers;
    SSL *ssl = stream->tls->ssl;
    size_t len = 0, more;
    int result;

    ERR_clear_error();
    while ((result = SSL_read_ex(ssl, buffers->plain + len, sizeof(buffers->plain) - len, &more)) ==
           1)
        len += more;
    int error = SSL_get_error(ssl, result);
    settle(stream);
    if (error == SSL_ERROR_ZERO_RETURN)
        stream_take_end(stream);
    else if (error != SSL_ERROR_WANT_READ || stream_unsent(stream) > UNSENT_MAX)
        fail(stream);
    else
        assert(stream->tls->in.len == 0);
    if (len != 0)
        stream_take_plain(stream, bytes_make(buffers->plain, len));
}

void stream_tls_take(struct stream *stream, struct bytes raw)
{
    struct stream_tls *tls = stream->tls;

    if (tls->problem != NULL || stream->has_eof) /* what comes behind the end counts for nothing */
        return;
    tls->in = raw;
    if (!tls->is_secured)
        shake(stream);
    if (tls->is_secured && !stream->is_closing && stream->error == 0)
        decrypt(stream);
    tls->in = bytes_make(NULL, 0);
}

bool stream_tls_may_end(const struct stream *stream)
{
    return stream->tls->is_secured;
}

/* ---- writing ---- */

/* Copies what goes into one record, unless the first piece fills it. */
static struct bytes gather(struct stream *stream, struct bytes *pieces, int count, size_t most)
{
    uint8_t *record = stream->loop->buffers.record;
    size_t len = 0;

    if (pieces[0].len >= most || count == 1)
        return bytes_first(pieces[0], most);
    for (int i = 0; i < count && len < most; i++) {
        struct bytes now = bytes_first(pieces[i], most - len);
        if (now.len != 0)
            memcpy(record + len, now.at, now.len);
        len += now.len;
    }
    return bytes_make(record, len);
}

/* What can be taken at once: a batch where the kernel may take it, else what may wait. */
static size_t room_of(const struct stream *stream)
{
    size_t unsent = stream_unsent(stream);

    if (stream->sending == NULL)
        return BATCH_BYTES;
    return unsent < STREAM_UNSENT_MAX ? STREAM_UNSENT_MAX - unsent : 0;
}

/* Encrypts up to `room` octets, record by record. */
static size_t encrypt(struct stream *stream, struct bytes *pieces, int count, size_t room)
{
    size_t taken = 0, written;
    int at = 0;

    while (taken < room) {
        while (at < count && pieces[at].len == 0)
            at++;
        if (at == count)
            break;
        size_t most = room - taken < LOOP_RECORD_BYTES ? room - taken : LOOP_RECORD_BYTES;
        struct bytes record = gather(stream, pieces + at, count - at, most);
        if (SSL_write_ex(stream->tls->ssl, record.at, record.len, &written) != 1) {
            fail(stream);
            return taken;
        }
        taken += written;
        for (int i = at; written > 0; i++) {
            size_t n = written < pieces[i].len ? written : pieces[i].len;
            pieces[i] = bytes_skip(pieces[i], n);
            written -= n;
        }
    }
    return taken;
}

size_t stream_tls_write(struct stream *stream, const struct bytes *pieces, int count)
{
    struct bytes left[STREAM_PIECES_MAX];
    size_t taken = 0, now;

    if (!stream->tls->is_secured || stream->tls->is_ended)
        return 0;
    if (count != 0)
        memcpy(left, pieces, (size_t)count * sizeof(*pieces));
    ERR_clear_error();
    do {
        size_t room = room_of(stream);
        now = encrypt(stream, left, count, room);
        flush(stream);
        taken += now;
        if (now < room)
            break;
    } while (now != 0 && stream->error == 0);
    settle(stream);
    return taken;
}

void stream_tls_end(struct stream *stream)
{
    struct stream_tls *tls = stream->tls;

    if (!tls->is_secured || tls->is_ended || stream->error != 0)
        return;
    tls->is_ended = true;
    ERR_clear_error();
    SSL_shutdown(tls->ssl);
    flush(stream);
}

/* ---- the peer's certificate ---- */

static void put_names(struct buf *out, const X509 *certificate)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    const char *between = ", names ";

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        int kind;
        const ASN1_STRING *text = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind);
        if (kind != GEN_DNS)
            continue;
        buf_text(out, between);
        buf_put(out, bytes_make(ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)));
        between = " ";
    }
    GENERAL_NAMES_free(names);
}

void stream_put_certificate(const struct stream *stream, struct buf *out)
{
    char text[SUBJECT_MAX], until[16];
    struct tm end;

    assert(stream_is_secured(stream));
    X509 *certificate = SSL_get0_peer_certificate(stream->tls->ssl);
    if (certificate == NULL)
        return;
    buf_text(out, "subject ");
    buf_put(out, text_of(X509_get_subject_name(certificate), text));
    buf_text(out, ", issuer ");
    buf_put(out, text_of(X509_get_issuer_name(certificate), text));
    put_names(out, certificate);
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1 &&
        strftime(until, sizeof(until), "%Y-%m-%d", &end) != 0)
        buf_cat(out, ", until ", until, NULL);
    ERR_clear_error();
}

/* ---- beginning ---- */

static void put_peer(const struct stream *stream, char text[TLS_PEER_MAX])
{
    const char *name = SSL_get_servername(stream->tls->ssl, TLSEXT_NAMETYPE_host_name);
    char address[NETADDR_TEXT_MAX] = "unix";

    if (stream->peer.family != NETADDR_NONE)
        netaddr_text_with_port(&stream->peer, address);
    snprintf(text, TLS_PEER_MAX, "%s %s", address, name != NULL ? name : "");
}

static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
    struct stream *stream = SSL_get_app_data(ssl);
    char peer[TLS_PEER_MAX];

    put_peer(stream, peer);
    tls_session_keep(stream->tls->with, peer, session);
    return 1;
}

/* The certificate must have one of the names, where it is verified. */
static bool expect_names(const struct stream *stream, const struct stream_tls_start *start)
{
    SSL *ssl = stream->tls->ssl;
    char name[256];
    bool has_name = false;

    for (size_t i = 0; i < STREAM_TLS_NAMES_MAX; i++) {
        struct bytes wanted = start->names[i];
        if (wanted.len == 0)
            continue;
        if (wanted.len >= sizeof(name))
            return false;
        memcpy(name, wanted.at, wanted.len);
        name[wanted.len] = '\0';
        if (!has_name && SSL_set_tlsext_host_name(ssl, name) != 1)
            return false;
        has_name = true;
        if (SSL_add1_host(ssl, name) != 1)
            return false;
    }
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    assert(has_name || !stream->tls->with->verifies);
    return true;
}

static bool prepare_client(struct stream *stream, const struct stream_tls_start *start)
{
    char peer[TLS_PEER_MAX];

    SSL_set_connect_state(stream->tls->ssl);
    SSL_CTX_sess_set_new_cb(SSL_get_SSL_CTX(stream->tls->ssl), on_new_session);
    if (!expect_names(stream, start))
        return false;
    put_peer(stream, peer);
    SSL_SESSION *known = tls_session_find(stream->tls->with, peer);
    return known == NULL || SSL_set_session(stream->tls->ssl, known) == 1;
}

static struct stream_tls *tls_new(struct stream *stream, struct tls *with)
{
    struct stream_tls *tls = mem_zalloc(sizeof(*tls));
    BIO *bio = NULL;

    if (with->method == NULL)
        with->method = new_method();
    if (with->method != NULL)
        bio = BIO_new(with->method);
    if (tls != NULL)
        tls->ssl = tls_new_ssl(with);
    if (tls == NULL || bio == NULL || tls->ssl == NULL) {
        BIO_free(bio);
        if (tls != NULL)
            SSL_free(tls->ssl);
        mem_free(tls);
        return NULL;
    }
    tls->with = with;
    BIO_set_data(bio, stream);
    BIO_set_init(bio, 1);
    SSL_set_bio(tls->ssl, bio, bio);
    SSL_set_app_data(tls->ssl, stream);
    return tls;
}

int stream_start_tls(struct stream *stream, const struct stream_tls_start *start,
                     size_t *dropped_out)
{
    assert(stream->tls == NULL && !stream->is_connecting);
    *dropped_out = stream->is_offering ? 0 : stream_drop_unread(stream);
    if (stream->is_closing || stream->error != 0)
        return 0;
    stream->tls = tls_new(stream, start->with);
    if (stream->tls == NULL)
        return ERR_MEMORY;
    if (!start->with->is_client) {
        SSL_set_accept_state(stream->tls->ssl);
    } else if (!prepare_client(stream, start)) {
        stream_tls_free(stream);
        return ERR_MEMORY;
    } else {
        shake(stream);
    }
    if (stream->has_eof)
        stream_fail(stream, ERR_CLOSED);
    return 0;
}

bool stream_is_secured(const struct stream *stream)
{
    return stream->tls != NULL && stream->tls->is_secured;
}

const char *stream_tls_problem(const struct stream *stream)
{
    return stream->tls == NULL ? NULL : stream->tls->problem;
}

void stream_tls_free(struct stream *stream)
{
    if (stream->tls == NULL)
        return;
    SSL_free(stream->tls->ssl);
    mem_free(stream->tls);
    stream->tls = NULL;
}
