/* SPDX-License-Identifier: BSD-2-Clause */
/* Nine digits of time, five of the process, two of the sequence, to the base of 31. */
#include "proxy/base/id.h"

#define BASE            31
#define TIME_DIGITS     9 /* of milliseconds: until the year 2807 */
#define PROCESS_DIGITS  5
#define SEQUENCE_DIGITS 2
#define SEQUENCE_END    (BASE * BASE)

_Static_assert(TIME_DIGITS + PROCESS_DIGITS + SEQUENCE_DIGITS == ID_LENGTH, "digits");

static char *put_digits(char *at, unsigned count, uint64_t number)
{
    static const char digits[BASE + 1] = "0123456789BCDFGHJKLMNPQRSTVWXYZ";

    for (unsigned i = count; i > 0; i--) {
        at[i - 1] = digits[number % BASE];
        number /= BASE;
    }
    return at + count;
}

struct id id_next(struct id_source *source, uint64_t wall_ms)
{
    struct id id;
    char *at = id.text;

    source->sequence++;
    if (source->sequence >= SEQUENCE_END) {
        source->sequence = 0;
        source->last_ms++;
    }
    if (wall_ms > source->last_ms) {
        source->sequence = 0;
        source->last_ms = wall_ms;
    }
    at = put_digits(at, TIME_DIGITS, source->last_ms);
    at = put_digits(at, PROCESS_DIGITS, source->process);
    at = put_digits(at, SEQUENCE_DIGITS, source->sequence);
    *at = '\0';
    return id;
}
