# SPDX-License-Identifier: BSD-2-Clause
"""What the functional tests start and look at: postern, Postfix, a DNS server, mail programs."""
