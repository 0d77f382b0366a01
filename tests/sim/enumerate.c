/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs every operation of the spool's state table through all of its ends.
 *
 * enumerate                   all of it
 * enumerate FIRST ONE_OF      each ONE_OFth cut point, from FIRST on
 * enumerate loud NAME         one operation, with the log of what fails
 * enumerate stop              until one fails */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/exhaustive.h"

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void add(struct exhaustive_counts *sum, const struct exhaustive_counts *c)
{
    sum->deaths += c->deaths;
    sum->failures += c->failures;
    sum->meetings += c->meetings;
    sum->combinations += c->combinations;
    sum->states += c->states;
    sum->limited += c->limited;
    sum->failed += c->failed;
}

static void print(const char *name, const struct exhaustive_counts *c, double took)
{
    printf("# %4llu + %4llu + %4llu cut points x subsets = %7llu, %6llu states, %6.2f s  %s",
           (unsigned long long)c->deaths, (unsigned long long)c->failures,
           (unsigned long long)c->meetings, (unsigned long long)c->combinations,
           (unsigned long long)c->states, took, name);
    if (c->limited > 0)
        printf(" (%llu cut points have more)", (unsigned long long)c->limited);
    printf("\n");
}

int main(int argc, char **argv)
{
    bool is_loud = argc > 2 && strcmp(argv[1], "loud") == 0;
    struct exhaustive_part part = {.one_of = 1, .is_loud = is_loud};
    struct exhaustive_counts sum = {.deaths = 0};
    double began = seconds();

    part.stops = argc > 1 && strcmp(argv[1], "stop") == 0;
    if (argc > 2 && !is_loud) {
        part.first = (unsigned)strtoul(argv[1], NULL, 10);
        part.one_of = (unsigned)strtoul(argv[2], NULL, 10);
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* who cannot start says so between our lines */
    printf("1..%u\n", is_loud ? 1 : exhaustive_count());
    for (unsigned i = 0; i < exhaustive_count(); i++) {
        struct exhaustive_counts c = {.deaths = 0};
        double from = seconds();

        if ((is_loud && strcmp(argv[2], exhaustive_name(i)) != 0) || (part.stops && sum.failed > 0))
            continue;
        exhaustive_run(i, &part, &c);
        add(&sum, &c);
        print(exhaustive_name(i), &c, seconds() - from);
        printf("%sok %u - %s\n", c.failed > 0 ? "not " : "", is_loud ? 1 : i + 1,
               exhaustive_name(i));
        fflush(stdout);
    }
    print("all of them", &sum, seconds() - began);
    return sum.failed > 0;
}
