/* SPDX-License-Identifier: BSD-2-Clause */
/* What goes wrong in a scenario beside its clients and targets, and when all is well again. */
#include <errno.h>
#include <stdio.h>

#include "proxy/io/disk.h"
#include "proxy/smtp/sasl.h"
#include "tests/sim/scenario_target.h"
#include "tests/sim/stage.h"

#define TROUBLE_MS   600000 /* things go wrong for so long at most */
#define DOWN_MAX_MS  900000
#define ALLOCATIONS  400
#define LONG_STOP_S  (UINT64_C(8) * 24 * 3600)
#define PLENTY_BYTES (UINT64_C(1) << 40)

/* A few messages reach what takes thousands otherwise. */
static void plan_limits(struct scenario *s)
{
    s->plan.limits = (struct store_limits){
        .directory_names = 1 + (uint32_t)scenario_below(s, s->plan.has_rush ? 2 : 6),
        .index_messages_min = 1 + (uint32_t)scenario_below(s, 3),
        .index_quiet_s = 1 + (uint32_t)scenario_below(s, 30),
        .records_bytes = scenario_chance(s, 30) ? 0 : 100 + scenario_below(s, 2000),
    };
}

/* Somebody's note, which no listing may stop at. */
static void put_stray(struct scenario *s)
{
    int fd;

    disk_make_directories(STAGE_SPOOL "/queue/000001");
    fd = disk_create(scenario_chance(s, 50) ? STAGE_SPOOL "/queue/0-README"
                                            : STAGE_SPOOL "/queue/000001/0-README");
    if (fd >= 0)
        disk_close(fd);
}

/* Of the disk, beside calls that fail now and then. */
static void plan_disk(struct scenario *s)
{
    s->plan.has_bad_boxes = s->plan.has_boxes && scenario_chance(s, s->plan.likes_boxes ? 60 : 20);
    s->plan.has_rot = scenario_chance(s, 25);
    if (s->plan.has_boxes)
        disk_make_directories("/mail");
    sim_disk_set_old(s->world, scenario_chance(s, 30));
    if (scenario_chance(s, 10))
        put_stray(s);
    if (scenario_chance(s, 15))
        sim_disk_without_unnamed(s->world);
}

/* Where nothing is encrypted there is a mechanism that does not show the password. */
static void plan_logins(struct scenario *s)
{
    static const uint32_t mechanisms[] = {SASL_PLAIN, SASL_LOGIN, SASL_SCRAM_SHA_256};
    struct scenario_logins *logins = &s->targets.logins;

    for (size_t i = 0; i < ARRAY_LENGTH(mechanisms); i++)
        logins->mechanisms |= scenario_chance(s, 50) ? mechanisms[i] : 0;
    if (logins->mechanisms == 0 || (s->targets.announces & STARTTLS) == 0)
        logins->mechanisms |= SASL_SCRAM_SHA_256;
    logins->are_hidden = (s->targets.announces & STARTTLS) != 0 && scenario_chance(s, 30);
}

void faults_plan(struct scenario *s)
{
    s->targets.announces = (unsigned)scenario_below(s, 64) | (s->targets.encrypts ? STARTTLS : 0);
    plan_logins(s);
    s->targets.trouble_percent = scenario_chance(s, 30) ? 0 : (unsigned)scenario_below(s, 100);
    s->heal_ms = sim_now_ms(s->world) + scenario_below(s, TROUBLE_MS);
    s->plan.has_rush = scenario_chance(s, 10);
    for (int i = 0; i < SCENARIO_BACKENDS; i++)
        if (s->plan.has_rush || scenario_chance(s, 15))
            s->targets.down_until_ms[i] = sim_now_ms(s->world) + scenario_below(s, DOWN_MAX_MS);
    s->plan.has_filter = scenario_chance(s, 30);
    s->plan.has_operator = scenario_chance(s, 30);
    s->plan.has_memory_trouble = scenario_chance(s, 15);
    s->plan.has_disk_trouble = scenario_chance(s, 25);
    s->plan.likes_boxes = s->plan.has_operator && s->plan.has_boxes && scenario_chance(s, 60);
    if (s->plan.likes_boxes) /* what waits is led there */
        s->targets.down_until_ms[0] = s->heal_ms;
    s->plan.crowds_boxes = s->plan.has_boxes && s->plan.has_hangs && scenario_chance(s, 40);
    s->plan.has_clock_trouble = scenario_chance(s, 15);
    s->targets.is_wordy = scenario_chance(s, 30);
    s->targets.refuses_reports = scenario_chance(s, 15);
    s->targets.pick_percent = scenario_chance(s, 40) ? 0 : (unsigned)scenario_below(s, 50);
    if (scenario_chance(s, 40))
        plan_limits(s);
    plan_disk(s);
}

/* ---- the wall clock ---- */

static void move_clock(struct scenario *s, int64_t jump_s)
{
    scenario_count(s, COUNT_CLOCK_JUMPS);
    if (s->is_loud)
        printf("%9llu the clock is set by %lld s\n", (unsigned long long)sim_now_ms(s->world),
               (long long)jump_s);
    ledger_clock(s);
    sim_wall_jump(s->world, jump_s * 1000);
    ledger_clock(s);
}

