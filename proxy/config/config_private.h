/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration while it is read: sections, and the place of each value in the file. */
#ifndef POSTERN_CONFIG_PRIVATE_H
#define POSTERN_CONFIG_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "proxy/base/hash.h"
#include "proxy/base/setting.h"
#include "proxy/config/config.h"

/* One word that was assigned. */
struct config_value {
    struct config_value *next;
    struct cf_place place;
};

struct config_values {
    struct config_value *first, *last;
    bool is_given;      /* the key was given, even if with a bad value */
    bool is_overridden; /* flags have replaced the file's values */
};

struct config_section {
    struct config_section *next;
    struct hash_entry by_name;
    const struct setting_section *kind;
    struct bytes name; /* empty: [core], [syslog], the global [route] */
    void *conf;        /* of the kind's type */
    struct cf_place place;
    struct config_values *values;      /* one for each row of the kind */
    struct route_line *last_flag_line; /* in a [route] the flags' lines come before the file's */
};

struct config_builder {
    struct hash_table by_name;
    struct config_section *first, *last;
    bool has_usage_error;
};

#define CONFIG_NAME_MAX 255 /* octets in the name of a section */

/* All of these return 0 or ERR_MEMORY unless they say otherwise. A problem of the configuration is
 * reported and returns 0. */

/* ---- config_builder.c ---- */
int config_builder_init(struct config *config);
const struct setting_section *config_builder_kind(struct bytes kind); /* or NULL */
/* Every kind, one after another; NULL after the last. */
const struct setting_section *config_builder_each_kind(size_t index);
/* The kind of target that `section` belongs to; NULL: none. */
const struct target_kind *config_builder_target_kind(const struct setting_section *section);
/* NULL: there is no such section. */
struct config_section *config_builder_find(const struct config *config,
                                           const struct setting_section *kind, struct bytes name);
/* ... of any kind of target. */
const struct config_section *config_builder_find_target(const struct config *config,
                                                        struct bytes name);
/* Finds the section, or begins it. NULL in `section_out`: the name was refused. */
int config_builder_section(struct config *config, const struct setting_section *kind,
                           struct bytes name, struct cf_place place,
                           struct config_section **section_out);
/* Where value number `index` was given; the section's place where it is a default. */
struct cf_place config_builder_place(const struct config_section *section, const char *key,
                                     size_t index);
bool config_builder_is_given(const struct config_section *section, const char *key);
/* Turns the sections into the arrays of `config`. */
int config_builder_arrays(struct config *config);

/* ---- config_assign.c ---- */
/* Where assignments come from. */
struct config_file {
    const struct config_file *parent; /* the file that includes this one, or NULL */
    const char *path;
    dev_t device;
    ino_t inode;
    bool is_flag; /* the command line, or included from there: overrides */
};
/* words[0] of the item is the key or the pattern. Does not include files (`file PATH`). */
int config_assign(struct config *config, struct config_section *section, const struct cf_item *item,
                  const struct config_file *file);

/* ---- config_file.c ---- */
int config_file_read(struct config *config, const char *path);
/* As config_assign(), but `file PATH` in a routing table includes that file. */
int config_file_assign(struct config *config, struct config_section *section,
                       const struct cf_item *item, const struct config_file *file);

/* ---- config_flags.c ---- */
int config_flags_unnamed(struct config *config, const struct flags *flags); /* [core], [syslog] */
int config_flags_declare(struct config *config, const struct flags *flags); /* --smtpd=foo */
int config_flags_named(struct config *config, const struct flags *flags);

/* ---- config_finish.c: defaults, references, and what must fit together ---- */
int config_finish(struct config *config);
/* What a section names is read, too. */
int config_load(struct config *config, const struct config_section *section,
                int (*load)(struct setting_reading *));

/* ---- config_tls.c ---- */
int config_tls_load(struct config *config);
int config_tls_load_one(struct config *config, struct bytes target);
void config_tls_check(struct config *config); /* warns where a change of them takes a restart */
void config_tls_free(struct config *config);

/* ---- config_filters.c ---- */
/* The kind of filter that `section` belongs to; NULL: none. */
const struct filter_kind *config_filters_kind(const struct setting_section *section);
/* Finds the filters that the key `filter` of the section names. */
int config_filters_choose(struct config *config, const struct config_section *section,
                          const struct setting_texts *names, struct filter_choices *choices_out);
/* The kind is NULL where no filter has this name. */
struct filter_choice config_filters_find(const struct config *config, struct bytes name);
void config_filters_check(struct config *config); /* what --check does beyond a start */

/* ---- config_resolve.c: what the system is asked ---- */
int config_resolve_hostname(struct config *config); /* core.hostname, if it is not given */
void config_resolve_sizes(struct config *config);   /* max-memory, spool-reserve */
int config_resolve_account(struct config *config);
int config_resolve_listeners(struct config *config);
/* The addresses of a host with this port, in the arena; none where its name does not resolve. */
int config_resolve_host(struct config *config, struct bytes host, uint16_t port,
                        struct setting_addresses *addresses_out);

/* ---- config_check.c: where routes lead ---- */
int config_check_open_relays(struct config *config); /* warns */
void config_check_auth(struct config *config);       /* finds where AUTH is passed to, or reports */
/* Warns where RLIMIT_NOFILE, raised as far as it may be, does not suffice. */
void config_check_descriptors(struct config *config);
int config_check_routes(struct config *config);  /* compiles them */
int config_check_targets(struct config *config); /* what --check does beyond a start */

#endif
