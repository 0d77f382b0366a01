/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads one command line: which verb, and the argument of MAIL and RCPT. Pure. */
#ifndef POSTERN_COMMAND_H
#define POSTERN_COMMAND_H

#include "proxy/base/arena.h"
#include "proxy/base/bytes.h"
#include "proxy/smtp/address.h"

enum verb {
    VERB_UNKNOWN,
    VERB_HELO,
    VERB_EHLO,
    VERB_LHLO,
    VERB_MAIL,
    VERB_RCPT,
    VERB_DATA,
    VERB_BDAT,
    VERB_RSET,
    VERB_NOOP,
    VERB_QUIT,
    VERB_VRFY,
    VERB_HELP,
    VERB_EXPN,
    VERB_TURN,
    VERB_SEND,
    VERB_SOML,
    VERB_SAML,
    VERB_ATRN,
    VERB_ETRN,
    VERB_XCLIENT,
    VERB_XFORWARD,
    VERB_STARTTLS,
    VERB_AUTH
};

const char *command_name(enum verb verb);
/* *argument_out: the rest of the line, without the white space around it. */
enum verb command_verb(struct bytes line, struct bytes *argument_out);

/* RFC 5321 4.1.1.2:  mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
 * RFC 5321 4.1.1.3:  rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" /
 *                           Forward-path ) [SP Rcpt-parameters] CRLF
 * `argument` is what command_verb() gave, `prefix` "FROM:" or "TO:"; white space after the colon
 * is accepted (old clients write it). *params_out: the rest, borrowed from `argument`. 0 or the
 * errors of address_parse_path(). */
int command_path(struct bytes argument, const char *prefix, struct arena *arena,
                 struct address *address_out, struct bytes *params_out);

/* RFC 5321 4.1.1.1: the argument of HELO and EHLO is a domain or an address literal. Accepted,
 * as by other servers, are 1 to 255 octets without control characters but TAB. */
bool command_is_helo_argument(struct bytes argument);

/* What ETRN asks for: RFC 1985, DESIGN 9. */
enum command_etrn_form {
    COMMAND_ETRN_DOMAIN,     /* node: exactly that domain */
    COMMAND_ETRN_SUBDOMAINS, /* @node: that domain and all below it */
    COMMAND_ETRN_TARGET      /* #name: the queue of that target */
};

/* *name_out: without "@" and "#", borrowed from `argument`. 0; ERR_NOT_FOUND: no argument, or more
 * than one; ERR_SYNTAX: no domain. */
int command_etrn(struct bytes argument, enum command_etrn_form *form_out, struct bytes *name_out);

#endif
