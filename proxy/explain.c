/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes one address without a server: relays are names only, Maildirs judge their paths. */
#include "proxy/explain.h"

#include <sysexits.h>

#include "proxy/base/error.h"
#include "proxy/io/loop.h"
#include "route/maildir.h"
#include "route/route.h"

#define TEXT_MAX_BYTES (1024 * 1024)

struct named_target {
    struct hash_entry by_name;
    struct target relay;     /* without operations */
    struct maildir *maildir; /* NULL: a relay */
    struct named_target *next;
};

struct explanation {
    const struct config *config;
    struct loop *loop;
    struct maildir_service maildir_service; /* no job runs */
    struct pool pool;
    struct arena arena;
    struct hash_table by_name;
    struct named_target *targets;
    struct cf_problems problems;
    struct buf text;
};

/* ---- targets ---- */

static struct target *target_of(struct named_target *named)
{
    return named->maildir != NULL ? maildir_target(named->maildir) : &named->relay;
}

static struct named_target *add(struct explanation *x, struct bytes name,
                                const struct maildir_conf *maildir)
{
    struct named_target *named = arena_alloc(&x->arena, sizeof(*named));
    if (named == NULL || arena_copy(&x->arena, name, &named->relay.name) != 0)
        return NULL;
    if (maildir != NULL) {
        named->maildir = maildir_new(&x->maildir_service, maildir);
        if (named->maildir == NULL)
            return NULL;
    }
    named->next = x->targets;
    x->targets = named;
    return hash_table_add(&x->by_name, &named->by_name, named->relay.name) == 0 ? named : NULL;
}

static int add_relay(struct explanation *x, struct bytes name, enum relay_on_failure on_failure)
{
    struct named_target *named = add(x, name, NULL);
    if (named == NULL)
        return ERR_MEMORY;
    named->relay.may_spool = on_failure == RELAY_ON_FAILURE_SPOOL;
    return 0;
}

static int add_sections(struct explanation *x)
{
    for (size_t i = 0; i < x->config->relay_count; i++)
        if (add_relay(x, x->config->relays[i]->section, x->config->relays[i]->on_failure) != 0)
            return ERR_MEMORY;
    for (size_t i = 0; i < x->config->maildir_count; i++)
        if (add(x, x->config->maildirs[i]->section, x->config->maildirs[i]) == NULL)
            return ERR_MEMORY;
    return 0;
}

static struct target *find(void *owner, struct bytes name)
{
    struct explanation *x = owner;
    struct hash_entry *found = hash_table_find(&x->by_name, name);
    return found == NULL ? NULL : target_of(CONTAINER_OF(found, struct named_target, by_name));
}

static struct target *find_implicit(void *owner, struct bytes host)
{
    struct explanation *x = owner;
    uint8_t lower[ADDRESS_DOMAIN_MAX];
    struct bytes name = bytes_make(lower, bytes_first(host, sizeof(lower)).len);
    for (size_t i = 0; i < name.len; i++)
        lower[i] = byte_lower(host.at[i]);
    struct target *known = find(x, name);
    if (known != NULL)
        return known;
    return add_relay(x, name, RELAY_ON_FAILURE_SPOOL) == 0 ? find(x, name) : NULL;
}

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
    const struct route_directory directory = {
        .owner = x, .find = find, .find_implicit = find_implicit};
    const struct route_client stranger = {
        .may_relay = false, .rejects_routed = smtpd->routed_recipients == SMTPD_ROUTED_REJECT};
    struct address address;
    struct route_set *set;
    int error = parse(x, address_text, &address);
    if (error != 0)
        return error == ERR_MEMORY ? EX_OSERR : EX_USAGE;
    error = add_sections(x);
    if (error == 0)
        error = route_set_new(smtpd->tables, smtpd->table_count, &directory, loop_hash_key(x->loop),
                              &x->arena, &x->problems, &set);
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
    struct explanation x = {.config = config,
                            .maildir_service = {.hostname = config->core.hostname}};
    const struct smtpd_conf *smtpd = find_listener(config, listener);
    if (smtpd == NULL)
        return EX_USAGE;
    x.loop = loop_new();
    if (x.loop == NULL)
        return EX_OSERR;
    pool_init(&x.pool, 65536, 4);
    arena_init(&x.arena, &x.pool, SIZE_MAX);
    hash_table_init(&x.by_name, loop_hash_key(x.loop));
    cf_problems_init(&x.problems, &x.arena);
    buf_init(&x.text, &x.pool, TEXT_MAX_BYTES);
    int code = explain(&x, address, smtpd, out);
    for (struct named_target *t = x.targets; t != NULL; t = t->next)
        if (t->maildir != NULL)
            maildir_free(&t->maildir);
    buf_done(&x.text);
    hash_table_done(&x.by_name);
    arena_reset(&x.arena);
    pool_done(&x.pool);
    loop_free(&x.loop);
    return code;
}
