/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters of a process: each section is opened once, whoever names it. */
#include "proxy/filters.h"

#include "proxy/base/error.h"

struct opened_filter {
    struct opened_filter *next;
    struct filter *filter;
    const void *conf;
};

void filters_init(struct filters *f, const struct filter_services *services, struct arena *arena)
{
    *f = (struct filters){.arena = arena, .services = *services};
}

static int open_filter(struct filters *f, const struct filter_choice *choice,
                       struct filter **filter_out)
{
    struct opened_filter *opened = arena_alloc(f->arena, sizeof(*opened));
    int error = ERR_MEMORY;

    if (opened == NULL)
        return error;
    opened->conf = choice->conf;
    opened->filter = choice->kind->open(&f->services, choice->conf, &error);
    if (opened->filter == NULL)
        return error;
    opened->next = f->first;
    f->first = opened;
    *filter_out = opened->filter;
    return 0;
}

static int find_or_open(struct filters *f, const struct filter_choice *choice,
                        struct filter **filter_out)
{
    for (const struct opened_filter *opened = f->first; opened != NULL; opened = opened->next)
        if (opened->conf == choice->conf) {
            *filter_out = opened->filter;
            return 0;
        }
    return open_filter(f, choice, filter_out);
}

int filters_chain(struct filters *f, const struct filter_choices *choices, struct chain *chain_out)
{
    size_t count = f->arena == NULL ? 0 : choices->count;
    struct filter **chosen = NULL;
    int error = 0;

    if (count > 0)
        chosen = arena_alloc(f->arena, count * sizeof(struct filter *));
    if (count > 0 && chosen == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count && error == 0; i++)
        error = find_or_open(f, &choices->at[i], &chosen[i]);
    if (error == 0)
        chain_init(chain_out, chosen, count);
    return error;
}

void filters_close(struct filters *f)
{
    for (struct opened_filter *opened = f->first; opened != NULL; opened = opened->next)
        if (opened->filter->ops->close != NULL)
            opened->filter->ops->close(opened->filter);
}

void filters_done(struct filters *f)
{
    for (struct opened_filter *opened = f->first; opened != NULL; opened = opened->next)
        opened->filter->ops->free(opened->filter);
}
