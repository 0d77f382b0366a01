/* SPDX-License-Identifier: BSD-2-Clause */
/* The rows of [milter "N"]. */
#include "filters/milter/milter_conf.h"

#include "proxy/base/error.h"

/* ---- address ---- */

static int parse_address(struct bytes word, struct arena *arena, void *item_out)
{
    size_t colon = bytes_find(word, ':'), at = bytes_find(word, '@');
    struct endpoint endpoint;
    int error;

    (void)arena;
    if (bytes_start_with_nocase(word, "inet:") && at < word.len)
        error = endpoint_parse_host(bytes_skip(word, at + 1),
                                    bytes_make(word.at + colon + 1, at - colon - 1), &endpoint);
    else
        error = endpoint_parse(word, &endpoint);
    if (error == 0 && endpoint.kind == ENDPOINT_IP && endpoint.ip.port == 0)
        error = ERR_SYNTAX;
    if (error == 0)
        memcpy(item_out, &endpoint, sizeof(endpoint));
    return error;
}

static const struct setting_type address_type = {.expected =
                                                     "HOST:PORT, inet:PORT@HOST or unix:/PATH",
                                                 .item_bytes = sizeof(struct endpoint),
                                                 .parse = parse_address,
                                                 .put = endpoint_put};

/* ---- macros ---- */

static int find_stage(struct bytes word, unsigned *stage_out)
{
    for (unsigned stage = 0; stage < MILTER_STAGE_COUNT; stage++) {
        if (!bytes_is(word, milter_stage_names[stage]))
            continue;
        *stage_out = stage;
        return 0;
    }
    return ERR_SYNTAX;
}

static int parse_macros(const struct cf_word *words, size_t word_count, struct arena *arena,
                        void *item_out, size_t *wrong_out)
{
    struct milter_list list = {.stage = 0};
    size_t len = 0;
    uint8_t *names;

    *wrong_out = 0;
    if (find_stage(words[0].text, &list.stage) != 0)
        return ERR_SYNTAX;
    for (size_t i = 1; i < word_count; i++)
        len += words[i].text.len + 1;
    *wrong_out = word_count;
    if (len > MILTER_LIST_MAX)
        return ERR_SYNTAX;
    names = arena_alloc(arena, len + 1);
    if (names == NULL)
        return ERR_MEMORY;
    list.names.at = names;
    for (size_t i = 1; i < word_count; i++) {
        if (list.names.len != 0)
            names[list.names.len++] = ' ';
        memcpy(names + list.names.len, words[i].text.at, words[i].text.len);
        list.names.len += words[i].text.len;
    }
    memcpy(item_out, &list, sizeof(list));
    return 0;
}

static void put_macros(const void *item, struct buf *out)
{
    const struct milter_list *list = item;

    buf_text(out, milter_stage_names[list->stage]);
    if (list->names.len != 0)
        buf_byte(out, ' ');
    buf_put(out, list->names);
}

static const struct setting_type macros_type = {
    .expected = "connect, helo, mail, rcpt, data, eoh, eom or unknown, and names of macros",
    .item_bytes = sizeof(struct milter_list),
    .parse_words = parse_macros,
    .put = put_macros};

/* ---- skip-when ---- */

static int parse_skip(struct bytes word, struct arena *arena, void *item_out)
{
    struct filter_exempt exempt;
    int error = filter_exempt_type.parse(word, arena, &exempt);

    if (error == 0 && exempt.kind == FILTER_EXEMPT_DOMAIN)
        error = ERR_SYNTAX;
    if (error == 0)
        memcpy(item_out, &exempt, sizeof(exempt));
    return error;
}

static void put_skip(const void *item, struct buf *out)
{
    filter_exempt_type.put(item, out);
}

static const struct setting_type skip_type = {.expected =
                                                  "a network (ADDR or ADDR/BITS) or authenticated",
                                              .item_bytes = sizeof(struct filter_exempt),
                                              .parse = parse_skip,
                                              .put = put_skip};

/* ---- actions ---- */

#define WORD_ALL  1U
#define WORD_NONE 2U

/* What each word lets a milter do, in the order of `action_names`. */
static const struct action_row {
    const char *word;
    uint32_t edit;    /* FILTER_EDIT() */
    uint32_t actions; /* bits of SMFIF_* that it takes */
} action_rows[] = {
    {"add-header", FILTER_EDIT(FILTER_ADD_FIELD), SMFIF_ADDHDRS},
    {"insert-header", FILTER_EDIT(FILTER_INSERT_FIELD), SMFIF_ADDHDRS},
    {"change-header", FILTER_EDIT(FILTER_CHANGE_FIELD), SMFIF_CHGHDRS},
    {"change-body", FILTER_EDIT(FILTER_REPLACE_BODY), SMFIF_CHGBODY},
    {"change-from", FILTER_EDIT(FILTER_CHANGE_SENDER), SMFIF_CHGFROM},
    {"add-rcpt", FILTER_EDIT(FILTER_ADD_RCPT), SMFIF_ADDRCPT | SMFIF_ADDRCPT_PAR},
    {"delete-rcpt", FILTER_EDIT(FILTER_DELETE_RCPT), SMFIF_DELRCPT},
    {"quarantine", FILTER_EDIT(FILTER_QUARANTINE), SMFIF_QUARANTINE},
};
static const char action_names[] =
    "all|none|add-header|insert-header|change-header|change-body|change-from|add-rcpt|delete-rcpt|"
    "quarantine";

