/* SPDX-License-Identifier: BSD-2-Clause */
/* Verbs of mail have four letters, so they are compared as one number. */
#include "proxy/smtp/command.h"

#include "proxy/base/error.h"
#include "proxy/base/text.h"

#define VERB(a, b, c, d)                                                                           \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))

static enum verb verb_of(uint32_t letters)
{
    switch (letters) {
    case VERB('h', 'e', 'l', 'o'):
        return VERB_HELO;
    case VERB('e', 'h', 'l', 'o'):
        return VERB_EHLO;
    case VERB('l', 'h', 'l', 'o'):
        return VERB_LHLO;
    case VERB('m', 'a', 'i', 'l'):
        return VERB_MAIL;
    case VERB('r', 'c', 'p', 't'):
        return VERB_RCPT;
    case VERB('d', 'a', 't', 'a'):
        return VERB_DATA;
    case VERB('b', 'd', 'a', 't'):
        return VERB_BDAT;
    case VERB('r', 's', 'e', 't'):
        return VERB_RSET;
    case VERB('n', 'o', 'o', 'p'):
        return VERB_NOOP;
    case VERB('q', 'u', 'i', 't'):
        return VERB_QUIT;
    case VERB('v', 'r', 'f', 'y'):
        return VERB_VRFY;
    case VERB('h', 'e', 'l', 'p'):
        return VERB_HELP;
    case VERB('e', 'x', 'p', 'n'):
        return VERB_EXPN;
    case VERB('t', 'u', 'r', 'n'):
        return VERB_TURN;
    case VERB('s', 'e', 'n', 'd'):
        return VERB_SEND;
    case VERB('s', 'o', 'm', 'l'):
        return VERB_SOML;
    case VERB('s', 'a', 'm', 'l'):
        return VERB_SAML;
    case VERB('a', 't', 'r', 'n'):
        return VERB_ATRN;
    case VERB('a', 'u', 't', 'h'):
        return VERB_AUTH;
    case VERB('e', 't', 'r', 'n'):
        return VERB_ETRN;
    }
    return VERB_UNKNOWN;
}

const char *command_name(enum verb verb)
{
    static const char *const names[] = {
        [VERB_UNKNOWN] = "UNKNOWN",   [VERB_HELO] = "HELO",         [VERB_EHLO] = "EHLO",
        [VERB_LHLO] = "LHLO",         [VERB_MAIL] = "MAIL",         [VERB_RCPT] = "RCPT",
        [VERB_DATA] = "DATA",         [VERB_BDAT] = "BDAT",         [VERB_RSET] = "RSET",
        [VERB_NOOP] = "NOOP",         [VERB_QUIT] = "QUIT",         [VERB_VRFY] = "VRFY",
        [VERB_HELP] = "HELP",         [VERB_EXPN] = "EXPN",         [VERB_TURN] = "TURN",
        [VERB_SEND] = "SEND",         [VERB_SOML] = "SOML",         [VERB_SAML] = "SAML",
        [VERB_ATRN] = "ATRN",         [VERB_ETRN] = "ETRN",         [VERB_XCLIENT] = "XCLIENT",
        [VERB_XFORWARD] = "XFORWARD", [VERB_STARTTLS] = "STARTTLS", [VERB_AUTH] = "AUTH",
    };

    return names[verb];
}

static enum verb long_verb(struct bytes word)
{
    if (bytes_is_nocase(word, "XCLIENT"))
        return VERB_XCLIENT;
    if (bytes_is_nocase(word, "STARTTLS"))
        return VERB_STARTTLS;
    return bytes_is_nocase(word, "XFORWARD") ? VERB_XFORWARD : VERB_UNKNOWN;
}

enum verb command_verb(struct bytes line, struct bytes *argument_out)
{
    size_t end = 0;

    while (end < line.len && !byte_is_blank(line.at[end]))
        end++;
    *argument_out = text_trim(bytes_skip(line, end));
    if (end != 4)
        return long_verb(bytes_first(line, end));
    return verb_of(VERB(byte_lower(line.at[0]), byte_lower(line.at[1]), byte_lower(line.at[2]),
                        byte_lower(line.at[3])));
}

int command_path(struct bytes argument, const char *prefix, struct arena *arena,
                 struct address *address_out, struct bytes *params_out)
{
    struct bytes path, rest;
    struct address address;
    size_t used;
    int error;

    if (!bytes_start_with_nocase(argument, prefix))
        return ERR_SYNTAX;
    path = text_trim(bytes_skip(argument, strlen(prefix)));
    error = address_parse_path(path, arena, &address, &used);
    if (error != 0)
        return error;
    rest = bytes_skip(path, used);
    if (rest.len > 0 && !byte_is_blank(rest.at[0]))
        return ERR_SYNTAX;
    *address_out = address;
    *params_out = text_trim(rest);
    return 0;
}

bool command_is_helo_argument(struct bytes argument)
{
    if (argument.len == 0 || argument.len > 255)
        return false;
    for (size_t i = 0; i < argument.len; i++)
        if ((argument.at[i] < 32 && argument.at[i] != '\t') || argument.at[i] == 127)
            return false;
    return true;
}

static bool is_target_name(struct bytes name)
{
    for (size_t i = 0; i < name.len; i++)
        if (name.at[i] < 33 || name.at[i] > 126)
            return false;
    return name.len != 0;
}

int command_etrn(struct bytes argument, enum command_etrn_form *form_out, struct bytes *name_out)
{
    struct bytes name = text_word(&argument);
    enum command_etrn_form form = COMMAND_ETRN_DOMAIN;

    if (name.len == 0 || text_word(&argument).len != 0)
        return ERR_NOT_FOUND;
    if (name.at[0] == '@')
        form = COMMAND_ETRN_SUBDOMAINS;
    else if (name.at[0] == '#')
        form = COMMAND_ETRN_TARGET;
    if (form != COMMAND_ETRN_DOMAIN)
        name = bytes_skip(name, 1);
    if (form == COMMAND_ETRN_TARGET ? !is_target_name(name) : !text_is_host_name(name))
        return ERR_SYNTAX;
    *form_out = form;
    *name_out = name;
    return 0;
}
