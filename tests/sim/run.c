/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs scenarios and prints what they covered. Every fiftieth seed is run twice, and must go the
 * same way.
 *
 * run FIRST COUNT [JOBS]  so many seeds, by so many processes side by side
 * run FIRST COUNT stop    until one fails
 * run SEED loud           one of them, with all that is said and logged */
/* needs: shell proxy/io/copy.c proxy/io/copy_file.c proxy/io/copy_room.c sim */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/sim/scenario.h"

#define REPEATED 50
#define JOBS_MAX 64

/* What one process has played. */
struct part {
    uint64_t seed; /* the last one; while the process lives, the one that it plays */
    struct scenario_result result;
    uint64_t traces; /* their sum, which does not depend on who played what */
    uint64_t failed;
};

/* In memory that all processes share: each takes the next seed when it is done with one. */
struct play {
    _Atomic uint64_t next;
    uint64_t end;
    bool is_loud, stops;
    struct part parts[JOBS_MAX];
};

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

static void play_seeds(struct play *play, struct part *part)
{
    while ((part->seed = atomic_fetch_add(&play->next, 1)) < play->end) {
        scenario_run(part->seed, play->is_loud, &part->result);
        part->traces += part->result.trace;
        if (part->result.has_failed ||
            (part->seed % REPEATED == 0 && !goes_the_same_way(part->seed, &part->result)))
            part->failed++;
        fflush(stdout);
        if (play->stops && part->failed > 0)
            break;
    }
    scenario_forget_configs();
}

static pid_t start(struct play *play, struct part *part)
{
    pid_t pid = fork();

    if (pid < 0)
        sim_fault("no process");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    play_seeds(play, part);
    exit(0);
}

static void await(pid_t pid, struct part *part)
{
    int status;

    if (waitpid(pid, &status, 0) == pid && status == 0)
        return;
    printf("seed %llu: the simulator has died\n", (unsigned long long)part->seed);
    part->failed++;
}

static void add(struct part *sum, const struct part *part)
{
    for (size_t i = 0; i < COUNT_COUNTS; i++)
        sum->result.counts[i] += part->result.counts[i];
    sum->traces += part->traces;
    sum->failed += part->failed;
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
    struct play *play =
        mmap(NULL, sizeof(*play), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct part sum = {.failed = 0};
    double began = seconds();
    pid_t pids[JOBS_MAX];
    int jobs = argc > 3 ? atoi(argv[3]) : 1;

    if (play == MAP_FAILED)
        sim_fault("no memory");
    play->next = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    play->is_loud = argc > 2 && strcmp(argv[2], "loud") == 0;
    play->end = play->next + (argc > 2 && !play->is_loud ? strtoull(argv[2], NULL, 10) : 1);
    play->stops = argc > 3 && strcmp(argv[3], "stop") == 0;
    jobs = jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : jobs;
    for (int i = 0; i < jobs; i++)
        pids[i] = start(play, &play->parts[i]);
    for (int i = 0; i < jobs; i++) {
        await(pids[i], &play->parts[i]);
        add(&sum, &play->parts[i]);
    }
    print_counts(&sum.result);
    printf("# %10.0f scenarios a second, by %d at a time\n",
           (double)sum.result.counts[COUNT_SCENARIOS] / (seconds() - began), jobs);
    printf("# sum of their traces: %016llx\n", (unsigned long long)sum.traces);
    printf("1..1\n%sok 1 - %llu scenarios, %llu failed\n", sum.failed > 0 ? "not " : "",
           (unsigned long long)sum.result.counts[COUNT_SCENARIOS], (unsigned long long)sum.failed);
    return sum.failed > 0;
}
