/* SPDX-License-Identifier: BSD-2-Clause */
/* Error numbers: 0 is fine, ours lie below -10000, system errors are -errno (as in libuv). */
#ifndef POSTERN_ERROR_H
#define POSTERN_ERROR_H

#define ERROR_LIST(X)                                                                              \
    X(ERR_MEMORY, -10001, "out of memory")                                                         \
    X(ERR_FULL, -10002, "no room left in a bounded buffer")                                        \
    X(ERR_SYNTAX, -10003, "syntax error")                                                          \
    X(ERR_TOO_LONG, -10004, "longer than the limit")                                               \
    X(ERR_BARE_NEWLINE, -10005, "line feed or carriage return alone")                              \
    X(ERR_RANGE, -10006, "value out of range")                                                     \
    X(ERR_NOT_FOUND, -10007, "not found")                                                          \
    X(ERR_GARBAGE, -10008, "a reply that no SMTP server may give here")                            \
    X(ERR_TIMEOUT, -10009, "timed out")                                                            \
    X(ERR_CLOSED, -10010, "connection closed by the other side")                                   \
    X(ERR_TLS, -10011, "TLS failed")                                                               \
    X(ERR_NO_TLS, -10012, "STARTTLS is not announced, and must be used")                           \
    X(ERR_NO_AUTH, -10013, "AUTH is not announced, or no mechanism that can be used")              \
    X(ERR_AUTH_PLAIN, -10014, "no mechanism is announced that may be used without TLS")            \
    X(ERR_AUTH_PROOF, -10015, "the target has not proved that it knows the password")              \
    X(ERR_AUTH_ROUNDS, -10016, "SCRAM with fewer than 4096 or more than 1000000 rounds")           \
    X(ERR_AUTH_PASSWORD, -10018, "the password has characters that SCRAM cannot use (RFC 4013)")   \
    X(ERR_AUTH_USER, -10019, "auth-user has characters that SCRAM cannot use (RFC 4013)")

enum error_number {
#define X(name, number, text) name = number,
    ERROR_LIST(X)
#undef X
};

/* A text for our own numbers; NULL for any other (the shell asks strerror for those). */
const char *error_text(int error);

#endif
