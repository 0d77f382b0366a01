/* SPDX-License-Identifier: BSD-2-Clause */
/* child.h in a world, which has no programs. */
#include "proxy/io/child.h"

#include "proxy/base/error.h"
#include "tests/sim/world.h"

struct child *child_start(struct loop *l, const char *path, const struct child_events *events,
                          void *owner, int *error_out)
{
    (void)l;
    (void)path;
    (void)events;
    (void)owner;
    *error_out = ERR_NOT_FOUND;
    return NULL;
}

bool child_send(struct child *child, struct bytes message)
{
    (void)child;
    (void)message;
    sim_fault("a message to a program that there is not");
    return false;
}

void child_end(struct child *child)
{
    (void)child;
    sim_fault("the end of a program that there is not");
}
