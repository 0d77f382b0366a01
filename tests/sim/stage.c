/* SPDX-License-Identifier: BSD-2-Clause */
/* What the master does for a worker, done in a world. */
#include "tests/sim/stage.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "filters/filter_kind.h"
#include "proxy/control/control.h"
#include "proxy/io/disk.h"
#include "proxy/io/listen.h"
#include "proxy/worker.h"
#include "tests/sim/world.h"

static bool write_all(int fd, const char *text)
{
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

struct config *stage_config(const char *text)
{
    struct config *config = config_new();
    struct flags flags = {.mode = FLAGS_SERVE};
    static char path[64]; /* places point to it as long as a configuration lives */
    int fd = memfd_create("postern.cf", 0), code;

    if (config == NULL || fd < 0)
        sim_fault("no memory for a configuration");
    if (!write_all(fd, "[core]\nhostname = mx.test\nspool-directory = " STAGE_SPOOL "\n") ||
        (geteuid() == 0 && !write_all(fd, "user-id = root\n")) || !write_all(fd, text))
        sim_fault("a configuration cannot be written");
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    flags.config_path = path;
    code = config_read(config, &flags);
    close(fd);
    if (code == 0)
        return config;
    config_print_problems(config, stderr);
    config_free(&config);
    return NULL;
}

/* ---- filters ---- */

/* Of a kind that opens nothing: the settings are the filter. */
static struct filter *open_staged(struct filter_services *services, const void *conf,
                                  int *error_out)
{
    struct filter *const *staged = conf;

    (void)services;
    (void)error_out;
    return *staged;
}

static const struct filter_kind staged_kind = {.open = open_staged};

/* Takes the place of what the configuration names. */
static void choose(struct filter_choices *choices, struct filter_choice *choice, bool is_chosen)
{
    if (is_chosen)
        *choices = (struct filter_choices){.at = choice, .count = 1};
    else if (choices->at == choice)
        choices->count = 0;
}

void stage_filter(const struct config *config, struct filter *filter)
{
    static struct filter *staged;
    static struct filter_choice choice = {.kind = &staged_kind, .conf = &staged};

    staged = filter;
    for (size_t i = 0; i < config->smtpd_count; i++)
        choose(&config->smtpds[i]->filters.chosen, &choice, filter != NULL);
}

void stage_target_filter(const struct config *config, struct filter *filter, struct bytes target)
{
    static struct filter *staged;
    static struct filter_choice choice = {.kind = &staged_kind, .conf = &staged};

    staged = filter;
    for (size_t i = 0; i < config->target_count; i++)
        choose(&config->targets[i].filters, &choice,
               filter != NULL && bytes_equal(config->targets[i].name, target));
}

/* ---- a worker ---- */

static void on_worker_news(void *owner, enum worker_news news)
{
    (void)owner;
    (void)news;
}

int stage_run_task(const struct config *config, struct worker_task *task)
{
    struct worker_listener listeners[16];

    disk_make_directories(STAGE_SPOOL);
    for (size_t i = 0; i < config->smtpd_count && (task->is_alone || !task->runs_queue); i++) {
        const struct smtpd_conf *conf = config->smtpds[i];
        for (size_t j = 0; j < conf->listeners.count; j++) {
            if (task->listener_count == ARRAY_LENGTH(listeners))
                sim_fault("too many listeners");
            listeners[task->listener_count].smtpd = conf;
            listeners[task->listener_count++].fd = listen_open_shared(&conf->listeners.at[j], 1);
        }
    }
    task->listeners = listeners;
    task->tells = on_worker_news;
    return worker_run(config, task);
}

int stage_run(const struct config *config)
{
    struct worker_task task = {.is_alone = true, .runs_queue = true};

    return stage_run_task(config, &task);
}

/* ---- posternctl ---- */

struct cold {
    const char *request;
    struct worker *worker;
    struct control_run *run;
    char line[16]; /* the begin of the last one: a killed process leaves nothing */
    size_t len;
};

static void hear(struct cold *c, struct bytes some)
{
    for (size_t i = 0; i < some.len; i++) {
        if (c->len > 0 && c->line[c->len - 1] == '\n')
            c->len = 0;
        if (c->len < sizeof(c->line) - 1)
            c->len++;
        c->line[c->len - 1] = (char)some.at[i];
    }
}

static void on_news(void *owner)
{
    struct cold *c = owner;

    if (c->run == NULL)
        return;
    for (struct bytes some = control_answer(c->run); some.len != 0; some = control_answer(c->run)) {
        hear(c, some);
        control_told(c->run, some.len);
    }
    if (!control_is_over(c->run))
        return;
    control_end(&c->run);
    worker_stop(c->worker);
}

static void on_cold_started(void *owner, struct worker *w)
{
    struct cold *c = owner;

    c->worker = w;
    c->run = control_begin(&w->services, bytes_of(c->request), on_news, c);
    if (c->run == NULL)
        worker_stop(w);
    else
        on_news(c);
}

int stage_run_cold(const struct config *config, const char *request, int *code_out)
{
    struct cold cold = {.request = request};
    struct worker_task task = {.is_alone = true,
                               .runs_queue = true,
                               .is_cold = true,
                               .cold_started = on_cold_started,
                               .owner = &cold};
    int code = worker_run(config, &task);

    if (cold.line[0] == '.')
        *code_out = atoi(cold.line + 1);
    return code;
}