static const unsigned action_bits[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512};

uint32_t milter_conf_edits_of(uint32_t actions)
{
    uint32_t edits = 0;

    for (size_t i = 0; i < ARRAY_LENGTH(action_rows); i++)
        if ((action_rows[i].actions & actions) != 0)
            edits |= action_rows[i].edit;
    return edits;
}

void milter_conf_put_edits(struct buf *out, uint32_t edits)
{
    for (size_t i = 0; i < ARRAY_LENGTH(action_rows); i++)
        if ((action_rows[i].edit & edits) != 0)
            buf_cat(out, action_rows[i].word, "\n", NULL);
    if (buf_length(out) == 0)
        buf_text(out, "none\n");
}

/* ---- rows ---- */

#define AT(member) SETTING_AT(milter_conf, member)

static const struct setting rows[] = {
    {"address", SETTING_CUSTOM_LIST, AT(addresses), NULL, NULL,
     .initial_help = "none, and one is needed", .type = &address_type,
     .help = "where the milter listens, HOST:PORT, inet:PORT@HOST or unix:PATH; the next one is "
             "tried while one cannot be reached"},
    {"connect-timeout", SETTING_DURATION, AT(times.connect_ms), "10s", "1s..",
     .help = "for a connection to be made, for each address"},
    {"command-timeout", SETTING_DURATION, AT(times.command_ms), "30s", "1s..",
     .help = "for the answer to a command"},
    {"content-timeout", SETTING_DURATION, AT(times.content_ms), "5m", "1s..",
     .help = "for the milter to take content or to answer it, and for its last answer, from one "
             "sign of progress to the next"},
    {"default-action", SETTING_CHOICE, AT(default_action), "tempfail",
     "accept|tempfail|reject|quarantine",
     .help = "what a message gets while the milter cannot be reached, or says what nobody "
             "understands. accept: as if it had said nothing; tempfail: 451 4.7.1; reject: 550 "
             "5.7.1; quarantine: it is held in the spool, but for one that the milter has begun "
             "to change: 451 4.7.1"},
    {"actions", SETTING_CHOICES, AT(action_words), "all", action_names, .bits = action_bits,
     .help = "what it is offered to do with messages; those that it may not use need not hold a "
             "message back until it has judged it"},
    {"protocol", SETTING_COUNT, AT(protocol), "6", "2..6",
     .help = "the version that is offered: 2, 3, 4 or 6"},
    {"macros", SETTING_PHRASES, AT(lists), NULL, NULL,
     .initial_help = "those of Postfix, or those that the milter asks for", .type = &macros_type,
     .help = "the macros that it gets at a stage (connect, helo, mail, rcpt, data, eoh, eom, "
             "unknown), unless it asks for others"},
    {"skip-when", SETTING_CUSTOM_LIST, AT(skips), NULL, NULL, .initial_help = "nobody",
     .type = &skip_type,
     .help = "whose mail it is not asked about: networks of clients, authenticated"},
    FILTER_ROWS(milter_conf),
};

const struct setting_section milter_conf_section = {
    .kind = "milter",
    .rows = rows,
    .row_count = ARRAY_LENGTH(rows),
    .conf_bytes = sizeof(struct milter_conf),
    .is_named = true,
    .name_offset = AT(common.section),
    .help = "a filter that is a milter: postern asks it as Sendmail and Postfix do",
};

/* ---- what follows ---- */

static void check(struct setting_reading *section, const struct milter_conf *conf)
{
    struct cf_problems *problems = section->problems;
    unsigned loners = conf->action_words & (WORD_ALL | WORD_NONE);

    if (conf->addresses.count == 0)
        cf_fault(problems, section->place, bytes_of("a milter needs an address"));
    if (conf->protocol == 5)
        cf_unexpected(problems, section->place_of(section, "protocol", 0),
                      "5, which does not exist", "2, 3, 4 or 6");
    if (loners != 0 && loners != conf->action_words)
        cf_unexpected(problems, section->place_of(section, "actions", 0),
                      "all or none beside another action", "it to stand alone");
}

void milter_conf_finish(struct setting_reading *section)
{
    struct milter_conf *conf = section->conf;
    uint32_t actions = 0;

    check(section, conf);
    for (size_t i = 0; i < ARRAY_LENGTH(action_rows); i++) {
        if ((conf->action_words & (WORD_ALL | WORD_NONE << (i + 1))) == 0)
            continue;
        actions |= action_rows[i].actions;
        conf->edits |= action_rows[i].edit;
    }
    conf->choice.version = conf->protocol == 5 ? 4 : conf->protocol;
    conf->choice.actions = actions | SMFIF_SETSYMLIST;
    for (size_t i = 0; i < conf->lists.count; i++) {
        struct bytes *list = &conf->choice.lists[conf->lists.at[i].stage];

        if (list->at != NULL)
            cf_unexpected(section->problems, section->place_of(section, "macros", 0),
                          "two lists for one stage", "one");
        *list = conf->lists.at[i].names;
    }
    conf->common.on_error = conf->default_action == MILTER_DEFAULT_ACCEPT ? FILTER_ON_ERROR_PASS
                                                                          : FILTER_ON_ERROR_DEFER;
}
