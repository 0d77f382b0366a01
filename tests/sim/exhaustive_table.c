/* SPDX-License-Identifier: BSD-2-Clause */
/* The operations of the state table in spool/README.md, each with the world before it. */
#include <stdlib.h>

#include "proxy/io/disk.h"
#include "spool/spool_format_private.h"
#include "tests/sim/exhaustive.h"
#include "tests/sim/stage.h"

#define DELAYS "delay-warning = 1h\n"

/* ---- what is done to the disk between two lives ---- */

static const char *message_path(struct sim *w)
{
    const char *path;

    for (unsigned i = 0; (path = sim_file_below(w, STAGE_SPOOL "/queue", i)) != NULL; i++)
        if (strlen(strrchr(path, '/') + 1) == ID_LENGTH)
            return path;
    sim_fault("there is no message");
}

static void write_into(struct sim *w, uint64_t at_end, uint64_t at, const char *text)
{
    const char *path = message_path(w);
    struct bytes file;
    int fd = disk_open_append(path);

    if (fd < 0 || !sim_file(w, path, &file) ||
        disk_write_at(fd, at + at_end * file.len, bytes_of(text)) != 0)
        sim_fault("it cannot be written");
    disk_close(fd);
}

static void damage_body(struct sim *w)
{
    write_into(w, 0, 70, "?");
}

/* The first outcome; later ones follow it. */
static void damage_record(struct sim *w)
{
    struct spool_head head;
    struct bytes file;

    if (!sim_file(w, message_path(w), &file) ||
        spool_head_parse(bytes_first(file, SPOOL_HEAD_BYTES), &head) != 0)
        sim_fault("it cannot be read");
    uint64_t at = spool_records_at(&head);
    while (spool_load_number(file.at + at + RECORD_TYPE, 2) != RECORD_OUTCOME)
        at += RECORD_HEAD_BYTES +
              ((spool_load_number(file.at + at + RECORD_LENGTH, 4) + 7) & ~UINT64_C(7));
    write_into(w, 0, at, "?");
}

/* What a crash may leave behind the last record. */
static void tear_tail(struct sim *w)
{
    write_into(w, 1, 0, "a part of a record");
}

/* As processes leave them that die early. */
static void leave_directories(struct sim *w)
{
    int fd;

    (void)w;
    disk_make_directories(STAGE_SPOOL "/queue/000007");
    disk_make_directories(STAGE_SPOOL "/queue/000008");
    fd = disk_create(STAGE_SPOOL "/queue/000008/owner");
    if (fd >= 0)
        disk_close(fd);
}

/* A sync of it has failed: the next record goes into a new file. */
static void distrust(struct sim *w)
{
    int fd = disk_open_append(message_path(w));

    if (fd < 0 || disk_mark(fd, DISK_MARK_UNSYNCED) != 0)
        sim_fault("it cannot be marked");
    disk_close(fd);
}

/* The time of every message is over. */
static void stop_for_long(struct sim *w)
{
    sim_wall_jump(w, INT64_C(7) * 24 * 3600 * 1000);
}

/* ... and its body cannot be read any more. */
static void lose_body(struct sim *w)
{
    sim_disk_lose(w, message_path(w), SPOOL_HEAD_BYTES, SPOOL_HEAD_BYTES + 1);
    stop_for_long(w);
}

/* ... which a new file would need. */
static void lose_body_and_distrust(struct sim *w)
{
    distrust(w);
    lose_body(w);
}

/* ---- the table ---- */

#define ONE "send ann@client.test joe@a.test"
#define SPOOLED(message)                                                                           \
    {                                                                                              \
        .seconds = 1, .targets = TARGETS_DOWN, .acts = { message }                                 \
    }
#define SPOOLED_AND(message, request)                                                              \
    {                                                                                              \
        .seconds = 1, .targets = TARGETS_DOWN, .acts = { message, request }                        \
    }
#define ASKED(request)                                                                             \
    {                                                                                              \
        .seconds = 1, .targets = TARGETS_DOWN, .acts = { request }                                 \
    }
#define INDEXED                                                                                    \
    {                                                                                              \
        .seconds = 3, .targets = TARGETS_DOWN                                                      \
    }
#define TRIED_UNTIL(s)                                                                             \
    {                                                                                              \
        .seconds = s, .targets = TARGETS_STRICT                                                    \
    }
#define TRIED                                                                                      \
    {                                                                                              \
        .seconds = 3, .targets = TARGETS_STRICT                                                    \
    }

