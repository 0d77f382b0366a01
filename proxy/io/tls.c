/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts of OpenSSL: one for each certificate of a section, never one for a connection. */
#include "proxy/io/tls.h"

#include <assert.h>
#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/mem.h"
#include "proxy/io/regular.h"
#include "proxy/io/tls_uv.h"

/* ---- what can be wrong ---- */

/* `text`: what is wrong; OpenSSL's first word is added, where it has one. */
static void complain(struct tls_problem *problem, enum tls_file_kind kind, size_t index,
                     const char *text)
{
    const char *reason = ERR_reason_error_string(ERR_peek_error());

    problem->kind = kind;
    problem->index = index;
    snprintf(problem->text, sizeof(problem->text), reason == NULL ? "%s" : "%s (%s)", text, reason);
    ERR_clear_error();
}

static bool lack_memory(struct tls_problem *problem)
{
    complain(problem, TLS_FILE_NONE, 0, "out of memory");
    return false;
}

/* Nobody is there to type one. */
static int no_passphrase(char *buffer, int size, int is_for_writing, void *owner)
{
    (void)buffer;
    (void)size;
    (void)is_for_writing;
    (void)owner;
    return -1;
}

/* The file can be read, under the name that OpenSSL wants, which ends with NUL. Says why not more
 * plainly than OpenSSL would. */
static bool is_readable(struct bytes path, char name[PATH_MAX], struct tls_problem *problem,
                        enum tls_file_kind kind, size_t index)
{
    struct stat found;
    char why[REGULAR_WHY_MAX];
    int fd = regular_open(path, &found, why);

    if (fd < 0) {
        complain(problem, kind, index, why);
        return false;
    }
    close(fd);
    memcpy(name, path.at, path.len);
    name[path.len] = '\0';
    return true;
}

/* ---- what all contexts have ---- */

