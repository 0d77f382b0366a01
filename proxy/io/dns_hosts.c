/* SPDX-License-Identifier: BSD-2-Clause */
/* The hosts file (hosts(5)): addresses by name. */
#include "proxy/io/dns_hosts.h"

#include "proxy/base/error.h"
#include "proxy/base/mem.h"
#include "proxy/base/text.h"
#include "proxy/io/disk.h"
#include "proxy/io/dns_uv.h"

#define FILE_BYTES_MAX 8388608

/* One name in one line. */
struct host {
    struct hash_entry by_name; /* in the table if it is the first host of that name */
    struct list link;
    struct host *next, *last; /* of the same name; `last` is set in the first one */
    struct netaddr address;
};

static struct host *find(const struct dns_hosts *hosts, struct bytes name)
{
    struct hash_entry *found = hash_table_find(&hosts->by_name, name);
    return found == NULL ? NULL : CONTAINER_OF(found, struct host, by_name);
}

static int add(struct dns_hosts *hosts, struct bytes name, const struct netaddr *address)
{
    struct host *first = find(hosts, name), *host = mem_zalloc(sizeof(*host));

    if (host == NULL)
        return ERR_MEMORY;
    list_append(&hosts->all, &host->link);
    host->address = *address;
    host->last = host;
    if (first == NULL)
        return hash_table_add(&hosts->by_name, &host->by_name, name);
    first->last->next = host;
    first->last = host;
    return 0;
}

/* An address, then its names; "#" begins a comment. */
static int read_line(struct dns_hosts *hosts, struct bytes line)
{
    struct bytes rest = bytes_first(line, bytes_find(line, '#'));
    struct netaddr address;
    int error = 0;

    if (netaddr_parse(text_word(&rest), &address) != 0)
        return 0;
    for (struct bytes name = text_word(&rest); name.len != 0 && error == 0; name = text_word(&rest))
        error = add(hosts, name, &address);
    return error;
}

int dns_hosts_read(struct dns_hosts *hosts, struct hash_key secret, const char *path)
{
    size_t len = 0;
    int error;

    hash_table_init(&hosts->by_name, secret);
    list_init(&hosts->all);
    hosts->octets = NULL;
    error = disk_read_file(path, FILE_BYTES_MAX, &hosts->octets, &len);
    if (error != 0)
        return error == ERR_MEMORY ? error : 0;
    for (size_t i = 0; i < len; i++)
        hosts->octets[i] = hosts->octets[i] == '\r' ? ' ' : byte_lower(hosts->octets[i]);
    for (struct bytes rest = bytes_make(hosts->octets, len); rest.len != 0 && error == 0;) {
        struct bytes line = bytes_first(rest, bytes_find(rest, '\n'));

        error = read_line(hosts, line);
        rest = bytes_skip(rest, line.len < rest.len ? line.len + 1 : line.len);
    }
    return error;
}

void dns_hosts_done(struct dns_hosts *hosts)
{
    hash_table_done(&hosts->by_name);
    LIST_EACH (link, &hosts->all)
        mem_free(LIST_ENTRY(link, struct host, link));
    mem_free(hosts->octets);
}

void dns_hosts_find(const struct dns_hosts *hosts, struct bytes name, struct dns_answer *answer)
{
    uint8_t lower[DNS_NAME_MAX];

    if (name.len > sizeof(lower))
        return;
    for (size_t i = 0; i < name.len; i++)
        lower[i] = byte_lower(name.at[i]);
    for (struct host *host = find(hosts, bytes_make(lower, name.len)); host != NULL;
         host = host->next)
        dns_add_address(answer, &host->address);
}
