/* SPDX-License-Identifier: BSD-2-Clause */
/* Where log lines go, for who judges that before a start. */
#ifndef POSTERN_LOG_WHERE_H
#define POSTERN_LOG_WHERE_H

#include "proxy/io/log.h"

#define LOG_PATH_MAX 4096 /* NUL included */

/* The file that a pattern of strftime(3) names at that time. 0 or -ENAMETOOLONG. */
int log_where_file(struct bytes pattern, int64_t wall_s, char path_out[LOG_PATH_MAX]);
/* Of LOG_TO_SYSLOG and LOG_TO_JOURNAL. */
const char *log_where_socket(enum log_kind kind);
/* Does anybody take lines at that socket? 0 or -errno. */
int log_where_probe(enum log_kind kind);

#endif