static bool set_up(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_default_passwd_cb(context, no_passphrase);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

static bool load_pair(SSL_CTX *context, const struct tls_settings *settings, size_t index,
                      struct tls_problem *problem)
{
    const struct tls_file *file = &settings->files[index];
    char name[PATH_MAX];

    ERR_clear_error();
    if (!is_readable(file->certificate, name, problem, TLS_FILE_CERTIFICATE, index))
        return false;
    if (SSL_CTX_use_certificate_chain_file(context, name) != 1) {
        complain(problem, TLS_FILE_CERTIFICATE, index, "holds no certificate");
        return false;
    }
    if (!is_readable(file->key, name, problem, TLS_FILE_KEY, index))
        return false;
    if (SSL_CTX_use_PrivateKey_file(context, name, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        complain(problem, TLS_FILE_KEY, index, "holds no key of the certificate");
        return false;
    }
    return true;
}

static struct tls *tls_new(size_t identities_max, struct tls_problem *problem)
{
    struct tls *tls = mem_zalloc(sizeof(*tls));

    if (tls != NULL)
        tls->identities = mem_zalloc(identities_max * sizeof(*tls->identities));
    if (tls == NULL || tls->identities == NULL) {
        tls_free(&tls);
        lack_memory(problem);
    }
    return tls;
}

void tls_free(struct tls **held)
{
    struct tls *tls = *held;

    if (tls == NULL)
        return;
    for (size_t i = 0; i < tls->identity_count; i++)
        SSL_CTX_free(tls->identities[i].context);
    for (size_t i = 0; i < TLS_SESSIONS_MAX; i++)
        SSL_SESSION_free(tls->sessions[i].session);
    BIO_meth_free(tls->method);
    mem_free(tls->identities);
    OPENSSL_cleanse(&tls->tickets, sizeof(tls->tickets));
    mem_free(tls);
    *held = NULL;
}

SSL *tls_new_ssl(const struct tls *tls)
{
    return SSL_new(tls->identities[0].context);
}

/* ---- servers: which certificate ---- */

static bool has_names_of(const X509 *one, const X509 *other)
{
    int at = X509_get_ext_by_NID(one, NID_subject_alt_name, -1);
    int other_at = X509_get_ext_by_NID(other, NID_subject_alt_name, -1);

    if (at < 0 || other_at < 0)
        return at == other_at &&
               X509_NAME_cmp(X509_get_subject_name(one), X509_get_subject_name(other)) == 0;
    return ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(X509_get_ext(one, at)),
                                 X509_EXTENSION_get_data(X509_get_ext(other, other_at))) == 0;
}

static bool has_key_of_kind(const struct tls_identity *identity, int kind)
{
    for (size_t i = 0; i < identity->kind_count; i++)
        if (identity->key_kinds[i] == kind)
            return true;
    return identity->kind_count == sizeof(identity->key_kinds) / sizeof(identity->key_kinds[0]);
}

/* A client takes one of those that an identity has, by the kinds of keys that it knows. NULL: this
 * certificate is for other names, or its kind is there already. */
static struct tls_identity *find_twin(struct tls *tls, const X509 *leaf, int kind)
{
    for (size_t i = 0; i < tls->identity_count; i++)
        if (has_names_of(tls->identities[i].leaf, leaf) &&
            !has_key_of_kind(&tls->identities[i], kind))
            return &tls->identities[i];
    return NULL;
}

static int on_server_name(SSL *ssl, int *alert, void *owner)
{
    const struct tls *tls = owner;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    if (name == NULL)
        return SSL_TLSEXT_ERR_NOACK;
    for (size_t i = 0; i < tls->identity_count; i++)
        if (X509_check_host(tls->identities[i].leaf, name, strlen(name), 0, NULL) == 1) {
            SSL_set_SSL_CTX(ssl, tls->identities[i].context);
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_NOACK; /* such a client gets the first */
}

/* ---- servers: clients' certificates ---- */

/* A client whose certificate is of no use is served as one that has none. */
static int take_any(int is_ok, X509_STORE_CTX *store)
{
    (void)is_ok;
    (void)store;
    return 1;
}

static bool load_client_ca(SSL_CTX *context, const struct tls_settings *settings,
                           struct tls_problem *problem)
{
    char name[PATH_MAX];

    if (settings->ca.len == 0)
        return true;
    if (!is_readable(settings->ca, name, problem, TLS_FILE_CA, 0))
        return false;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(name);
    if (names == NULL || SSL_CTX_load_verify_file(context, name) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        complain(problem, TLS_FILE_CA, 0, "holds no certificate");
        return false;
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, take_any);
    return true;
}

/* ---- servers: tickets ---- */

/* Of the host, not of the process; it counts while the host sleeps, too. */
static int64_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return now.tv_sec;
}

bool tls_turn(struct tls *tls)
{
    return tls->is_client || tls_tickets_turn(&tls->tickets, now_s());
}

static bool use(const struct tls_ticket_key *key, const uint8_t *iv, EVP_CIPHER_CTX *cipher,
                EVP_MAC_CTX *mac, int is_making)
{
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY,
                                                                   (void *)(uintptr_t)key->mac,
                                                                   sizeof(key->mac)),
                                 OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                 OSSL_PARAM_construct_end()};

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, is_making) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* 0: no ticket, or none that is good; 2: good, and to be renewed. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int is_making)
{
    struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    const struct tls_ticket_key *key = &tls->tickets.keys[0];

    if (!tls_turn(tls))
        return 0;
    if (!is_making)
        key = tls_tickets_find(&tls->tickets, name);
    else if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1)
        return -1;
    else
        memcpy(name, key->name, sizeof(key->name));
    if (key == NULL)
        return 0;
    if (!use(key, iv, cipher, mac, is_making))
        return -1;
    return is_making || key == &tls->tickets.keys[0] ? 1 : 2;
}

/* ---- servers ---- */

/* Tickets alone: a cache of sessions would be of this process alone. */
static bool set_up_sessions(SSL_CTX *context, struct bytes section)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len;

    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(context, TLS_TICKETS_PERIOD_S);
    return SSL_CTX_set_num_tickets(context, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket) == 1 &&
           EVP_Digest(section.at, section.len, digest, &len, EVP_sha256(), NULL) == 1 &&
           SSL_CTX_set_session_id_context(context, digest, len) == 1;
}

