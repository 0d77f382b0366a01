/* SPDX-License-Identifier: BSD-2-Clause */
/* The passwords by which relays of a scenario log in, and where nobody may ever read them. */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/sim/scenario_target.h"
#include "tests/sim/stage.h"

#define CORE "open~sesame~" /* of each of them */

static const char *const passwords[SCENARIO_TARGETS] = {CORE "a", CORE "b"};

const char *secret_of(int target)
{
    return passwords[target];
}

/* Real files: secret.c reads them when the configuration is. */
const char *secret_path(int target)
{
    static char paths[SCENARIO_TARGETS][32];
    const char *password = passwords[target];
    int fd;

    if (paths[target][0] != '\0')
        return paths[target];
    fd = memfd_create("password", 0);
    if (fd < 0 || fchmod(fd, 0600) != 0 ||
        write(fd, password, strlen(password)) != (ssize_t)strlen(password))
        sim_fault("a password cannot be written");
    snprintf(paths[target], sizeof(paths[target]), "/proc/self/fd/%d", fd);
    return paths[target];
}

/* ---- where it may not stand ---- */

/* The password as it is, and all that is sure of it in base64, behind 0, 1 or 2 other octets. */
static char needles[4][SASL_LINE_SIZE];

static void make_needles(void)
{
    size_t len = strlen(CORE);

    snprintf(needles[3], sizeof(needles[3]), "%s", CORE);
    for (size_t skipped = 0; skipped < 3; skipped++) {
        struct sasl_text text = sasl_text_of("%.*s" CORE, (int)skipped, "xx");
        char base64[SASL_LINE_SIZE];
        size_t first = (8 * skipped + 5) / 6, end = 8 * (skipped + len) / 6;
        sasl_encode(&text, base64);
        snprintf(needles[skipped], sizeof(needles[skipped]), "%.*s", (int)(end - first),
                 base64 + first);
    }
}

void secret_check(struct scenario *s, const char *who, struct bytes octets)
{
    if (!s->targets.logins.at[0] && !s->targets.logins.at[1])
        return;
    if (needles[0][0] == '\0')
        make_needles();
    for (size_t i = 0; i < ARRAY_LENGTH(needles); i++) {
        const char *found = scenario_search(octets, needles[i]);
        if (found == NULL)
            continue;
        size_t before = (size_t)(found - (const char *)octets.at);
        const uint8_t *end = memrchr(octets.at, '\n', before);
        struct bytes line = bytes_skip(octets, end == NULL ? 0 : (size_t)(end - octets.at) + 1);
        scenario_fail(s, "%s has a password: %.*s", who, (int)bytes_find(line, '\n'),
                      (const char *)line.at);
    }
}

void secret_check_spool(struct scenario *s)
{
    const char *path;
    struct bytes octets;

    for (unsigned i = 0; (path = sim_file_below(s->world, STAGE_SPOOL, i)) != NULL; i++)
        if (sim_file(s->world, path, &octets))
            secret_check(s, path, octets);
}
