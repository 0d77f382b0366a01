/* SPDX-License-Identifier: BSD-2-Clause */
/* Plays one transcript in every way: whole, every split in two, octet by octet, with several seeds,
 * and with each allocation failing.
 *
 * play FILE             all of them; exit status 0: passed
 * play FILE whole       once, and prints what is said
 * play FILE bytes | seed N | cut C1 N | cut T1 N | fail N   this one alone, likewise */
/* needs: tests/transcripts/script.c tests/transcripts/actor.c tests/transcripts/filter.c */
/* needs: tests/transcripts/perform.c tests/transcripts/perform_expect.c tests/unit/edit_words.c */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/stage.h"
#include "tests/transcripts/perform.h"

#define SEEDS     16
#define CUTS_MAX  240   /* for each actor; more octets are cut at as many places */
#define MUCH      20000 /* octets: more is not played octet by octet, and in fewer ways */
#define MUCH_WAYS 8
#define FAILS_MAX 1500

struct piece {
    const struct script *script;
    const struct config *config;
    bool is_much;
    uint64_t allocations;
};

static bool play(struct piece *p, const struct way *way)
{
    return perform(p->script, p->config, way, &p->allocations);
}

static struct sim_ways ways_of(uint64_t seed, bool is_much)
{
    static const uint32_t windows[] = {0, 1000, 64, 7};

    return (struct sim_ways){
        .shuffles = true, .cuts = true, .window_bytes = is_much ? 0 : windows[seed % 4]};
}

static bool play_cuts(struct piece *p, bool is_target, unsigned actor)
{
    uint64_t octets = script_octets(p->script, is_target, actor);
    uint64_t step = octets / (p->is_much ? MUCH_WAYS : CUTS_MAX) + 1;

    for (uint64_t at = 1; at < octets; at += step) {
        char name[64];
        struct way way = {
            .name = name, .seed = 1, .cuts_target = is_target, .cut_actor = actor, .cut_at = at};
        snprintf(name, sizeof(name), "cut %c%u %llu", is_target ? 'T' : 'C', actor + 1,
                 (unsigned long long)at);
        if (!play(p, &way))
            return false;
    }
    return true;
}

static bool play_splits(struct piece *p)
{
    struct way bytes = {.name = "bytes", .seed = 1, .is_bytewise = true};

    for (unsigned i = 0; i < SCRIPT_ACTORS; i++)
        if (!play_cuts(p, false, i) || !play_cuts(p, true, i))
            return false;
    if (!p->is_much && !play(p, &bytes))
        return false;
    for (uint64_t seed = 1; seed <= (p->is_much ? 2 : SEEDS); seed++) {
        char name[64];
        struct way way = {.name = name, .seed = seed, .sim = ways_of(seed, p->is_much)};
        snprintf(name, sizeof(name), "seed %llu", (unsigned long long)seed);
        if (!play(p, &way))
            return false;
    }
    return true;
}

/* Until a performance asks for fewer than n. */
static bool play_failures(struct piece *p)
{
    uint64_t n = 0;

    do {
        char name[64];
        n += p->is_much ? 1 + n / 3 : n < FAILS_MAX ? 1 : n / 20;
        struct way way = {.name = name, .seed = 1, .fail_nth = n};
        snprintf(name, sizeof(name), "fail %llu", (unsigned long long)n);
        if (!play(p, &way))
            return false;
    } while (p->allocations >= n);
    return true;
}

static bool play_all(struct piece *p)
{
    struct way whole = {.name = "whole", .seed = 1};

    return play(p, &whole) && (p->script->is_whole || play_splits(p)) && play_failures(p);
}

static bool play_one(struct piece *p, int argc, char **argv)
{
    struct way way = {.name = argv[2], .seed = 1, .is_loud = true};

    if (strcmp(argv[2], "bytes") == 0) {
        way.is_bytewise = true;
    } else if (strcmp(argv[2], "seed") == 0 && argc > 3) {
        way.seed = strtoull(argv[3], NULL, 10);
        way.sim = ways_of(way.seed, p->is_much);
    } else if (strcmp(argv[2], "fail") == 0 && argc > 3) {
        way.fail_nth = strtoull(argv[3], NULL, 10);
    } else if (strcmp(argv[2], "cut") == 0 && argc > 4) {
        way.cuts_target = argv[3][0] == 'T';
        way.cut_actor = (unsigned)strtoul(argv[3] + 1, NULL, 10) - 1;
        way.cut_at = strtoull(argv[4], NULL, 10);
    }
    return play(p, &way);
}

int main(int argc, char **argv)
{
    struct script script;
    struct config *config;
    bool is_fine;

    if (argc < 2) {
        fprintf(stderr, "play FILE [whole | bytes | seed N | cut ACTOR N | fail N]\n");
        return 2;
    }
    script_read(argv[1], &script);
    config = stage_config(script.config);
    if (config == NULL)
        return 2;
    struct piece piece = {.script = &script, .config = config};
    for (unsigned i = 0; i < SCRIPT_ACTORS; i++)
        piece.is_much = piece.is_much || script_octets(&script, false, i) > MUCH;
    is_fine = argc > 2 ? play_one(&piece, argc, argv) : play_all(&piece);
    config_free(&config);
    script_free(&script);
    return is_fine ? 0 : 1;
}
