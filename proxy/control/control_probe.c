/* SPDX-License-Identifier: BSD-2-Clause */
/* posternctl probe: its arguments, its lines, and the loop that it runs on. */
#include "proxy/control/control_probe.h"

#include <stdio.h>
#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/base/text.h"
#include "proxy/config/config_directory.h"
#include "proxy/control/control_print.h"
#include "proxy/io/dns.h"
#include "proxy/privileged.h"
#include "proxy/services.h"
#include "route/relay/relay.h"
#include "route/relay/relay_probe.h"
#include "route/relay/relay_service.h"

#define ROW_MAX_BYTES 65536
#define WORDS_MAX     8192

struct probe {
    const struct control_probe_request *asked;
    struct services services;
    struct relay_service relays; /* without log sinks: all is told in the answer */
    void (*print)(void *owner, struct bytes piece);
    void *owner;
};

/* ---- the command line ---- */

const char *control_probe_read(char *const *words, int count, struct arena *arena,
                               struct control_probe_request *request_out)
{
    struct control_probe_request asked = {.to.local = bytes_of("postmaster")};
    const char *to = NULL;

    if (count == 0 || count > CONTROL_PROBE_WORDS_MAX - 1)
        return "probe TARGET [ADDRESS | --smuggle ADDRESS]: a target is needed";
    asked.target = bytes_of(words[0]);
    asked.smuggles = count > 1 && strcmp(words[1], "--smuggle") == 0;
    if (asked.smuggles && count == 2)
        return "--smuggle: an address is needed";
    if (!asked.smuggles && count == 3)
        return "too many arguments";
    if (count > 1)
        to = words[count - 1];
    if (to != NULL && address_parse_mailbox(bytes_of(to), arena, &asked.to) != 0)
        return "this is no address of RFC 5321";
    *request_out = asked;
    return NULL;
}

/* ---- lines ---- */

/* `us` UINT64_MAX: it took no time. */
static void on_line(void *owner, const struct relay_probe_line *told)
{
    struct probe *p = owner;
    bool has_taken = told->us != RELAY_PROBE_NO_TIME;
    struct control_row row;
    struct buf line;
    char took[32] = "";

    if (has_taken)
        snprintf(took, sizeof(took), "%llu.%llu ms", (unsigned long long)(told->us / 1000),
                 (unsigned long long)(told->us / 100 % 10));
    buf_init(&line, &loop_pools(p->services.loop)->medium, ROW_MAX_BYTES);
    control_row_begin(&row, &line, p->asked->is_json, CONTROL_ROW);
    control_put_text(&row, "address", 21, told->address);
    control_put_text(&row, "stage", 10, told->stage);
    control_put_text(&row, "result", 13, told->result);
    if (!p->asked->is_json)
        control_put_text(&row, "took", -11, took);
    else if (has_taken)
        control_put_number(&row, "us", CONTROL_JSON_ONLY, told->us);
    control_put(&row, "words", CONTROL_REST, told->words);
    control_row_end(&row);
    p->print(p->owner, buf_bytes(&line));
    buf_done(&line);
}

static void on_over(void *owner, bool goes)
{
    struct probe *p = owner;
    char end[64];

    if (goes)
        snprintf(end, sizeof(end), ".0\n");
    else
        snprintf(end, sizeof(end), ".%d mail would not go\n", EX_UNAVAILABLE);
    p->print(p->owner, bytes_of(end));
    dns_free(&p->services.dns);
    loop_stop(p->services.loop);
}

static const struct relay_probe_events probe_events = {.line = on_line, .over = on_over};

/* ---- all of it ---- */

/* The settings of a section, or of a host that none has. NULL: told. */
static const void *find_conf(struct config *config, struct bytes name)
{
    struct config_target found = config_target(config, name);
    const struct target_kind *hosts = config_directory_host_kind();
    const void *conf = NULL;

    if (found.kind == &relay_kind)
        return found.conf;
    if (found.kind == NULL && hosts == &relay_kind && text_is_host_name(name) &&
        hosts->make_implicit(name, config->core.hostname, &config->arena, &conf) == 0)
        return conf;
    fprintf(stderr, "posternctl: probe: %s\n",
            found.kind != NULL ? "this target is no relay: there is nobody to speak to"
                               : "neither a target nor the name of a host");
    return NULL;
}

static int run(struct probe *p, const void *conf)
{
    const struct relay_probe_asked asked = {.to = p->asked->to, .smuggles = p->asked->smuggles};
    struct services *s = &p->services;
    int error = services_begin(s);

    if (error == 0) {
        p->relays = (struct relay_service){.loop = s->loop, .dns = s->dns, .log = s->log};
        struct relay_probe *probe = relay_probe_new(&p->relays, conf, &asked, &probe_events, p);
        if (probe != NULL)
            relay_probe_begin(probe);
        else
            dns_free(&s->dns);
        error = probe == NULL ? ERR_MEMORY : loop_run(s->loop);
        relay_probe_free(&probe);
    }
    services_end(s);
    return error;
}

int control_probe(struct config *config, const struct control_probe_request *request,
                  void (*print)(void *owner, struct bytes piece), void *owner)
{
    struct probe p = {.asked = request,
                      .services = {.config = config, .is_cold = true},
                      .print = print,
                      .owner = owner};
    const void *conf = find_conf(config, request->target);

    if (conf == NULL)
        return EX_NOHOST;
    int code = config_load_secrets_of(config, request->target);
    if (code != 0)
        config_print_problems(config, stderr);
    if (code == 0)
        code = privileged_drop(config); /* whoever answers may be anybody */
    if (code == 0 && run(&p, conf) != 0) {
        fprintf(stderr, "posternctl: probe: cannot start\n");
        code = EX_OSERR;
    }
    return code;
}
