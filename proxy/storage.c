/* SPDX-License-Identifier: BSD-2-Clause */
/* Watches the free space of the spool directory. */
#include "proxy/storage.h"

#include "proxy/io/disk.h"

#define INTERVAL_MS 5000

static void run(struct work *w)
{
    struct storage *s = CONTAINER_OF(w, struct storage, work);
    s->error = disk_free_bytes(s->directory, &s->free_bytes);
}

/* A directory that cannot be asked is as good as full. */
static void done(struct work *w)
{
    struct storage *s = CONTAINER_OF(w, struct storage, work);
    bool is_low = s->error != 0 || s->free_bytes < s->reserve_bytes;

    if (is_low != s->is_low) {
        struct log_line line = log_begin(s->log, s->log_sinks, LOG_LEVEL_WARNING, "storage");
        log_put_text(&line, "directory", s->directory);
        log_put_text(&line, "state", is_low ? "low" : "enough");
        if (s->error != 0)
            log_put_error(&line, "reason", s->error);
        else
            log_put_number(&line, "free", (int64_t)s->free_bytes);
        log_end(&line);
    }
    s->is_low = is_low;
    if (!s->is_closing)
        deadline_set(s->loop, &s->deadline, loop_now_ms(s->loop) + INTERVAL_MS);
}

static void look(struct storage *s)
{
    s->work = (struct work){.run = run, .done = done};
    if (work_run(s->loop, &s->work) != 0)
        deadline_set(s->loop, &s->deadline, loop_now_ms(s->loop) + INTERVAL_MS);
}

static void on_deadline(struct deadline *d)
{
    look(CONTAINER_OF(d, struct storage, deadline));
}

static const struct deadline_use deadline_use = {.reached = on_deadline};

void storage_start(struct storage *s)
{
    deadline_init(&s->deadline, &deadline_use);
    look(s);
}

void storage_stop(struct storage *s)
{
    s->is_closing = true;
    deadline_clear(s->loop, &s->deadline);
}