const struct operation exhaustive_operations[] = {
    {.name = "take over the first message", .life = SPOOLED(ONE)},
    {.name = "take over one more",
     .before = {SPOOLED(ONE)},
     .life = SPOOLED("send ann@client.test jim@a.test jane@a.test")},
    {.name = "take over a copy that has spilled",
     .life = SPOOLED("big ann@client.test joe@a.test")},
    {.name = "prepare, deliver, commit",
     .life = {.seconds = 2,
              .targets = TARGETS_STRICT,
              .acts = {"send ann@client.test joe@a.test jim@box.test later@b.test"}}},
    {.name = "fill directories",
     .limits = LIMITS_LOW,
     .life = {.seconds = 2,
              .targets = TARGETS_DOWN,
              .acts = {ONE, "send ann@client.test jim@a.test", "send ann@client.test jo@a.test"}}},
    {.name = "start among what others left",
     .life = {.seconds = 2, .targets = TARGETS_DOWN, .touch = leave_directories}},
    {.name = "deliver to a Maildir",
     .life = SPOOLED("send ann@client.test joe@box.test jim@box.test")},
    {.name = "deliver", .before = {SPOOLED(ONE)}, .life = TRIED},
    {.name = "put off", .before = {SPOOLED("send ann@client.test later@a.test")}, .life = TRIED},
    {.name = "put off, and again",
     .before = {SPOOLED("send ann@client.test later@a.test")},
     .life = {.seconds = 62, .targets = TARGETS_STRICT}},
    {.name = "deliver to one, put the other off",
     .before = {SPOOLED("send ann@client.test joe@a.test later@a.test")},
     .life = TRIED},
    {.name = "deliver to one, return the other",
     .before = {SPOOLED("send ann@client.test joe@a.test no@a.test")},
     .mercy = MERCY_TAKEN_TOO,
     .life = TRIED},
    {.name = "return one, put the other off",
     .before = {SPOOLED("send ann@client.test no@a.test later@a.test")},
     .mercy = MERCY_TAKEN_TOO,
     .life = TRIED},
    {.name = "return all",
     .before = {SPOOLED("send ann@client.test no@a.test")},
     .mercy = MERCY_TAKEN_TOO,
     .life = TRIED},
    {.name = "report a success",
     .before = {SPOOLED("send ann@client.test dsn@a.test later@a.test")},
     .life = TRIED},
    {.name = "warn of a delay",
     .settings = DELAYS,
     .before = {SPOOLED("send ann@client.test later@a.test"), TRIED_UNTIL(3590)},
     .life = {.seconds = 20, .targets = TARGETS_STRICT}},
    {.name = "expire",
     .before = {SPOOLED("send ann@client.test later@a.test"), TRIED_UNTIL(6 * 3600 - 10)},
     .mercy = MERCY_TAKEN_TOO,
     .life = {.seconds = 20, .targets = TARGETS_STRICT}},
    {.name = "try once more when its time is over",
     .before = {SPOOLED(ONE), {.seconds = 6 * 3600 - 10, .targets = TARGETS_FULL}},
     .life = {.seconds = 1, .targets = TARGETS_KIND}},
    {.name = "deliver after a long stop",
     .before = {SPOOLED(ONE)},
     .life = {.seconds = 3, .targets = TARGETS_STRICT, .touch = stop_for_long}},
    {.name = "return what cannot be read",
     .before = {SPOOLED("send ann@client.test later@a.test later@b.test")},
     .life = {.seconds = 60, .targets = TARGETS_STRICT, .touch = lose_body}},
    {.name = "return what can neither be read nor written",
     .before = {SPOOLED("send ann@client.test later@a.test later@b.test")},
     .life = {.seconds = 3, .targets = TARGETS_STRICT, .touch = lose_body_and_distrust}},
    {.name = "hold what can neither be read nor written",
     .before = {SPOOLED("send - nobody@a.test")},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = {.seconds = 3, .targets = TARGETS_STRICT, .touch = lose_body_and_distrust}},
    {.name = "hold what nobody can be told of",
     .before = {SPOOLED("send - nobody@a.test")},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = TRIED},
    {.name = "hold what nobody can be told of, in a new file",
     .before = {SPOOLED("send - nobody@a.test")},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = {.seconds = 3, .targets = TARGETS_STRICT, .touch = distrust}},
    {.name = "hold",
     .before = {SPOOLED(ONE)},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = ASKED("hold ID")},
    {.name = "release",
     .before = {SPOOLED_AND(ONE, "hold ID")},
     .mercy = MERCY_HELD,
     .duty = DUTY_DELIVERED,
     .life = ASKED("release ID")},
    {.name = "delete",
     .before = {SPOOLED(ONE)},
     .mercy = MERCY_GONE,
     .duty = DUTY_NOT_THERE,
     .life = ASKED("delete ID")},
    {.name = "delete what is held",
     .before = {SPOOLED_AND(ONE, "hold ID")},
     .mercy = MERCY_GONE | MERCY_HELD,
     .duty = DUTY_NOT_THERE,
     .life = ASKED("delete ID")},
    {.name = "return by the operator",
     .before = {SPOOLED(ONE)},
     .duty = DUTY_NOT_DELIVERED,
     .life = ASKED("bounce ID")},
    {.name = "return what is held",
     .before = {SPOOLED_AND(ONE, "hold ID")},
     .mercy = MERCY_HELD,
     .duty = DUTY_NOT_DELIVERED,
     .life = ASKED("bounce ID")},
    {.name = "reroute",
     .before = {SPOOLED(ONE)},
     .duty = DUTY_TARGET_B,
     .life = ASKED("reroute ID to b")},
    {.name = "reroute into a Maildir",
     .before = {SPOOLED(ONE)},
     .life = ASKED("reroute ID to box")},
    {.name = "make an index",
     .limits = LIMITS_LOW,
     .before = {SPOOLED(ONE)},
     .life = {.seconds = 2, .targets = TARGETS_DOWN}},
    {.name = "put off, with an index there",
     .limits = LIMITS_LOW,
     .before = {SPOOLED("send ann@client.test later@a.test"), INDEXED},
     .life = TRIED},
    {.name = "reroute, with an index there",
     .limits = LIMITS_LOW,
     .before = {SPOOLED(ONE), INDEXED},
     .duty = DUTY_TARGET_B,
     .life = ASKED("reroute ID to b")},
    {.name = "hold, with an index there",
     .limits = LIMITS_LOW,
     .before = {SPOOLED(ONE), INDEXED},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = ASKED("hold ID")},
    {.name = "put off, and write the file anew",
     .limits = LIMITS_REWRITE,
     .before = {SPOOLED("send ann@client.test later@a.test")},
     .life = TRIED},
    {.name = "deliver to one, return one, and write the file anew",
     .limits = LIMITS_REWRITE,
     .before = {SPOOLED("send ann@client.test joe@a.test no@a.test later@a.test")},
     .mercy = MERCY_TAKEN_TOO,
     .life = TRIED},
    {.name = "hold, and write the file anew",
     .limits = LIMITS_REWRITE,
     .before = {SPOOLED(ONE)},
     .mercy = MERCY_HELD,
     .duty = DUTY_HELD,
     .life = ASKED("hold ID")},
    {.name = "reroute, and write a long file anew",
     .limits = LIMITS_REWRITE,
     .before = {SPOOLED("big ann@client.test joe@a.test")},
     .duty = DUTY_TARGET_B,
     .life = ASKED("reroute ID to b")},
    {.name = "take over, without unnamed files",
     .file_system = FS_WITHOUT_UNNAMED,
     .life = SPOOLED(ONE)},
    {.name = "return all, without unnamed files",
     .file_system = FS_WITHOUT_UNNAMED,
     .before = {SPOOLED("send ann@client.test no@a.test")},
     .mercy = MERCY_TAKEN_TOO,
     .life = TRIED},
    {.name = "put off, and write the file anew, without unnamed files",
     .file_system = FS_WITHOUT_UNNAMED,
     .limits = LIMITS_REWRITE,
     .before = {SPOOLED("send ann@client.test later@a.test")},
     .life = TRIED},
    {.name = "deliver to a Maildir, moved by links",
     .file_system = FS_WITHOUT_MOVE,
     .life = SPOOLED("send ann@client.test joe@box.test jim@box.test")},
    {.name = "set aside what is damaged",
     .before = {SPOOLED(ONE)},
     .mercy = MERCY_BAD,
     .life = {.seconds = 2, .targets = TARGETS_STRICT, .touch = damage_body}},
    {.name = "set aside what has a damaged record before a later one",
     .before = {SPOOLED("send ann@client.test joe@a.test later@a.test"), TRIED_UNTIL(65)},
     .mercy = MERCY_BAD,
     .life = {.seconds = 2, .targets = TARGETS_STRICT, .touch = damage_record}},
    {.name = "cut a torn end",
     .before = {SPOOLED(ONE)},
     .life = {.seconds = 1, .targets = TARGETS_DOWN, .acts = {"fsck"}, .touch = tear_tail}},
    {.name = "write behind a torn end",
     .before = {SPOOLED("send ann@client.test joe@a.test later@a.test")},
     .life = {.seconds = 3, .targets = TARGETS_STRICT, .touch = tear_tail}},
};

const unsigned exhaustive_operation_count = ARRAY_LENGTH(exhaustive_operations);
