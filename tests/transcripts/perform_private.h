/* SPDX-License-Identifier: BSD-2-Clause */
/* One performance: what perform*.c, and nobody else, know of each other. */
#ifndef POSTERN_PERFORM_PRIVATE_H
#define POSTERN_PERFORM_PRIVATE_H

#include "tests/transcripts/filter.h"
#include "tests/transcripts/perform.h"

struct play {
    const struct script *script;
    const struct way *way;
    struct sim *world;
    size_t at;
    struct actor clients[SCRIPT_ACTORS], targets[SCRIPT_ACTORS];
    struct scripted filter;
    unsigned targets_known;
    size_t log_at;
    bool has_begun, has_failed, is_over;
    bool is_wreck; /* a failing allocation has changed the story: only promises count now */
    uint64_t allocations;
};

/* The script's story did not come true. */
void perform_fail(struct play *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct actor *perform_actor(struct play *p, const struct step *step);
void perform_name(const struct play *p, const struct actor *a, char text[16]);

/* perform_expect.c */
bool perform_is_expectation(const struct step *step);
bool perform_expect(struct play *p, const struct step *step);
/* Nothing has happened that no line of the script told. */
bool perform_is_settled(struct play *p, const struct step *next);

#endif
