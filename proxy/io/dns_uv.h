/* SPDX-License-Identifier: BSD-2-Clause */
/* DNS on c-ares and libuv: what dns.c and the dns_*.c files share. */
#ifndef POSTERN_DNS_UV_H
#define POSTERN_DNS_UV_H

#include <ares.h>

#include "proxy/base/buf.h"
#include "proxy/base/list.h"
#include "proxy/io/deadline.h"
#include "proxy/io/dns.h"
#include "proxy/io/dns_cache.h"
#include "proxy/io/dns_hosts.h"
#include "proxy/io/work.h"

/* c-ares with one set of name servers. */
struct dns_channel {
    struct work making;
    struct list link;  /* dns.channels */
    struct dns *dns;   /* NULL: it has gone while the channel was made */
    ares_channel ares; /* NULL: no memory */
    struct list sockets;
    unsigned due; /* responses that it owes */
};

struct dns {
    struct loop *loop;
    struct list channels;
    struct dns_channel *channel; /* is asked; the others only owe responses */
    struct dns_channel *coming;  /* is made; NULL: none */
    uint32_t channel_count;      /* so far; tells questions to different servers apart */
    struct dns_watch *watch;     /* of resolv.conf; NULL: not of interest */
    struct deadline renewing;
    struct deadline tick;        /* armed while c-ares has questions */
    struct hash_table questions; /* all that c-ares has */
    struct list in_time;         /* questions that may still be answered, the oldest first */
    struct list of_clients;      /* questions that are for clients */
    unsigned of_client_count;
    struct list answered; /* queries whose posts are under way */
    struct dns_hosts hosts;
    struct dns_cache cache;
    bool is_ticking, is_ending;
};

/* What one owner asked for. */
struct dns_query {
    struct dns *dns;
    struct list link; /* question.queries, or dns.answered */
    struct loop_post telling;
    dns_callback *fn;
    void *owner;
    struct dns_answer *answer; /* NULL: DNS_TEMPORARY; its records follow in the same block */
};

/* What an answer consists of: addresses and names that are ready for use, or records. */
enum dns_form { DNS_FORM_HOSTS, DNS_FORM_RECORDS };

/* dns.c: tells the owner by a post. NULL: DNS_TEMPORARY. */
void dns_answer_later(struct dns_query *query, const struct dns_answer *answer);

/* dns_question.c */
void dns_questions_init(struct dns *dns);
/* Answers the query from the cache, or when the name servers have answered; equal questions are
 * asked once. A and AAAA hosts are asked for together. `client` NULL: the query is for a target. */
void dns_question_ask(struct dns_query *query, enum dns_form form, enum dns_type type,
                      const char *name, const struct netaddr *client);
/* Frees the waiting queries, and c-ares. */
void dns_questions_done(struct dns *dns);

/* dns_channel.c */
/* As dns_new(). dns_channels_done() must follow in either case. */
int dns_channels_init(struct dns *dns, const struct bytes *servers, int count);
void dns_channels_done(struct dns *dns); /* calls back for what is due */
/* Lets c-ares look at its time-outs. */
void dns_channels_tick(struct dns *dns);

/* dns_socket.c */
void dns_socket_changed(void *channel, ares_socket_t fd, int wants_read, int wants_write);

/* IPv4 comes first, otherwise the order is kept; addresses that do not fit are left out. */
void dns_add_address(struct dns_answer *answer, const struct netaddr *address);
/* Adds the records of one response that fit the question: A and AAAA, or PTR, or MX. Without such a
 * record `ttl_s` is at most for how long that holds (RFC 2308). False: the response is garbage;
 * what was added before stays. `octets` are hostile. */
bool dns_parse_response(struct bytes octets, enum dns_type wanted, struct dns_answer *answer);
/* Likewise, for records of exactly this type: adds them to `records`, and counts them in the
 * answer.
 */
bool dns_parse_records(struct bytes octets, enum dns_type wanted, struct buf *records,
                       struct dns_answer *answer);
static inline unsigned dns_answer_count(const struct dns_answer *answer)
{
    return (unsigned)(answer->address_count + answer->name_count) + answer->record_count;
}

#endif
