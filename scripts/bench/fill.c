/* SPDX-License-Identifier: BSD-2-Clause */
/* Fills a spool with messages that wait: fill SPOOL COUNT
 *
 * Each has one recipient, in one of 50 domains, and a body of about a kilobyte; nothing is synced.
 * Their target is that of the benchmark's configuration. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/base/hash.h"
#include "scripts/bench/common.h"
#include "spool/spool_format.h"

#define DIRECTORY_NAMES 1000
#define BODY_BYTES      1024
#define TARGET          "r3601-2690"

static uint64_t wall_ms(void)
{
    struct timeval now;

    gettimeofday(&now, NULL);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_usec / 1000;
}

static struct bytes make_body(uint8_t body[BODY_BYTES])
{
    static const char header[] = "Subject: waiting\r\n\r\n";

    memset(body, 'x', BODY_BYTES);
    memcpy(body, header, sizeof(header) - 1);
    for (size_t i = 78; i + 1 < BODY_BYTES; i += 79)
        memcpy(body + i, "\r\n", 2);
    memcpy(body + BODY_BYTES - 2, "\r\n", 2);
    return bytes_make(body, BODY_BYTES);
}

/* One recipient has never been tried. */
static void put_records(const struct spool_message *m, unsigned long number, struct buf *out)
{
    char domain[32];
    struct spool_writer w = {.id = m->head.id, .at = spool_records_at(&m->head), .out = out};
    struct spool_recipient r = {.target = bytes_of(TARGET), .fate = FATE_OPEN};

    snprintf(domain, sizeof(domain), "d%lu.example.test", number % 50);
    r.original.local = bytes_of("joe");
    r.original.domain = bytes_of(domain);
    r.to = r.original;
    spool_put_message(&w, m);
    spool_put_recipient(&w, &r);
}

static void write_message(const char *path, struct bytes head, struct bytes body,
                          struct bytes records)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

    if (fd < 0 || write(fd, head.at, head.len) != (ssize_t)head.len ||
        write(fd, body.at, body.len) != (ssize_t)body.len ||
        write(fd, records.at, records.len) != (ssize_t)records.len || close(fd) != 0)
        bench_die("cannot write a message");
}

static void make_directory(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        bench_die("cannot make a directory");
}

int main(int argc, char **argv)
{
    unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    struct id_source ids = {.process = 1};
    uint8_t body_octets[BODY_BYTES], head[SPOOL_HEAD_BYTES];
    struct bytes body = make_body(body_octets);
    struct spool_message m = {.recipient_count = 1, .listener = bytes_of("s3601")};
    struct pool pool;
    char path[4096];

    if (count == 0)
        bench_die("usage: fill SPOOL COUNT");
    pool_init(&pool, 4096, 4);
    m.head.body_bytes = body.len;
    m.head.body_sum = hash_chain(0, body);
    m.envelope.from.local = bytes_of("sender");
    m.envelope.from.domain = bytes_of("example.org");
    m.hostname = bytes_of("bench.example.test");
    m.arrived_ms = (int64_t)wall_ms();
    snprintf(path, sizeof(path), "%s/queue", argv[1]);
    make_directory(path);
    for (unsigned long i = 0; i < count; i++) {
        struct buf records;

        if (i % DIRECTORY_NAMES == 0) {
            snprintf(path, sizeof(path), "%s/queue/%06lu", argv[1], i / DIRECTORY_NAMES + 1);
            make_directory(path);
        }
        m.head.id = id_next(&ids, wall_ms());
        m.envelope.id = m.head.id;
        spool_head_put(&m.head, head);
        buf_init(&records, &pool, 65536);
        put_records(&m, i, &records);
        snprintf(path, sizeof(path), "%s/queue/%06lu/%s", argv[1], i / DIRECTORY_NAMES + 1,
                 m.head.id.text);
        write_message(path, bytes_make(head, sizeof(head)), body, buf_bytes(&records));
        buf_done(&records);
    }
    pool_done(&pool);
    return 0;
}
