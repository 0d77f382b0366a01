/* SPDX-License-Identifier: BSD-2-Clause */
#include "proxy/title.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/mem.h"

/* The kernel has laid all arguments and the environment out in one piece, which ps(1) reads. */
static struct {
    char *at;
    size_t len;
    char *moved; /* the same strings */
} place;

/* How far these strings follow upon one another. */
static char *end_of(char *const *strings, char *end)
{
    for (; *strings != NULL && *strings == end; strings++)
        end += strlen(end) + 1;
    return end;
}

static void move(char **strings)
{
    for (; *strings != NULL; strings++)
        if (*strings >= place.at && *strings < place.at + place.len)
            *strings = place.moved + (*strings - place.at);
}

void title_begin(int argc, char **argv)
{
    if (argc == 0)
        return;
    char *at = argv[0];
    place.len = (size_t)(end_of(environ, end_of(argv, at)) - at);
    place.moved = mem_alloc(place.len);
    if (place.moved == NULL)
        return;
    memcpy(place.moved, at, place.len);
    place.at = at;
    move(argv);
    move(environ);
}

void title_set(const char *role, uint32_t number)
{
    char text[40];

    if (place.at == NULL)
        return;
    snprintf(text, sizeof(text), number == 0 ? "postern: %s" : "postern: %s %u", role, number);
    memset(place.at, 0, place.len);
    for (size_t i = 0; i + 1 < place.len && text[i] != '\0'; i++)
        place.at[i] = text[i];
}
