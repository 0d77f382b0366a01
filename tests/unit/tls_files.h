/* SPDX-License-Identifier: BSD-2-Clause */
/* Certificates and keys for tests, made as they are needed, in a directory of their own. */
#ifndef POSTERN_TLS_FILES_H
#define POSTERN_TLS_FILES_H

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/io/tls.h"
#include "tests/unit/lib.h"

#define A_DAY_S 86400

static char tls_directory[] = "/tmp/postern-tls-XXXXXX";

/* The name of a file there; valid until the next eight calls. */
static inline struct bytes tls_path(const char *name, const char *ending)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % 8];

    snprintf(path, sizeof(paths[0]), "%s/%s.%s", tls_directory, name, ending);
    return bytes_of(path);
}

static inline FILE *tls_open(const char *name, const char *ending, const char *how)
{
    FILE *file = fopen((const char *)tls_path(name, ending).at, how);

    assert_non_null(file);
    return file;
}

static inline X509 *tls_read(const char *name, EVP_PKEY **key_out)
{
    FILE *pem = tls_open(name, "pem", "re"), *key = tls_open(name, "key", "re");
    X509 *certificate = PEM_read_X509(pem, NULL, NULL, NULL);

    *key_out = PEM_read_PrivateKey(key, NULL, NULL, NULL);
    fclose(pem);
    fclose(key);
    assert_non_null(certificate);
    assert_non_null(*key_out);
    return certificate;
}

static inline void tls_write(const char *name, X509 *certificate, EVP_PKEY *key)
{
    FILE *pem = tls_open(name, "pem", "we"), *secret = tls_open(name, "key", "we");

    assert_int_equal(PEM_write_X509(pem, certificate), 1);
    assert_int_equal(PEM_write_PrivateKey(secret, key, NULL, NULL, 0, NULL, NULL), 1);
    assert_int_equal(fclose(pem), 0);
    assert_int_equal(fclose(secret), 0);
}

static inline void tls_extend(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, NULL, nid, value);

    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* DIR/NAME.pem and DIR/NAME.key, valid until `seconds` from now, for the host names in `names`
 * ("DNS:a,DNS:b"; NULL: an authority), signed by the pair that bears the name `issuer` (NULL: by
 * itself). */
static inline void tls_make(const char *name, const char *names, const char *issuer,
                            EVP_PKEY *(*make_key)(void), long seconds)
{
    X509 *certificate = X509_new(), *by = certificate;
    EVP_PKEY *key = make_key(), *signing = key;
    X509_NAME *subject = X509_get_subject_name(certificate);

    assert_non_null(key);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), rand());
    X509_gmtime_adj(X509_getm_notBefore(certificate), -2L * A_DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
    X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"Example", -1, -1,
                               0);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_pubkey(certificate, key);
    if (issuer != NULL)
        by = tls_read(issuer, &signing);
    X509_set_issuer_name(certificate, X509_get_subject_name(by));
    tls_extend(certificate, NID_basic_constraints, names == NULL ? "critical,CA:TRUE" : "CA:FALSE");
    if (names != NULL)
        tls_extend(certificate, NID_subject_alt_name, names);
    assert_true(X509_sign(certificate, signing, EVP_sha256()) > 0);
    tls_write(name, certificate, key);
    if (issuer != NULL) {
        X509_free(by);
        EVP_PKEY_free(signing);
    }
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static inline EVP_PKEY *tls_ec(void)
{
    return EVP_EC_gen("P-256");
}

static inline EVP_PKEY *tls_rsa(void)
{
    return EVP_RSA_gen(2048);
}

static inline struct tls_file tls_pair(const char *name)
{
    return (struct tls_file){.certificate = tls_path(name, "pem"), .key = tls_path(name, "key")};
}

static inline struct tls *tls_server(const char *section, const char *const *names, const char *ca)
{
    struct tls_file files[4];
    struct tls_problem problem = {.kind = TLS_FILE_NONE};
    struct tls_settings settings = {.section = bytes_of(section), .files = files};

    for (; names[settings.file_count] != NULL; settings.file_count++)
        files[settings.file_count] = tls_pair(names[settings.file_count]);
    if (ca != NULL)
        settings.ca = tls_path(ca, "pem");
    struct tls *tls = tls_new_server(&settings, &problem);
    if (tls == NULL)
        fail_msg("no server: %s", problem.text);
    return tls;
}

/* `ca` NULL: it verifies nothing. */
static inline struct tls *tls_client(const char *name, const char *ca)
{
    struct tls_file file;
    struct tls_problem problem = {.kind = TLS_FILE_NONE};
    struct tls_settings settings = {.section = bytes_of("client"), .verifies = ca != NULL};

    if (name != NULL) {
        file = tls_pair(name);
        settings.files = &file;
        settings.file_count = 1;
    }
    if (ca != NULL)
        settings.ca = tls_path(ca, "pem");
    struct tls *tls = tls_new_client(&settings, &problem);
    if (tls == NULL)
        fail_msg("no client: %s", problem.text);
    return tls;
}

static inline void tls_make_directory(void)
{
    assert_non_null(mkdtemp(tls_directory));
    tls_make("authority", NULL, NULL, tls_ec, A_DAY_S);
    tls_make("mx.example.org", "DNS:mx.example.org", "authority", tls_ec, A_DAY_S);
}

static inline void tls_remove_directory(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", tls_directory);
    assert_int_equal(system(command), 0);
}

#endif
