/* SPDX-License-Identifier: BSD-2-Clause */
/* A session without a shell, which plays scripts: what goes in, and what must come out of it.
 *
 * S text  the client gets a line      A text  an action; both in order, and nothing else
 *
 * Whatever else a line begins with is the test's own. */
#ifndef POSTERN_SESSION_SCRIPT_H
#define POSTERN_SESSION_SCRIPT_H

#include "proxy/smtp/session.h"
#include "tests/unit/lib.h"

struct session_script;

struct session_script_use {
    /* May note it. */
    void (*perform)(struct session_script *s, const struct session_action *todo);
    /* A line of the test's own. The client's octets come in pieces: `step` more of them each time
     * are there. */
    void (*play)(struct session_script *s, const char *line, size_t step);
};

struct session_script {
    const struct session_script_use *use;
    struct pool small, medium;
    struct session_conf conf;
    struct session session;
    char log[65536]; /* "S ..." and "A ..." lines that nobody has asked for yet */
    size_t log_bytes;
    bool is_closed; /* nothing is done from then on */
};

/* Greets; a client at no address. The caller sets in the session what it needs. */
struct session_script *session_script_new(const struct session_script_use *use,
                                          const struct session_conf *conf);
void session_script_note(struct session_script *s, const char *kind, const char *text);
void session_script_drain(struct session_script *s);
/* The client sends `len` octets and CRLF: those of the text, then dots. They are overwritten once
 * they are taken, since no pointer to them may be kept. */
void session_script_say(struct session_script *s, const char *text, size_t len, size_t step);
/* The greeting comes first. */
void session_script_play(struct session_script *s, const char *name, const char *script,
                         size_t step);
/* All memory must have been given back. */
void session_script_free(struct session_script *s);

#endif
