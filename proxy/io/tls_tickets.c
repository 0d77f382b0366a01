/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxy/io/tls_tickets.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

/* SHA-256 of a word and the seed. */
static bool derive(const uint8_t seed[32], const char *word, uint8_t out[32])
{
    EVP_MD_CTX *hash = EVP_MD_CTX_new();
    bool is_good = hash != NULL && EVP_DigestInit_ex(hash, EVP_sha256(), NULL) == 1 &&
                   EVP_DigestUpdate(hash, word, strlen(word)) == 1 &&
                   EVP_DigestUpdate(hash, seed, 32) == 1 &&
                   EVP_DigestFinal_ex(hash, out, NULL) == 1;

    EVP_MD_CTX_free(hash);
    return is_good;
}

static bool make_key(const uint8_t seed[32], struct tls_ticket_key *key_out)
{
    uint8_t name[32];
    bool is_good = derive(seed, "name", name) && derive(seed, "cipher", key_out->cipher) &&
                   derive(seed, "mac", key_out->mac);

    memcpy(key_out->name, name, sizeof(key_out->name));
    return is_good;
}

static bool turn_once(struct tls_tickets *tickets)
{
    struct tls_tickets next = {.period = tickets->period + 1};
    bool is_good = derive(tickets->seed, "next", next.seed) && make_key(next.seed, &next.keys[0]);

    next.keys[1] = tickets->keys[0];
    if (is_good)
        *tickets = next;
    OPENSSL_cleanse(&next, sizeof(next));
    return is_good;
}

/* Nobody has a ticket of the period before: its key is one that nobody can know. */
bool tls_tickets_init(struct tls_tickets *tickets, int64_t now_s)
{
    *tickets = (struct tls_tickets){.period = now_s / TLS_TICKETS_PERIOD_S};
    return RAND_priv_bytes(tickets->seed, sizeof(tickets->seed)) == 1 &&
           RAND_priv_bytes((uint8_t *)&tickets->keys[1], sizeof(tickets->keys[1])) == 1 &&
           make_key(tickets->seed, &tickets->keys[0]);
}

bool tls_tickets_turn(struct tls_tickets *tickets, int64_t now_s)
{
    while (tickets->period < now_s / TLS_TICKETS_PERIOD_S)
        if (!turn_once(tickets))
            return false;
    return true;
}

const struct tls_ticket_key *tls_tickets_find(const struct tls_tickets *tickets,
                                              const uint8_t name[TLS_TICKET_NAME])
{
    for (size_t i = 0; i < 2; i++)
        if (memcmp(tickets->keys[i].name, name, TLS_TICKET_NAME) == 0)
            return &tickets->keys[i];
    return NULL;
}
