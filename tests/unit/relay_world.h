/* SPDX-License-Identifier: BSD-2-Clause */
/* A relay between carriers and scripted targets, all of it simulated: a scenario is a list of
 * steps, each taken when nothing more can happen before time passes. */
#ifndef POSTERN_RELAY_WORLD_H
#define POSTERN_RELAY_WORLD_H

#include <stdint.h>

#include "route/relay/relay_conf.h"
#include "tests/unit/lib.h"

enum relay_verb {
    STEP_END, /* of the list */
    /* targets, by the order in which they were connected to */
    ACCEPT,
    REFUSE,
    SAY,      /* text */
    HEAR,     /* text: all that has come since the last one */
    HEAR_END, /* text: how that ends */
    CLOSE,
    NOBODY, /* no further connection was asked for: there is no such target */
    LEFT,   /* postern has closed the connection */
    OPEN,   /* it has not */
    /* clients: 0 to 8; 3 is of a net of its own */
    MAIL, /* text: its parameters */
    RCPT, /* text: the local part, maybe a blank and parameters; with "!" in front its guard is
             RELAYING_DENIED, with "*" its route names no domain, with "?" it is unverified */
    DATA,
    CONTENT, /* text */
    END,
    WHOLE,   /* text: the last of the content, and its end, in one go */
    SHOW,    /* text: "7 FIELDS": the relay gets these, and the content from octet 7 on */
    NAMED,   /* the client's name is known: text; empty: there is none */
    GIVE_UP, /* RSET */
    LEAVE,   /* the session ends, or another EHLO is said */
    SPOOLED, /* it is a delivery of the spool; text: who it was told by in its session: "xclient",
                "xforward", "proxy-v1", "none" (a report); "": nobody was reached then */
    SEES,    /* text: what it was told since the last time, "a=250 go end=250 "; a "?" behind a
                number: accepted in the target's stead */
    WORDS,   /* text: the last reply of all */
    FACTS,   /* text: "ADDRESS IDENTITY [reused] [replayed] [duplicate]" of the last branch */
    /* the relay */
    WARM,
    STOP,    /* close() */
    NAMES,   /* text: the addresses of t.test from now on; number 1: of u.test */
    MX,      /* text: the MX records of relay from now on, see sim_dns(); empty: no answer */
    PASS,    /* number: milliseconds */
    CAME_UP, /* number: how often it was told since the last time that the target is there again */
    LOGGED,  /* text: in some line since the last time */
    SILENT,  /* nothing was logged since the last time */
    /* other processes, which there are where the first step is one of these */
    OTHERS, /* number: so many of text: "connections", "idle" ones among them, "waits": processes
               where somebody waits for a connection */
    TOLD    /* number: 1 where they were told that somebody waits here, else 0 */
};

struct relay_step {
    enum relay_verb verb;
    int number;
    const char *text;
};

#define RELAY_STEPS_MAX 100

struct relay_scenario {
    const char *name;
    const char *addresses; /* separated by blanks; a name stands for port 25 there; empty:
                              relay is looked up */
    unsigned identity;     /* enum identity_kind bits */
    void (*configure)(struct relay_conf *conf); /* or NULL */
    struct relay_step steps[RELAY_STEPS_MAX];
};

/* Differences are reported as those of row `row`. `cuts`: octets arrive in pieces, and what can
 * happen at the same time does so in any order. */
void relay_world_run(size_t row, const struct relay_scenario *s, uint64_t seed, bool cuts);
/* The same with every allocation failing once: nothing may leak or hang; what is seen is not
 * compared. Returns how many there were. */
uint64_t relay_world_starve(const struct relay_scenario *s);

/* All rows, whole and cut in a few ways; and all with each allocation failing. */
static inline void relay_world_run_rows(const struct relay_scenario *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (uint64_t seed = 1; seed < 6; seed++)
            relay_world_run(i, &rows[i], seed, seed != 1);
    lib_end_rows();
}

static inline void relay_world_starve_rows(const struct relay_scenario *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_true(relay_world_starve(&rows[i]) > 10);
}

struct relay_table {
    const struct relay_scenario *rows;
    size_t count;
};

static inline void relay_world_test_rows(void **state)
{
    const struct relay_table *table = *state;

    relay_world_run_rows(table->rows, table->count);
}

static inline void relay_world_test_no_memory(void **state)
{
    const struct relay_table *table = *state;

    relay_world_starve_rows(table->rows, table->count);
}

/* For a main() of which one table is all. */
static inline int relay_world_test(const struct relay_scenario *rows, size_t count)
{
    struct relay_table table = {rows, count};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(relay_world_test_rows, &table),
        cmocka_unit_test_prestate(relay_world_test_no_memory, &table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