static SSL_CTX *new_server_context(struct tls *tls, const struct tls_settings *settings,
                                   size_t index, struct tls_problem *problem)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    bool is_good = context != NULL && set_up(context) && SSL_CTX_set_dh_auto(context, 1) == 1 &&
                   set_up_sessions(context, settings->section);

    if (!is_good)
        lack_memory(problem);
    if (is_good && settings->hears_secrets)
        SSL_CTX_set_options(context, SSL_OP_CLEANSE_PLAINTEXT);
    if (is_good)
        is_good = load_pair(context, settings, index, problem) &&
                  load_client_ca(context, settings, problem);
    if (!is_good) {
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_tlsext_servername_callback(context, on_server_name);
    SSL_CTX_set_tlsext_servername_arg(context, tls);
    SSL_CTX_set_app_data(context, tls);
    return context;
}

static bool add_server_pair(struct tls *tls, const struct tls_settings *settings, size_t index,
                            struct tls_problem *problem)
{
    SSL_CTX *context = new_server_context(tls, settings, index, problem);

    if (context == NULL)
        return false;
    X509 *leaf = SSL_CTX_get0_certificate(context);
    int kind = EVP_PKEY_get_base_id(SSL_CTX_get0_privatekey(context));
    struct tls_identity *twin = find_twin(tls, leaf, kind);
    if (twin == NULL) {
        tls->identities[tls->identity_count++] = (struct tls_identity){
            .context = context, .leaf = leaf, .key_kinds = {kind}, .kind_count = 1};
        return true;
    }
    SSL_CTX_free(context);
    twin->key_kinds[twin->kind_count++] = kind;
    return load_pair(twin->context, settings, index, problem);
}

struct tls *tls_new_server(const struct tls_settings *settings, struct tls_problem *problem_out)
{
    struct tls *tls = tls_new(settings->file_count, problem_out);

    assert(settings->file_count > 0);
    if (tls != NULL && !tls_tickets_init(&tls->tickets, now_s())) {
        tls_free(&tls);
        lack_memory(problem_out);
    }
    for (size_t i = 0; tls != NULL && i < settings->file_count; i++)
        if (!add_server_pair(tls, settings, i, problem_out))
            tls_free(&tls);
    return tls;
}

/* ---- clients ---- */

static bool load_trust(SSL_CTX *context, const struct tls_settings *settings,
                       struct tls_problem *problem)
{
    char name[PATH_MAX];
    bool is_good;

    if (!settings->verifies)
        return true;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (settings->ca.len == 0) {
        is_good = SSL_CTX_set_default_verify_paths(context) == 1;
    } else {
        if (!is_readable(settings->ca, name, problem, TLS_FILE_CA, 0))
            return false;
        is_good = SSL_CTX_load_verify_file(context, name) == 1;
    }
    if (!is_good)
        complain(problem, TLS_FILE_CA, 0, "holds no certificate");
    return is_good;
}

struct tls *tls_new_client(const struct tls_settings *settings, struct tls_problem *problem_out)
{
    struct tls *tls = tls_new(1, problem_out);

    assert(settings->file_count <= 1);
    if (tls == NULL)
        return NULL;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    tls->is_client = true;
    tls->verifies = settings->verifies;
    if (context == NULL || !set_up(context)) {
        SSL_CTX_free(context);
        lack_memory(problem_out);
        tls_free(&tls);
        return NULL;
    }
    tls->identities[tls->identity_count++].context = context;
    SSL_CTX_set_session_cache_mode(context,
                                   SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    if (!load_trust(context, settings, problem_out) ||
        (settings->file_count == 1 && !load_pair(context, settings, 0, problem_out)))
        tls_free(&tls);
    return tls;
}

static struct tls_session *find_session(struct tls *tls, const char *peer)
{
    for (size_t i = 0; i < TLS_SESSIONS_MAX; i++)
        if (strcmp(tls->sessions[i].peer, peer) == 0)
            return &tls->sessions[i];
    return NULL;
}

SSL_SESSION *tls_session_find(struct tls *tls, const char *peer)
{
    struct tls_session *found = find_session(tls, peer);
    return found == NULL ? NULL : found->session;
}

void tls_session_keep(struct tls *tls, const char *peer, SSL_SESSION *session)
{
    struct tls_session *kept = find_session(tls, peer);

    if (kept == NULL) {
        kept = &tls->sessions[tls->next_session++ % TLS_SESSIONS_MAX];
        snprintf(kept->peer, sizeof(kept->peer), "%s", peer);
    }
    SSL_SESSION_free(kept->session);
    kept->session = session;
}
