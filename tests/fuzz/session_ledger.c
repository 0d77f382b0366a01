/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages are known by their content; equal ones are counted. */
#include "tests/fuzz/session_ledger.h"

#include <stdlib.h>

#define MESSAGES_MAX 200

struct ledger {
    const struct session_ledger *of;
    struct sim *world;
    struct session_message messages[MESSAGES_MAX];
    int count;
    bool is_confused; /* some target has said things of its own */
};

static bool same(const struct pieces_seen *a, const struct pieces_seen *b)
{
    return bytes_equal(pieces_seen_bytes(a), pieces_seen_bytes(b));
}

/* ---- counting ---- */

enum wanted { ENDED, ENDED_FOR_SURE, ACKNOWLEDGED };

/* What a filter has refused goes nowhere. */
static bool is_filtered(const struct session_message *m)
{
    return m->code == strtoul(SESSION_FILTER_DEFERS, NULL, 10) ||
           m->code == strtoul(SESSION_FILTER_REFUSES, NULL, 10);
}

/* May it go there? */
static bool has_domain(const struct session_message *m, bool wants_relay)
{
    if (is_filtered(m))
        return false;
    for (int i = 0; i < m->rcpt_count; i++)
        if (m->domains[i] == SESSION_LIST || m->domains[i] == SESSION_OTHER ||
            m->domains[i] == (wants_relay ? SESSION_TARGET : SESSION_MAIL))
            return true;
    return false;
}

static int count_sent(const struct ledger *l, const struct pieces_seen *content, bool wants_relay)
{
    int count = 0;

    for (int i = 0; i < l->count; i++)
        count += same(&l->messages[i].content, content) && has_domain(&l->messages[i], wants_relay);
    return count;
}

/* How often a relay may get it: where its first recipients are spooled, the later ones of the same
 * transaction may well go there at once. */
static int count_due(const struct ledger *l, const struct pieces_seen *content)
{
    int count = 0;

    if (!l->of->spools)
        return count_sent(l, content, true);
    for (int i = 0; i < l->count; i++)
        if (same(&l->messages[i].content, content) && has_domain(&l->messages[i], true))
            count += l->messages[i].rcpt_count;
    return count;
}

/* Acknowledged ones that a relay must have. */
static int count_relayed(const struct ledger *l, const struct pieces_seen *content)
{
    int count = 0;

    for (int i = 0; i < l->count; i++) {
        const struct session_message *m = &l->messages[i];
        bool is_relayed = false;
        for (int j = 0; j < m->rcpt_count; j++)
            is_relayed =
                is_relayed || m->domains[j] == SESSION_TARGET || m->domains[j] == SESSION_LIST;
        count += is_relayed && m->code / 100 == 2 && same(&m->content, content);
    }
    return count;
}

static int count_taken(const struct ledger *l, const struct pieces_seen *content, enum wanted what)
{
    int count = 0;

    for (int i = 0; i < l->of->target_count; i++) {
        const struct session_target *t = &l->of->targets[i];
        if (what == ENDED_FOR_SURE && t->is_doubtful)
            continue;
        for (int j = 0; j < t->taken_count; j++)
            count += same(&t->taken[j].content, content) && t->taken[j].accepted > 0 &&
                     (what == ACKNOWLEDGED ? t->taken[j].is_accepted : !t->taken[j].is_refused);
    }
    return count;
}

/* ---- maildirs: their lines end in LF, and lines of our own stand in front ---- */

static void without_returns(const struct pieces_seen *content, struct pieces_seen *out)
{
    struct bytes in = pieces_seen_bytes(content);

    while (in.len > 0) {
        size_t feed = bytes_find(in, '\n');
        bool has_return = feed < in.len && feed > 0 && in.at[feed - 1] == '\r';

        pieces_see(out, bytes_first(in, has_return ? feed - 1 : feed));
        if (feed < in.len)
            pieces_see(out, bytes_of("\n"));
        in = bytes_skip(in, feed < in.len ? feed + 1 : feed);
    }
}

/* Our own lines, which end with the date of Received, an empty one where the content would continue
 * them, and then this content. */
static bool is_delivered(struct bytes file, struct bytes content)
{
    bool continues = content.len > 0 && (content.at[0] == ' ' || content.at[0] == '\t');
    const char *end = continues ? " +0000\n\n" : " +0000\n";

    if (file.len < content.len + strlen(end))
        return false;
    struct bytes head = bytes_first(file, file.len - content.len);
    return bytes_start_with_nocase(head, "Return-Path: <") &&
           bytes_is(bytes_skip(head, head.len - strlen(end)), end) &&
           bytes_equal(bytes_skip(file, head.len), content);
}

/* Files in new/ of this mailbox with this content. */
static int count_files(const struct ledger *l, const char *domain, const char *local,
                       const struct pieces_seen *content)
{
    char directory[128];
    struct pieces_seen plain = {.len = 0};
    struct bytes file;
    const char *path;
    int count = 0;

    snprintf(directory, sizeof(directory), "/mail/%s/%s/new", domain, local);
    without_returns(content, &plain);
    for (unsigned i = 0; (path = sim_file_below(l->world, directory, i)) != NULL; i++) {
        PIECES_MUST(sim_file(l->world, path, &file));
        count += is_delivered(file, pieces_seen_bytes(&plain));
    }
    pieces_forget(&plain);
    return count;
}

