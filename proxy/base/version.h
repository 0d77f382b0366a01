/* SPDX-License-Identifier: BSD-2-Clause */
/* The version that --version and the log tell. */
#ifndef POSTERN_VERSION_H
#define POSTERN_VERSION_H

#define POSTERN_VERSION "0.1"

#endif
