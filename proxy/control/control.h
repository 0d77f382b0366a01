/* SPDX-License-Identifier: BSD-2-Clause */
/* What posternctl asks: commands and their answers, on the control socket or in posternctl itself.
 *
 * A request is one line: words as xtext, separated by blanks; the first is "text" or "json", the
 * second the command. The answer is lines, and the first octet of each says what it is: a space:
 * to be printed; a hyphen: to be printed without its line end; a dot: ".CODE TEXT", the last one,
 * the exit code and what goes to stderr. */
#ifndef POSTERN_CONTROL_H
#define POSTERN_CONTROL_H

#include <stdbool.h>

#include "proxy/base/buf.h"
#include "proxy/base/bytes.h"

struct services;

#define CONTROL_REQUEST_MAX 4096
#define CONTROL_PATH_MAX    100 /* of a unix socket, less what its name is longer at first */

/* core.control-socket, or SPOOL/control. ERR_TOO_LONG. */
struct config;
int control_path(const struct config *config, char path_out[CONTROL_PATH_MAX]);

/* ---- the socket ---- */

struct control;

/* Listens there, mode 0600, in the place of who was there before. NULL: *error_out. */
struct control *control_start(struct services *services, int *error_out);
/* Connections are closed; the loop waits for what runs. */
void control_stop(struct control *c);

/* ---- one command ---- */

/* Is it a command at all, with the arguments that it takes? 0, EX_USAGE or EX_OSERR, and what is
 * wrong in `problem`. `request` has no line end. */
int control_check(struct bytes request, struct buf *problem);

struct control_run;

/* `news` is called when control_answer() has something again after it had not, never within a
 * call. NULL: no memory. */
struct control_run *control_begin(struct services *services, struct bytes request,
                                  void (*news)(void *owner), void *owner);
/* What is to be told next, made as it is asked for. Empty: nothing now; or it is over. */
struct bytes control_answer(struct control_run *run);
void control_told(struct control_run *run, size_t octets);
bool control_is_over(const struct control_run *run); /* and all of it was told */
/* At any time. What has begun is done, and nobody hears of it. */
void control_end(struct control_run **run);

#endif
