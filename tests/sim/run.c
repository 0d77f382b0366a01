/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs scenarios and prints what they covered. Every fiftieth seed is run twice, and must go the
 * same way.
 *
 * run FIRST COUNT         so many seeds
 * run FIRST COUNT stop    until one fails
 * run SEED loud           one of them, with all that is said and logged */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "tests/sim/scenario.h"

#define REPEATED 50

static double seconds(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool goes_the_same_way(uint64_t seed, const struct scenario_result *first)
{
    struct scenario_result again = {.has_failed = false};

    scenario_run(seed, false, &again);
    if (again.trace == first->trace)
        return true;
    printf("seed %llu: goes another way the second time\n", (unsigned long long)seed);
    return false;
}

static void print_counts(const struct scenario_result *result)
{
    static const char *const names[] = {
#define NAME(name, text) text,
        SCENARIO_COUNTS(NAME)
#undef NAME
    };

    for (size_t i = 0; i < COUNT_COUNTS; i++)
        printf("# %10llu %s\n", (unsigned long long)result->counts[i], names[i]);
}

int main(int argc, char **argv)
{
    uint64_t first = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    bool is_loud = argc > 2 && strcmp(argv[2], "loud") == 0;
    bool stops = argc > 3 && strcmp(argv[3], "stop") == 0;
    uint64_t count = argc > 2 && !is_loud ? strtoull(argv[2], NULL, 10) : 1, failed = 0;
    struct scenario_result result = {.has_failed = false};
    double began = seconds();

    for (uint64_t seed = first; seed < first + count && !(stops && failed > 0); seed++) {
        scenario_run(seed, is_loud, &result);
        if (result.has_failed || (seed % REPEATED == 0 && !goes_the_same_way(seed, &result)))
            failed++;
        fflush(stdout);
    }
    print_counts(&result);
    printf("# %10.0f scenarios a second\n",
           (double)result.counts[COUNT_SCENARIOS] / (seconds() - began));
    printf("# trace of the last one: %016llx\n", (unsigned long long)result.trace);
    printf("1..1\n%sok 1 - %llu scenarios, %llu failed\n", failed > 0 ? "not " : "",
           (unsigned long long)result.counts[COUNT_SCENARIOS], (unsigned long long)failed);
    scenario_forget_configs();
    return failed > 0;
}
