/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration that gives every key a value that is not its default. */
#ifndef POSTERN_CONFIG_EVERY_KEY_H
#define POSTERN_CONFIG_EVERY_KEY_H

/* Each value differs from the default. */
static const char every_key[] =
    "[core]\nhostname = mx.example.net\nlogger = syslog l\nlog-format = json\n"
    "user-id = postmaster\ngroup-id = nobody\npid-file = /p\nspool-directory = \"/a b\"\n"
    "workers = 3\ncontrol-socket = /run/p\nresolver = 192.0.2.53 [2001:db8::53]:5353\n"
    "shutdown-timeout = 31s\nmax-memory = 65m\ncopy-memory = 3m\nmax-copies = 5g\n"
    "spool-reserve = 7m\npostmaster = joe@example.net\nbounce-to = both\nbounce-relay = r\n"
    "delay-warning = 4h\nquarantine-expire = 31d\n[syslog]\nident = \"p q\"\nfacility = "
    "local3\n[logfile \"l\"]\n"
    "file = /var/log/p-%Y\n[smtpd \"s\"]\nname = other.example.net\n"
    "listen-port = 26 localhost:27 [::1]:28 127.0.0.2:29\n"
    "listen-port = ipv6-localhost:submission ipv4-localhost:odd-service\nprotocol = smtp\n"
    "routing-table = t u\nlogger = l\nmax-message-size = 1m\nmax-recipients = 7\n"
    "max-connections = 8\nmax-connections-per-client = 9\nmax-errors = 10\nmax-junk-commands = 11\n"
    "command-timeout = 12s\ndata-timeout = 13s\nsession-timeout = 14s\ngreet-delay = 2s\n"
    "bare-newline = reject\nbare-newline-exempt = 10.0.0.0/8 ::1\nmax-overshoot = 12\n"
    "xclient-from = 192.0.2.0/28 ::1\nxforward-from = 192.0.2.3\nproxy-protocol-from = ::2\n"
    "etrn-from = 192.0.2.0/24 a.example b.example \"#r\"\netrn-from = ::1\nsplit = defer\n"
    "relay-from = 192.0.2.0/24\nrouted-recipients = pass\nearly-input = accept\n"
    "tls = implicit\ntls-certificate = /c /d\ntls-key = /k /l\ntls-client-ca = /ca\n"
    "limit-exempt = 192.0.2.7\nresolve-timeout = 6s\nrefuse = \"not \\\"now\\\"\"\n"
    "resolve-names = no\nannounce = 8BITMIME\nhide = SIZE pipelining\nfilter = f g\n"
    "[relay \"r\"]\nfilter = g\n"
    "name = r.example\naddress = 10.0.0.1\naddress 10.0.0.2:26 2\naddress [::1]:27 1000\n"
    "address = h.example:28\naddress = unix:/run/r\naddress = \"unix:/run/a \\\"b\" 3\nprotocol = "
    "smtp\nport = 2500\nmx = no\n"
    "helo = h.example\nidentity = xclient proxy-v1\nidentity-failure = pass\n"
    "xclient-address = bare\nreceived = never\non-failure = tempfail\nunverified = defer\n"
    "remember = 2d 3h 4\nretry = 1m 90s\nretry = 3m\nexpire = 6d\nmax-connections = 41\n"
    "idle-connections = 0\nbalance = round-robin\nfailover = no\nidle-timeout = "
    "31s\nmax-transactions = 101\n"
    "connect-timeout = 11s\ncommand-timeout = 61s\nenvelope-timeout = 121s\ndata-timeout = 181s\n"
    "final-timeout = 301s\nchunking = no\nhealth-interval = 11s\n[maildir \"m\"]\n"
    "path = \"/m/${RCPT_DOMAIN}/${RCPT_LOCAL}\"\nfilter = f\n[spf \"f\"]\n"
    "fail = defer\nsoftfail = pass\nneutral = reject\nnone = pass\npermerror = reject\n"
    "temperror = mark\ncheck = both\nheader = none\nauthserv-id = a.b\nexplain = no\ntimeout = "
    "21s\n"
    "exempt = ::1 @g.b authenticated\nshadow = yes\non-error = pass\n[spf \"g\"]\n"
    "[milter \"h\"]\naddress = 10.0.0.3:10025 inet:10026@10.0.0.4 inet:10027@h.example\n"
    "address = [::1]:10028 i.example:10029 unix:/run/m\nconnect-timeout = 12s\n"
    "command-timeout = 32s\ncontent-timeout = 6m\ndefault-action = quarantine\n"
    "actions = add-header quarantine\nprotocol = 4\nmacros = connect j {daemon_name}\n"
    "macros = unknown\nskip-when = 10.0.0.0/8 authenticated\nexempt = @g.b\nshadow = yes\n"
    "[milter-server \"s\"]\nlisten = unix:/s\nfilter = f g\nsocket-mode = 0640\n[route \"t\"]\n"
    "case-sensitive = yes\nrecipient-delimiter = \"=\"\na@b r, m\n\"c d\"@e \"joe.doe\"\n[route "
    "\"u\"]\n@.x reject \"550 5.1.1 no, \\\\ no\"\n@ m\n";

#endif
