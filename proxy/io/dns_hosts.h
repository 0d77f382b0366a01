/* SPDX-License-Identifier: BSD-2-Clause */
/* The hosts file: read once, at the start. */
#ifndef POSTERN_DNS_HOSTS_H
#define POSTERN_DNS_HOSTS_H

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/io/dns.h"

struct dns_hosts {
    struct hash_table by_name; /* the first line of each name */
    struct list all;
    uint8_t *octets; /* of the file, in lower case; names point into them */
};

/* A file that cannot be read or is too long counts as empty. 0 or ERR_MEMORY; dns_hosts_done() must
 * follow in either case. */
int dns_hosts_read(struct dns_hosts *hosts, struct hash_key secret, const char *path);
void dns_hosts_done(struct dns_hosts *hosts);
/* Adds the addresses that the file has for the name. */
void dns_hosts_find(const struct dns_hosts *hosts, struct bytes name, struct dns_answer *answer);

#endif