static void set_clock(struct scenario *s)
{
    static const uint64_t most_s[] = {3600, 12 * 3600, 6 * 24 * 3600};
    int64_t jump_s = (int64_t)scenario_below(s, most_s[scenario_below(s, ARRAY_LENGTH(most_s))]);

    move_clock(s, scenario_chance(s, 50) ? -jump_s : jump_s);
}

void faults_stop_long(struct scenario *s)
{
    if (s->plan.has_clock_trouble && !s->is_healthy && scenario_chance(s, 30))
        move_clock(s, (int64_t)scenario_below(s, LONG_STOP_S));
}

/* ---- what stays bad ---- */

static void mend_box(struct scenario *s)
{
    if (s->bad.box[0] != '\0')
        sim_disk_spoil(s->world, s->bad.box, 0);
    s->bad.box[0] = '\0';
}

/* One Maildir, or that of everybody, takes nothing for a while. */
static void spoil_box(struct scenario *s)
{
    const char *path = sim_file_below(s->world, "/mail", (unsigned)scenario_below(s, 8));
    char domain[48] = "", local[48] = "";

    mend_box(s);
    if (path != NULL && scenario_chance(s, 70) &&
        sscanf(path, "/mail/%47[^/]/%47[^/]/", domain, local) == 2)
        snprintf(s->bad.box, sizeof(s->bad.box), "/mail/%s/%s", domain, local);
    else
        snprintf(s->bad.box, sizeof(s->bad.box), "/mail");
    scenario_count(s, COUNT_BAD_BOXES);
    sim_disk_spoil(s->world, s->bad.box, scenario_chance(s, 50) ? -EACCES : -EIO);
    s->bad.since_ms = sim_now_ms(s->world);
    s->bad.failures = 0;
}

/* A file of the queue, be it a message or an index. */
static void rot(struct scenario *s)
{
    unsigned index = (unsigned)scenario_below(s, 6);
    const char *found;
    char path[128] = "";
    struct bytes octets;
    size_t most = 0;

    for (unsigned i = 0; (found = sim_file_below(s->world, STAGE_SPOOL "/queue", i)) != NULL; i++) {
        bool is_larger = sim_file(s->world, found, &octets) && octets.len > most;
        if (i == index || (index >= 3 && is_larger))
            snprintf(path, sizeof(path), "%s", found);
        if (is_larger)
            most = octets.len;
        if (i == index && index < 3)
            break;
    }
    if (path[0] == '\0')
        return;
    spool_damage(s, path,
                 scenario_chance(s, 70)   ? ROT_FLIP
                 : scenario_chance(s, 50) ? ROT_FILE
                                          : ROT_BODY);
    s->plan.has_rot = false; /* one is enough */
}

/* ---- now and then ---- */

void faults_heal(struct scenario *s)
{
    s->is_healthy = true;
    mend_box(s);
    mem_fail_nth(0);
    sim_disk_set_trouble(s->world, 0);
    sim_disk_set_free(s->world, PLENTY_BYTES);
}

void faults_storm(struct scenario *s)
{
    if (s->plan.has_disk_trouble && !s->is_healthy && scenario_chance(s, 50))
        sim_disk_set_trouble(s->world, UINT32_C(50000) << scenario_below(s, 3));
}

/* What the disk does beside its calls that fail. */
static void make_disk_trouble(struct scenario *s)
{
    if (s->plan.has_bad_boxes && scenario_chance(s, 10))
        spoil_box(s);
    else if (scenario_chance(s, 20))
        mend_box(s);
    if (s->plan.has_rot && scenario_chance(s, 15))
        rot(s);
}

/* Outages of targets and of the disk, which may also be full for a while. */
void faults_happen(struct scenario *s)
{
    make_disk_trouble(s);
    if (s->plan.has_clock_trouble && scenario_chance(s, 4))
        set_clock(s);
    for (int i = 0; i < SCENARIO_BACKENDS; i++)
        if (scenario_chance(s, 2))
            s->targets.down_until_ms[i] = sim_now_ms(s->world) + scenario_below(s, DOWN_MAX_MS);
    for (int i = 0; i < SCENARIO_BACKENDS; i++)
        if (scenario_chance(s, 1))
            s->targets.logins.locked_until_ms[i] =
                sim_now_ms(s->world) + scenario_below(s, DOWN_MAX_MS);
    if (s->plan.has_operator && scenario_chance(s, s->plan.likes_boxes ? 30 : 10))
        operator_interferes(s);
    if (life_is_starting(s)) /* it shall start */
        return;
    if (s->plan.has_memory_trouble && scenario_chance(s, 30))
        mem_fail_nth(1 + scenario_below(s, ALLOCATIONS));
    if (!s->plan.has_disk_trouble || !scenario_chance(s, 30))
        return;
    sim_disk_set_trouble(s->world,
                         scenario_chance(s, 50) ? 0 : UINT32_C(4000) << scenario_below(s, 7));
    sim_disk_set_free(s->world, scenario_chance(s, 80) ? PLENTY_BYTES : scenario_below(s, 100000));
}
