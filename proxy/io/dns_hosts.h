/* SPDX-License-Identifier: BSD-2-Clause */
/* The hosts file: read once, at the start. */
#ifndef POSTERN_DNS_HOSTS_H
#define POSTERN_DNS_HOSTS_H

#include "proxy/base/hash.h"
#include "proxy/base/list.h"
#include "proxy/io/dns.h"

struct dns_hosts {
    struct hash_table by_name; /* for each name its first line */
    struct list all;
    uint8_t *octets; /* of the file, in lower case: names point into it */
};

/* What cannot be read, and a file that is longer than it may be, has no names. 0 or ERR_MEMORY;
 * done is legal in any case. */
int dns_hosts_read(struct dns_hosts *h, struct hash_key secret, const char *path);
void dns_hosts_done(struct dns_hosts *h);
/* Adds the addresses that it has for the name. */
void dns_hosts_find(const struct dns_hosts *h, struct bytes name, struct dns_answer *answer);

#endif
