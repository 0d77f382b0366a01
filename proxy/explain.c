/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes one address without a server: targets are known by their settings. */
#include "proxy/explain.h"

#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/config/config_directory.h"
#include "proxy/io/loop.h"

#define TEXT_MAX_BYTES (1024 * 1024)

struct explanation {
    const struct config *config;
    struct loop *loop;
    struct pool pool;
    struct arena arena;
    struct config_directory targets;
    struct cf_problems problems;
    struct buf text;
};

/* ---- the listener and its tables ---- */

static void print(struct buf *text, FILE *out)
{
    struct bytes octets = buf_bytes(text);
    if (octets.len > 0)
        fwrite(octets.at, 1, octets.len, out);
    buf_reset(text);
}

static void print_problems(struct explanation *x)
{
    for (const struct cf_problem *p = x->problems.first; p != NULL; p = p->next) {
        cf_put_problem(&x->text, p);
        buf_byte(&x->text, '\n');
    }
    print(&x->text, stderr);
}

static const struct smtpd_conf *find_listener(const struct config *config, const char *name)
{
    const struct smtpd_conf *smtpd =
        name == NULL ? config->smtpds[0] : config_smtpd(config, bytes_of(name));
    if (smtpd == NULL)
        fprintf(stderr, "postern: --on %s: there is no [smtpd] of this name\n", name);
    return smtpd;
}

/* With or without the angle brackets of RCPT. */
static int parse(struct explanation *x, const char *text, struct address *address_out)
{
    struct bytes in = bytes_of(text);
    size_t used = in.len;
    int error = in.len > 0 && in.at[0] == '<'
                    ? address_parse_path(in, &x->arena, address_out, &used)
                    : address_parse_mailbox(in, &x->arena, address_out);
    if (error == 0 && (used != in.len || address_is_null(address_out)))
        error = ERR_SYNTAX;
    if (error != 0 && error != ERR_MEMORY)
        fprintf(stderr, "postern: --explain %s: this is no address of RFC 5321\n", text);
    return error;
}

static int explain(struct explanation *x, const char *address_text, const struct smtpd_conf *smtpd,
                   FILE *out)
{
    const struct route_directory directory = config_directory_routes(&x->targets);
    const struct route_client stranger = {
        .may_relay = false, .rejects_routed = smtpd->routed_recipients == SMTPD_ROUTED_REJECT};
    struct address address;
    struct route_set *set;
    int error = parse(x, address_text, &address);
    if (error != 0)
        return error == ERR_MEMORY ? EX_OSERR : EX_USAGE;
    error = route_set_new(smtpd->tables, smtpd->table_count, &directory, loop_hash_key(x->loop),
                          &x->arena, &x->problems, &set);
    if (x->problems.has_no_memory)
        error = ERR_MEMORY;
    if (error != 0) {
        print_problems(x);
        return error == ERR_SYNTAX ? EX_CONFIG : EX_OSERR;
    }
    buf_text(&x->text, "on ");
    cf_put_shown(&x->text, smtpd->section);
    buf_text(&x->text, ":\n");
    route_explain(set, &address, &stranger, &x->arena, &x->text);
    if (x->text.has_failed)
        return EX_OSERR;
    print(&x->text, out);
    return 0;
}

int explain_address(const struct config *config, const char *address, const char *listener,
                    FILE *out)
{
    struct explanation x = {.config = config};
    const struct smtpd_conf *smtpd = find_listener(config, listener);
    if (smtpd == NULL)
        return EX_USAGE;
    x.loop = loop_new();
    if (x.loop == NULL)
        return EX_OSERR;
    pool_init(&x.pool, 65536, 4);
    arena_init(&x.arena, &x.pool, SIZE_MAX);
    cf_problems_init(&x.problems, &x.arena);
    config_directory_init(&x.targets, config, loop_hash_key(x.loop), &x.arena, &x.problems);
    buf_init(&x.text, &x.pool, TEXT_MAX_BYTES);
    int code = explain(&x, address, smtpd, out);
    buf_done(&x.text);
    config_directory_done(&x.targets);
    arena_reset(&x.arena);
    pool_done(&x.pool);
    loop_free(&x.loop);
    return code;
}