/* ---- the spool: a first block of 64 octets, its length in it, then the content ---- */

static bool holds(struct bytes file, const struct pieces_seen *content)
{
    uint64_t length = 0;

    if (file.len < 64 || memcmp(file.at, "POSTERN", 7) != 0)
        return false;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | file.at[32 + i];
    return length <= file.len - 64 &&
           bytes_equal(bytes_make(file.at + 64, (size_t)length), pieces_seen_bytes(content));
}

static int count_spooled(const struct ledger *l, const struct pieces_seen *content)
{
    static const char *const folders[] = {"/spool/queue", "/spool/hold"};
    struct bytes file;
    const char *path;
    int count = 0;

    for (size_t j = 0; j < ARRAY_LENGTH(folders); j++)
        for (unsigned i = 0; (path = sim_file_below(l->world, folders[j], i)) != NULL; i++) {
            PIECES_MUST(sim_file(l->world, path, &file));
            count += holds(file, content);
        }
    PIECES_MUST(count == 0 || l->of->spools);
    return count;
}

/* ---- the promises ---- */

/* No 250 but for what its target has accepted, or what lies in the maildir, or in the spool. */
static void check_acknowledged(const struct ledger *l, const struct session_message *m)
{
    static const char *const domains[] = {"", "mail.test", "list.test"};

    if (m->code / 100 != 2)
        return;
    int spooled = count_spooled(l, &m->content);
    if (!l->is_confused)
        PIECES_MUST(count_relayed(l, &m->content) <=
                    count_taken(l, &m->content, ACKNOWLEDGED) + spooled);
    for (int i = 0; i < m->rcpt_count; i++)
        if (m->domains[i] == SESSION_MAIL || m->domains[i] == SESSION_LIST)
            PIECES_MUST(count_files(l, domains[m->domains[i]], m->locals[i], &m->content) > 0 ||
                        spooled > 0);
}

/* An end of data reaches a target only if the client sent one: octet by octet, and once. Twice only
 * from the spool, where the target left postern in doubt, or the disk its records. */
static void check_taken(const struct ledger *l, const struct session_taken *taken)
{
    if (taken->accepted == 0 && taken->content.len == 0)
        return; /* a lone dot */
    PIECES_MUST(count_sent(l, &taken->content, true) > 0);
    enum wanted what = l->of->spools ? ENDED_FOR_SURE : ENDED;
    if (!l->of->spools || !l->of->has_faults)
        PIECES_MUST(count_taken(l, &taken->content, what) <= count_due(l, &taken->content));
}

static void check_file(const struct ledger *l, const char *path)
{
    struct bytes file;
    int sent = 0;

    PIECES_MUST(sim_file(l->world, path, &file));
    if (strstr(path, "/new/") == NULL) {
        PIECES_MUST(l->of->has_faults);
        return;
    }
    for (int i = 0; i < l->count; i++) {
        struct pieces_seen plain = {.len = 0};
        without_returns(&l->messages[i].content, &plain);
        sent += is_delivered(file, pieces_seen_bytes(&plain)) && has_domain(&l->messages[i], false);
        pieces_forget(&plain);
    }
    PIECES_MUST(sent > 0);
}

/* Where nothing is spooled, what the relay of a list refused is in no maildir. */
static void check_list(const struct ledger *l, const struct session_message *m)
{
    for (int i = 0; i < m->rcpt_count; i++)
        if (m->domains[i] == SESSION_LIST && !l->is_confused && !l->of->spools)
            PIECES_MUST(count_files(l, "list.test", m->locals[i], &m->content) == 0 ||
                        count_taken(l, &m->content, ACKNOWLEDGED) > 0);
}

void session_ledger_check(const struct session_ledger *of, struct sim *world)
{
    static struct ledger ledger;
    struct ledger *l = &ledger;
    const char *path;

    *l = (struct ledger){.of = of, .world = world};
    for (int i = 0; i < SESSION_CLIENTS; i++)
        l->count = session_client_read(&of->clients[i], l->messages, l->count, MESSAGES_MAX);
    for (int i = 0; i < of->target_count; i++)
        l->is_confused = l->is_confused || of->targets[i].is_confused;
    if (l->count < MESSAGES_MAX) {
        for (int i = 0; i < l->count; i++) {
            check_acknowledged(l, &l->messages[i]);
            check_list(l, &l->messages[i]);
        }
        for (int i = 0; i < of->target_count && !l->is_confused; i++)
            for (int j = 0; j < of->targets[i].taken_count; j++)
                check_taken(l, &of->targets[i].taken[j]);
        for (unsigned i = 0; (path = sim_file_below(world, "/mail", i)) != NULL; i++)
            check_file(l, path);
    }
    for (int i = 0; i < l->count; i++)
        pieces_forget(&l->messages[i].content);
}

void session_ledger_forget(struct session_ledger *l)
{
    for (int i = 0; i < SESSION_CLIENTS; i++)
        session_client_forget(&l->clients[i]);
    for (int i = 0; i < l->target_count; i++)
        session_target_forget(&l->targets[i]);
    l->target_count = 0;
    l->spools = l->has_faults = false;
}
