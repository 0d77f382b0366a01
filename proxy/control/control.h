/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of posternctl and their answers, on the control socket or in posternctl itself.
 *
 * A request is one line: words as xtext, separated by blanks; the first is "text" or "json", the
 * second the command. The answer is lines. The first octet of each says what to do with it: a
 * space: print the line; a hyphen: print it without its line end; a dot: ".CODE TEXT" is the last
 * line, the exit code and the text for stderr. */
#ifndef POSTERN_CONTROL_H
#define POSTERN_CONTROL_H

#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

struct services;

#define CONTROL_REQUEST_MAX 4096
#define CONTROL_PATH_MAX    100 /* of a unix socket; its first, longer name must fit, too */

/* core.control-socket, or SPOOL/control. 0 or ERR_TOO_LONG. */
struct config;
int control_path(const struct config *config, char path_out[CONTROL_PATH_MAX]);

/* ---- the socket ---- */

struct control;

/* Listens at control_path(), mode 0600, and replaces a socket that is there. NULL: *error_out. */
struct control *control_start(struct services *services, int *error_out);
/* Closes the connections; the loop waits for commands that run. */
void control_stop(struct control *control);

/* ---- one command ---- */

/* Is `request`, which has no line end, a command with the arguments that it takes? 0 or EX_USAGE,
 * and what is wrong in `problem`. */
int control_check(struct bytes request, struct buf *problem);

struct control_run;

/* Calls `news` when control_answer() has something again after it had nothing, but never from
 * within a call. NULL: no memory. */
struct control_run *control_begin(struct services *services, struct bytes request,
                                  void (*news)(void *owner), void *owner);
/* The next octets of the answer. Empty: nothing now, or the answer is over. */
struct bytes control_answer(struct control_run *run);
void control_told(struct control_run *run, size_t octets); /* they were sent */
bool control_is_over(const struct control_run *run);       /* and all of the answer was sent */
/* Legal at any time. A job that has begun is finished, but nobody hears of it. */
void control_end(struct control_run **run);

#endif
