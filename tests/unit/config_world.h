/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of configurations share: hosts, accounts and services that never change, and one
 * configuration that is read from a file in a folder of its own. */
#ifndef POSTERN_CONFIG_WORLD_H
#define POSTERN_CONFIG_WORLD_H

#include "tests/unit/lib.h"

#include <sys/types.h>

#include "proxy/config/config.h"

/* geteuid() gives `config_world_uid`, gethostname() "host". Hosts: host, host.example.net,
 * mx.example.net (127.0.0.1 and ::1), other.example.net, localhost. Interfaces: 192.0.2.1,
 * 2001:db8::1. Accounts: root, toor (0), postern (107), postmaster (500); the group nobody. The
 * service odd-service (2627). */
extern uid_t config_world_uid;

struct config_world {
    struct config *config;
    int code;
    char *problems; /* as printed */
    char *dump;     /* NULL unless the code is 0 */
};

#define CONFIG_WORLD_ARGUMENTS_MAX 560

/* A listener that nothing is to be said of. */
#define CONFIG_WORLD_QUIET "[smtpd \"s\"]\nlisten-port = localhost:2525\n"

void config_world_write(const char *path, const char *text);
/* Reads t.cf as it is. */
void config_world_read(struct config_world *w, int argc, char **argv, bool is_check);
/* Writes t.cf and reads it; `flags`: each on a line. */
void config_world_load(struct config_world *w, const char *text, const char *flags, bool is_check);
void config_world_unload(struct config_world *w);

/* For the group of tests: into a folder that is empty, and away with it. */
int config_world_enter(void **state);
int config_world_leave(void **state);

#endif
