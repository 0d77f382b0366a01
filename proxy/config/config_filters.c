/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters: whose sections listeners and targets name, and the checks of their own. */
#include "proxy/base/error.h"
#include "proxy/config/config_private.h"
#include "proxy/config/filter_kinds.h"

const struct filter_kind *config_filters_kind(const struct setting_section *section)
{
    const struct filter_kind *const *kind = filter_kinds;
    while (*kind != NULL && (*kind)->section != section)
        kind++;
    return *kind;
}

struct filter_choice config_filters_find(const struct config *config, struct bytes name)
{
    for (const struct filter_kind *const *kind = filter_kinds; *kind != NULL; kind++) {
        const struct config_section *section = config_builder_find(config, (*kind)->section, name);
        if (section != NULL)
            return (struct filter_choice){.kind = *kind, .conf = section->conf};
    }
    return (struct filter_choice){.kind = NULL};
}

static void report_unknown(struct config *config, struct cf_place place, struct bytes name)
{
    struct cf_nearest nearest;
    cf_nearest_init(&nearest, name);
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next)
        if (config_filters_kind(section->kind) != NULL)
            cf_nearest_offer(&nearest, section->name);
    cf_error(&config->problems, place, name, bytes_of("the name of a filter"),
             cf_nearest_name(&nearest));
}

static bool is_chosen(const struct filter_choices *choices, const struct filter_choice *choice)
{
    for (size_t i = 0; i < choices->count; i++)
        if (choices->at[i].conf == choice->conf)
            return true;
    return false;
}

int config_filters_choose(struct config *config, const struct config_section *section,
                          const struct setting_texts *names, struct filter_choices *choices_out)
{
    struct filter_choices choices = {
        .at = arena_alloc(&config->arena, (names->count + 1) * sizeof(*choices.at))};
    if (choices.at == NULL)
        return ERR_MEMORY;
    for (size_t i = 0; i < names->count; i++) {
        struct cf_place place = config_builder_place(section, "filter", i);
        struct filter_choice choice = config_filters_find(config, names->at[i]);
        if (choice.kind == NULL)
            report_unknown(config, place, names->at[i]);
        else if (is_chosen(&choices, &choice))
            cf_error(&config->problems, place, names->at[i],
                     bytes_of("each filter once, for the second would judge nothing else"),
                     bytes_make(NULL, 0));
        else
            choices.at[choices.count++] = choice;
    }
    *choices_out = choices;
    return 0;
}

void config_filters_check(struct config *config)
{
    for (struct config_section *section = config->builder->first; section != NULL;
         section = section->next) {
        const struct filter_kind *kind = config_filters_kind(section->kind);
        if (kind != NULL && kind->check != NULL)
            kind->check(section->conf, section->place, &config->problems);
    }
}
