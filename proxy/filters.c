/* SPDX-License-Identifier: BSD-2-Clause */
/* The filters of a process: each section is opened once, whoever names it. */
#include "proxy/filters.h"

#include "proxy/base/error.h"

static struct filter *find(const struct filters *f, const struct filter_choice *choice)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->choices[i].conf == choice->conf)
            return f->all[i];
    return NULL;
}

static int open_all(struct filters *f, const struct filter_choices *choices)
{
    for (size_t i = 0; i < choices->count; i++) {
        const struct filter_choice *choice = &choices->at[i];
        int error = 0;
        if (find(f, choice) != NULL)
            continue;
        f->all[f->count] = choice->kind->open(&f->services, choice->conf, &error);
        if (f->all[f->count] == NULL)
            return error;
        f->choices[f->count++] = *choice;
    }
    return 0;
}

static size_t count_choices(const struct config *config)
{
    size_t count = 0;

    for (size_t i = 0; i < config->smtpd_count; i++)
        count += config->smtpds[i]->filters.chosen.count;
    for (size_t i = 0; i < config->target_count; i++)
        count += config->targets[i].filters.count;
    return count;
}

int filters_init(struct filters *f, const struct config *config,
                 const struct filter_services *services, struct arena *arena)
{
    size_t most = count_choices(config);
    int error = 0;

    *f = (struct filters){.arena = arena, .services = *services};
    if (most == 0)
        return 0;
    f->all = arena_alloc(arena, most * sizeof(struct filter *));
    f->choices = arena_alloc(arena, most * sizeof(*f->choices));
    if (f->all == NULL || f->choices == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < config->smtpd_count && error == 0; i++)
        error = open_all(f, &config->smtpds[i]->filters.chosen);
    for (size_t i = 0; i < config->target_count && error == 0; i++)
        error = open_all(f, &config->targets[i].filters);
    return error;
}

void filters_close(struct filters *f)
{
    for (size_t i = 0; i < f->count; i++)
        if (f->all[i]->ops->close != NULL)
            f->all[i]->ops->close(f->all[i]);
}

void filters_done(struct filters *f)
{
    for (size_t i = 0; i < f->count; i++)
        f->all[i]->ops->free(f->all[i]);
}

int filters_chain(const struct filters *f, const struct filter_choices *choices,
                  struct chain *chain_out)
{
    struct filter **chosen = NULL;

    size_t count = f->all == NULL ? 0 : choices->count;

    if (count > 0)
        chosen = arena_alloc(f->arena, count * sizeof(struct filter *));
    if (count > 0 && chosen == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < count; i++)
        chosen[i] = find(f, &choices->at[i]);
    chain_init(chain_out, chosen, count);
    return 0;
}
