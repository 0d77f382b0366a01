/* SPDX-License-Identifier: BSD-2-Clause */
/* What is wrong with a configuration, and where. */
/* needs: tests/unit/config_world.c shell io */
#include "tests/unit/config_world.h"

#include <stdio.h>
#include <sysexits.h>
#include <unistd.h>

/* ---- problems ---- */

struct problem_row {
    const char *text;
    const char *problems;
};

static void check_problems(const struct problem_row *rows, size_t count, bool is_check)
{
    config_world_uid = 0;
    for (size_t i = 0; i < count; i++) {
        struct config_world b;
        bool is_warning = strstr(rows[i].problems, "warning: ") != NULL;
        config_world_load(&b, rows[i].text, "", is_check);
        lib_same_text(i, "problems", rows[i].problems, b.problems);
        lib_same_number(i, "exit code", rows[i].problems[0] == '\0' || is_warning ? 0 : EX_CONFIG,
                        b.code);
        config_world_unload(&b);
    }
    lib_end_rows();
}

#define ADDRESS                                                                                    \
    "IP, IP:PORT, [V6]:PORT, HOST:PORT or unix:/PATH, then maybe a weight of 1 to 1000\n"

static const struct problem_row wrong[] = {
    {"", "t.cf: warning: the file assigns nothing: no mail is taken but for postmaster\n"},
    {CONFIG_WORLD_QUIET, ""},
    {"[core]\nhostname = mx1\n" CONFIG_WORLD_QUIET,
     "t.cf:2:12: warning: hostname \"mx1\" has no domain: others know us by it, and may refuse "
     "us\n"},
    {CONFIG_WORLD_QUIET "listen-port = 26\nlisten-port = 127.0.0.1:26\n",
     "t.cf:2:15: found \"0.0.0.0:26\", expected one socket for each address\n"},
    {CONFIG_WORLD_QUIET "[smtpd \"t\"]\nname = a.b\nlisten-port = 2525\n",
     "t.cf:5:15: found \"127.0.0.1:2525\", expected an address that no other [smtpd] has\n"},
    {"[smtp \"x\"]\nname = y\n" CONFIG_WORLD_QUIET,
     "t.cf:1:2: found \"smtp\", expected a section: core, syslog, logfile, smtpd, "
     "milter-server, relay, maildir, spf, milter or route; did you mean \"smtpd\"?\n"},
    {"[pipe \"x\"]\nexec = /bin/true\n" CONFIG_WORLD_QUIET,
     "t.cf:1:2: found \"pipe\", expected a section: core, syslog, logfile, smtpd, "
     "milter-server, relay, maildir, spf, milter or route\n"},
    {CONFIG_WORLD_QUIET "[milter-server \"a\"]\nlisten = inet:25\nsocket-mode = 0888\n"
                        "[milter-server \"b\"]\nlisten = unix:/s\nlisten = unix:/s\nfilter = x\n",
     "t.cf:4:10: found \"inet:25\", expected inet:PORT@HOST or unix:PATH\n"
     "t.cf:5:15: found \"0888\", expected an octal mode, such as 0660\n"
     "t.cf:3:16: [milter-server \"a\"] needs a filter\n"
     "t.cf:8:10: found \"unix:/s\", expected a socket that nobody else listens at\n"
     "t.cf:9:10: found \"x\", expected the name of a filter\n"},
    {CONFIG_WORLD_QUIET "[milter \"m\"]\naddress = 127.0.0.1:9\n"
                        "[milter-server \"a\"]\nlisten = unix:/s\nfilter = m\n",
     "t.cf:7:10: found \"m\", expected a filter that only judges, for the message is the mail "
     "server's\n"},
    {CONFIG_WORLD_QUIET "[milter \"m\"]\naddress = localhost inet:25@ 127.0.0.1 inet:0@h\n"
                        "protocol = 5\nactions = all add-header\nmacros = connect j\n"
                        "macros = connect v\nmacros = nowhere v\nskip-when = @a.b\n",
     "t.cf:4:11: found \"localhost\", expected HOST:PORT, inet:PORT@HOST or unix:/PATH\n"
     "t.cf:4:21: found \"inet:25@\", expected HOST:PORT, inet:PORT@HOST or unix:/PATH\n"
     "t.cf:4:30: found \"127.0.0.1\", expected HOST:PORT, inet:PORT@HOST or unix:/PATH\n"
     "t.cf:4:40: found \"inet:0@h\", expected HOST:PORT, inet:PORT@HOST or unix:/PATH\n"
     "t.cf:9:10: found \"nowhere\", expected connect, helo, mail, rcpt, data, eoh, eom or unknown, "
     "and names of macros\n"
     "t.cf:10:13: found \"@a.b\", expected a network (ADDR or ADDR/BITS) or authenticated\n"
     "t.cf:3:9: a milter needs an address\n"
     "t.cf:5:12: found 5, which does not exist, expected 2, 3, 4 or 6\n"
     "t.cf:6:11: found all or none beside another action, expected it to stand alone\n"
     "t.cf:7:10: found two lists for one stage, expected one\n"},
    {CONFIG_WORLD_QUIET "[smtpd]\n", "t.cf:3:2: found \"smtpd\", expected [smtpd \"NAME\"]\n"},
    {CONFIG_WORLD_QUIET "[smtpd \"\"]\n",
     "t.cf:3:8: found \"\", expected a name that is not empty\n"},
    {CONFIG_WORLD_QUIET "[core \"x\"]\n",
     "t.cf:3:7: found \"x\", expected [core], without a name\n"},
    {CONFIG_WORLD_QUIET "[relay \"a@b\"]\n",
     "t.cf:3:8: found \"a@b\", expected a name that is no address and no command\n"},
    {CONFIG_WORLD_QUIET "[relay \"reject\"]\n",
     "t.cf:3:8: found \"reject\", expected a name that means nothing else in a route\n"},
    {CONFIG_WORLD_QUIET "[logfile \"syslog\"]\n",
     "t.cf:3:10: found \"syslog\", expected a name that is not the name of a logger\n"},
    {CONFIG_WORLD_QUIET "listen-prot = 26\n",
     "t.cf:3:1: found \"listen-prot\", expected a key of [smtpd]; did you mean "
     "\"listen-port\"?\n"},
    {CONFIG_WORLD_QUIET "name = a\nname = b\n",
     "t.cf:4:1: found \"name\", expected it only once (it stands on line 3 already)\n"},
    {CONFIG_WORLD_QUIET "split = life\n",
     "t.cf:3:9: found \"life\", expected live or defer; did you mean \"live\"?\n"},
    {CONFIG_WORLD_QUIET "etrn-from = a.example\n",
     "t.cf:3:13: found \"a.example\", expected a network (ADDR or ADDR/BITS), then domains and "
     "targets (\"#TARGET\")\n"},
    {CONFIG_WORLD_QUIET "etrn-from = ::1 a.example @b.example\n",
     "t.cf:3:27: found \"@b.example\", expected a network (ADDR or ADDR/BITS), then domains and "
     "targets (\"#TARGET\")\n"},
    {CONFIG_WORLD_QUIET "protocol = lmtq\n",
     "t.cf:3:12: found \"lmtq\", expected smtp or lmtp; did you mean \"lmtp\"?\n"},
    {CONFIG_WORLD_QUIET "relay-from = authentic\n",
     "t.cf:3:14: found \"authentic\", expected a network (ADDR or ADDR/BITS), or authenticated\n"},
    {CONFIG_WORLD_QUIET "xclient-from = authenticated\n",
     "t.cf:3:16: found \"authenticated\", expected ADDR or ADDR/BITS, no bits set behind the "
     "prefix\n"},
    {CONFIG_WORLD_QUIET "routing-table = b\n[route \"bb\"]\n",
     "t.cf:3:17: found \"b\", expected the name of a [route]; did you mean \"bb\"?\n"},
    {CONFIG_WORLD_QUIET "routing-table = bb bc\n[route \"bb\"]\n",
     "t.cf:3:20: found \"bc\", expected the name of a [route]; did you mean \"bb\"?\n"},
    {CONFIG_WORLD_QUIET "logger = sylog\n",
     "t.cf:3:10: found \"sylog\", expected stderr, syslog, journal "
     "or the name of a [logfile]; did you mean \"syslog\"?\n"},
    {CONFIG_WORLD_QUIET "hide = SMTPUTF8\n",
     "t.cf:3:8: found \"SMTPUTF8\", expected PIPELINING, X-LMTP, SIZE, 8BITMIME, "
     "ENHANCEDSTATUSCODES, CHUNKING, BINARYMIME, DSN, LIMITS, STARTTLS, REQUIRETLS, AUTH, ETRN, "
     "XCLIENT, "
     "XFORWARD or XRCPTFORWARD\n"},
    {CONFIG_WORLD_QUIET "refuse = come back later\n",
     "t.cf:3:15: found \"back\", expected the end of the "
     "line (a value with spaces stands in quotes)\n"},
    {CONFIG_WORLD_QUIET "refuse = \"\xC3\xA4\"\n",
     "t.cf:3:10: found \"\xC3\xA4\", expected text in ASCII\n"},
    {CONFIG_WORLD_QUIET "name = \"a b\"\n", "t.cf:3:8: found \"a b\", expected a host name\n"},
    {"[smtpd \"s\"]\nlisten-port = localhost:25 nowhere.example:25 localhost:no-service x:y:z "
     "[::1] 0 70000 ::1\n",
     "t.cf:2:68: found \"x:y:z\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:74: found \"[::1]\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:80: found \"0\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:82: found \"70000\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:88: found \"::1\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:28: found \"nowhere.example\", expected the name of a host that has addresses\n"
     "t.cf:2:47: found \"no-service\", expected a port or the name of a service\n"},
    {"[smtpd \"s\"]\nlisten-port = [x]:25 [127.0.0.1]:smtp [::1]smtp [::1]:a_b [::1]:\n",
     "t.cf:2:15: found \"[x]:25\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:22: found \"[127.0.0.1]:smtp\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:39: found \"[::1]smtp\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:49: found \"[::1]:a_b\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"
     "t.cf:2:59: found \"[::1]:\", expected PORT, HOST:PORT, ADDR:PORT or [V6]:PORT\n"},
    {"[smtpd \"nowhere\"]\n",
     "t.cf:1:8: found \"nowhere\", expected the name of a host that has addresses\n"},
    {"[smtpd \"a b\"]\n", "t.cf:1:8: [smtpd \"a b\"] needs a name, for its own is no host's\n"
                          "t.cf:1:8: [smtpd \"a b\"] needs a listen-port, for its name is no "
                          "host's\n"},
    {CONFIG_WORLD_QUIET "[smtpd \"t\"]\nlisten-port = 127.0.0.1:2525\n",
     "t.cf:4:15: found \"127.0.0.1:2525\", expected an address that no other [smtpd] has\n"},
    {"[core]\nworkers = 65\n", "t.cf:2:11: found \"65\", expected a number of at most 64\n"},
    {"[core]\ndelay-warning = 0s\n", "t.cf:2:17: found \"0s\", expected a duration (4h), or off\n"},
    {"[core]\ncontrol-socket = x\n",
     "t.cf:2:18: found \"x\", expected an absolute path of at most 99 octets\n"},
    {"[core]\npostmaster = \"a b\"\n",
     "t.cf:2:14: found \"a b\", expected an address, or a local name\n"},
    {"[core]\npostmaster = joe@\n",
     "t.cf:2:14: found \"joe@\", expected an address, or a local name\n"},
    {"[core]\n\nbounce-relay = outt\n[relay \"out\"]\naddress = 192.0.2.1\n",
     "t.cf:3:16: found \"outt\", expected the name of a [relay], or a host; did you mean "
     "\"out\"?\n"},
    {"[core]\nbounce-relay = m.x\n[maildir \"m.x\"]\npath = /m\n",
     "t.cf:2:16: found \"m.x\", expected the name of a [relay], or a host\n"},
    {"[core]\nuser-id = nobody\ngroup-id = postmaster\n",
     "t.cf:2:11: found \"nobody\", expected an account of this host\n"
     "t.cf:3:12: found \"postmaster\", expected a group of this host\n"},
    {"[core]\nuser-id = toor\n", "t.cf:2:11: found \"toor\", expected an account that is not "
                                 "root by another name\n"},
    {"[core]\nspool-directory = spool\n",
     "t.cf:2:19: found \"spool\", expected an absolute path of at most 91 octets\n"},
    {"[relay \"r\"]\naddress = 192.0.2.1\nremember = 1d\n",
     "t.cf:3:12: found \"\", expected two durations and a number of at most 1000000, as in 1d 1h "
     "100000\n"},
    {"[relay \"r\"]\naddress = 192.0.2.1\nremember = 1d 1h many\n",
     "t.cf:3:18: found \"many\", expected two durations and a number of at most 1000000, as in "
     "1d 1h 100000\n"},
    {"[relay \"r\"]\naddress = 192.0.2.1\nretry = 5m 0s\n",
     "t.cf:3:12: found \"0s\", expected a duration (90s, 5m, 1h, 2d) of at least 1s\n"},
    {"[relay \"r\"]\non-failure = bounce\ntls = maybe\n",
     "t.cf:2:14: found \"bounce\", expected spool or tempfail\n"
     "t.cf:3:7: found \"maybe\", expected none, may, encrypt or verify; did you mean \"may\"?\n"},
    {"[relay \"a b\"]\naddress = 10.0.0.1\ntls = verify\n",
     "t.cf:3:7: found verify where name is no host's, expected a name that the certificate has\n"},
    {"[relay \"r\"]\naddress = 10.0.0.1\naddress = 10.0.0.256\naddress host\naddress = unix:x\n"
     "address = \"unix:/a b\"\naddress = host:0 1\n",
     "t.cf:3:11: found \"10.0.0.256\", expected " ADDRESS
     "t.cf:4:9: found \"host\", expected " ADDRESS "t.cf:5:11: found \"unix:x\", expected " ADDRESS
     "t.cf:7:11: found \"host:0\", expected " ADDRESS},
    {"[relay \"r\"]\naddress = h:1 0\naddress = h:2 1001\naddress = h:3 x\naddress = h:4 -1\n"
     "address = h:5 2 3\nbalance = hash\n",
     "t.cf:2:15: found \"0\", expected " ADDRESS "t.cf:3:15: found \"1001\", expected " ADDRESS
     "t.cf:4:15: found \"x\", expected " ADDRESS "t.cf:5:15: found \"-1\", expected " ADDRESS
     "t.cf:6:17: found \"3\", expected " ADDRESS
     "t.cf:7:11: found hash without an address, expected an address for each backend\n"},
    {"[relay \"r\"]\naddress = h:1\naddress h:2  1\n",
     "t.cf:3:14: found a weight with balance = first, expected none, or balance = hash or "
     "round-robin\n"},
    {"[relay \"r\"]\nbalance = hash\naddress = H:1 2\naddress = h:1 3\n",
     "t.cf:4:11: found \"h:1\", expected an address that does not stand here already\n"},
    {"[relay \"r\"]\nbalance = hash\naddress = 10.0.0.1\naddress = h:1\n"
     "[relay \"r/10.0.0.1\"]\naddress = h:2\n[maildir \"r/h:1\"]\npath = /x\n",
     "t.cf:5:8: found \"r/10.0.0.1\", expected a name that no address of \"r\" has\n"
     "t.cf:7:10: found \"r/h:1\", expected a name that no address of \"r\" has\n"},
    {"[relay \"n.test\"]\nmx = yes\nfailover = no\n",
     "t.cf:3:12: found failover = no with mx = yes, expected yes\n"},
    {"[relay \"r\"]\nidentity = auto xclient\n",
     "t.cf:2:12: found auto or none beside another identity, expected it to stand alone\n"},
    {"[relay \"r\"]\nidentity = proxy-v1 proxy-v2\n",
     "t.cf:2:12: found proxy-v1 and proxy-v2, expected one of them\n"},
    {"[relay \"r\"]\nmx = yes\nidentity = xclient\n",
     "t.cf:3:12: found an identity with mx = yes, expected none\n"},
    {"[relay \"r r\"]\n", "t.cf:1:8: [relay \"r r\"] needs an address, for its name is no "
                          "host's\n"},
    {"[relay \"r\"]\n[maildir \"r\"]\npath = /x\n",
     "t.cf:2:10: found \"r\", expected a name that no [relay] bears\n"},
    {"[maildir \"m\"]\n", "t.cf:1:10: [maildir \"m\"] needs a path\n"},
    {"[maildir \"m\"]\npath = m\n[maildir \"n\"]\npath = /m/${RCPT}\nuser = joe\n",
     "t.cf:2:8: found \"m\", expected an absolute path\n"
     "t.cf:4:8: found \"/m/${RCPT}\", expected a path with no other variables than "
     "${RCPT_LOCAL} and ${RCPT_DOMAIN}\n"
     "t.cf:5:1: found \"user\", expected a key of [maildir]\n"},
    {"[logfile \"l\"]\n", "t.cf:1:10: [logfile \"l\"] needs a file\n"},
    {"[syslog]\nfacility = male\n",
     "t.cf:2:12: found \"male\", expected auth, authpriv, cron, daemon, ftp, kern, lpr, mail, "
     "news, syslog, user, uucp, local0, local1, local2, local3, local4, local5, local6 or "
     "local7; did you mean \"mail\"?\n"},
    {"a@b ,c\nd@e f,,g\nh@i j,\nk@l ,\n\"m\" \"\"\n",
     "t.cf:1:5: found \",\", expected a target\n"
     "t.cf:2:7: found \",\", expected a target\n"
     "t.cf:3:1: found a comma at the end of the line, expected a target after it\n"
     "t.cf:4:5: found \",\", expected a target\n"
     "t.cf:5:5: found \"\", expected a word that is not empty\n"},
    {"lmdb /x\nsocketmap unix:/x\n",
     "t.cf:1:1: found \"lmdb\", expected a pattern, file, case-sensitive or "
     "recipient-delimiter\n"
     "t.cf:2:1: found \"socketmap\", expected a pattern, file, case-sensitive or "
     "recipient-delimiter\n"},
    {"case-sensitive maybe\nrecipient-delimiter ++\nfile a b\n",
     "t.cf:1:16: found \"maybe\", expected yes or no\n"
     "t.cf:2:21: found \"++\", expected one character, such as +\n"
     "t.cf:3:8: found \"b\", expected one path\n"},
    {"file /no/such/file\n",
     "t.cf:1:6: file \"/no/such/file\" cannot be read: No such file or directory\n"},
};

static void tells_problems(void **state)
{
    (void)state;
    check_problems(wrong, ARRAY_LENGTH(wrong), false);
}

#define OPEN "[smtpd \"s\"]\nlisten-port = 2525\n[relay \"r\"]\naddress = 10.0.0.1\n"

static void warns(void **state)
{
    static const struct problem_row rows[] = {
        {"[smtpd \"s\"]\nlisten-port = 2525\n[relay \"r\"]\naddress = 10.0.0.1\nidentity = none\n"
         "[route]\n@ r\n",
         "t.cf:7:3: warning: \"@\" leads to \"r\", which cannot see who the client is, and smtpd "
         "\"s\" listens on a public address: only relay-from keeps it from being an open relay\n"},
        {"[smtpd \"s\"]\nlisten-port = 2525\n[relay \"r\"]\naddress = 10.0.0.1\n"
         "identity = xforward\n[maildir \"m\"]\npath = /m\n[route]\n@ m, r\n",
         "t.cf:9:6: warning: \"@\" leads to \"r\", which cannot see who the client is, and smtpd "
         "\"s\" listens on a public address: only relay-from keeps it from being an open relay\n"},
        {"[smtpd \"s\"]\nlisten-port = 2525\n[route]\n@ other.example.net\n",
         "t.cf:4:3: warning: \"@\" leads to \"other.example.net\", which cannot see who the client "
         "is, and smtpd \"s\" listens on a public address: only relay-from keeps it from being an "
         "open relay\n"},
        {OPEN "identity = xclient\n[route]\njoe@ r\n@ r\n",
         "t.cf:8:3: warning: \"@\" leads to \"r\", to which no line leads that names a domain, and "
         "smtpd \"s\" listens on a public address: while that relay is away, only relay-from may "
         "send to it and all others get 451; name your own domains above \"@\"\n"},
        {OPEN "identity = xclient\n[maildir \"m\"]\npath = /m\n[route]\n@a.b m\n@ m, r\n",
         "t.cf:10:6: warning: \"@\" leads to \"r\", to which no line leads that names a domain, "
         "and "
         "smtpd \"s\" listens on a public address: while that relay is away, only relay-from may "
         "send to it and all others get 451; name your own domains above \"@\"\n"},
        /* nothing to warn of: it sees clients, and lines that name domains lead there or may lead
         * there; in an outage nobody may send anyway; nobody outside comes in; it names a domain */
        {OPEN "identity = xclient\n[route]\n@a.b r\n@ r\n", ""},
        {OPEN "identity = xclient\n[route]\n@a.b @c.d\n@ r\n", ""},
        {OPEN "identity = xclient\non-failure = tempfail\n[route]\n@ r\n", ""},
        {CONFIG_WORLD_QUIET "[relay \"r\"]\naddress = 10.0.0.1\nidentity = none\n[route]\n@ r\n",
         ""},
        {"[smtpd \"s\"]\nlisten-port = 2525\n[relay \"r\"]\naddress = 10.0.0.1\nidentity = none\n"
         "[route]\n@a.b r\n@ reject \"550 no\"\n",
         ""},
    };
    (void)state;
    check_problems(rows, ARRAY_LENGTH(rows), false);
}

/* A relay that takes reports. */
#define NAMELESS "[relay \"r\"]\nidentity = none\n"

#define OWN                                                                                        \
    "warning: target \"r\" leads to our own listener smtpd \"s\", which is never connected to\n"

static void checks_targets(void **state)
{
    static const struct problem_row rows[] = {
        {CONFIG_WORLD_QUIET "[route]\n@a.example other.example.net\n@b.example OTHER.example.net\n",
         "t.cf:4:12: warning: target \"other.example.net\" has no section: it is taken for a host, "
         "an implicit relay\n"},
        {CONFIG_WORLD_QUIET "[route]\n@a.example nowhere.example.net\n",
         "t.cf:4:12: warning: target \"nowhere.example.net\" has no section: it is taken for a "
         "host, an implicit relay\n"
         "t.cf:4:12: found \"nowhere.example.net\", expected the name of a section, or of a host "
         "that has addresses\n"},
        {"[smtpd \"mx.example.net\"]\nlisten-port = 25\n[route]\n@a.example mx.example.net\n",
         "t.cf:4:12: warning: target \"mx.example.net\" has no section: it is taken for a host, an "
         "implicit relay\n"
         "t.cf:4:12: warning: target \"mx.example.net\" leads to our own listener smtpd "
         "\"mx.example.net\", which is never connected to\n"},
        {CONFIG_WORLD_QUIET
         "[relay \"r\"]\naddress = 127.0.0.1:2525\n[route]\n@a.example r\n" NAMELESS,
         "t.cf:6:12: " OWN},
        {CONFIG_WORLD_QUIET "[relay \"r\"]\naddress = 10.0.0.1\naddress = localhost:2525\n[route "
                            "\"t\"]\n@a.example r\n" NAMELESS,
         "t.cf:7:12: " OWN},
        {CONFIG_WORLD_QUIET
         "[relay \"r\"]\naddress = nowhere.example:25\n[route]\n@a.example r\n" NAMELESS,
         "t.cf:6:12: found \"nowhere.example\", expected the name of a host that has addresses\n"},
        {CONFIG_WORLD_QUIET
         "[relay \"other.example.net\"]\nidentity = none\n[route]\n@a.example other.example.net\n",
         ""},
        {"[smtpd \"s\"]\nlisten-port = 26\n[relay \"r\"]\naddress = "
         "192.0.2.1:26\n[route]\n@a.example r\n" NAMELESS,
         "t.cf:6:12: " OWN},
        {"[smtpd \"s\"]\nlisten-port = 26\n[relay \"r\"]\naddress = "
         "[2001:db8::1]:26\n[route]\n@a.example r\n" NAMELESS,
         "t.cf:6:12: " OWN},
        {"[smtpd \"s\"]\nlisten-port = 26\n[relay \"r\"]\naddress = 192.0.2.2:26\n"
         "address = [2001:db8::2]:26\naddress = 192.0.2.1\n[route]\n@a.example r\n" NAMELESS,
         ""},
        {CONFIG_WORLD_QUIET "[relay \"r\"]\naddress = [::1]:2526\naddress = "
                            "127.0.0.2:2525\n[route]\n@a.b r\n" NAMELESS,
         ""},
        {CONFIG_WORLD_QUIET
         "[relay \"r\"]\naddress = unix:/run/r\n[route]\n@a.example r\n" NAMELESS,
         ""},
        {CONFIG_WORLD_QUIET "max-message-size = 10m\n[core]\nworkers = 2\nmax-copies = 79m\n",
         "t.cf:3:20: warning: smtpd \"s\" takes messages of which not even four find room in one "
         "worker's share of max-copies\n"},
        {CONFIG_WORLD_QUIET "max-message-size = 10m\n[core]\nworkers = 2\nmax-copies = 80m\n", ""},
        {CONFIG_WORLD_QUIET "max-message-size = 10m\n[core]\nworkers = 0\nmax-copies = 40m\n", ""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct config_world b;
        config_world_load(&b, rows[i].text, "", true);
        lib_same_text(i, "problems", rows[i].problems, b.problems);
        lib_same_number(i, "exit code", strstr(rows[i].problems, ": found") ? EX_CONFIG : 0,
                        b.code);
        config_world_unload(&b);
    }
    lib_end_rows();
}

#define BOX   "[maildir \"m\"]\npath = /m\n"
#define RELAY "[relay \"r\"]\naddress = 10.0.0.1\n" NAMELESS
#define JUDGE "[relay \"j\"]\naddress = 10.0.0.2\n"
#define MAY_REFUSE                                                                                 \
    "warning: reports to senders go to \"j\", which may judge clients by their addresses, and "    \
    "refuse ours: bounce-relay names a relay that takes mail from us for anywhere, with identity " \
    "= "                                                                                           \
    "none\n"
#define NO_RELAY                                                                                   \
    "t.cf:1:8: warning: smtpd \"s\" leads to no relay that could take reports to senders, so the " \
    "postmaster gets them: bounce-relay names one\n"

static void looks_for_the_way_of_reports(void **state)
{
    static const struct problem_row rows[] = {
        {CONFIG_WORLD_QUIET BOX "[route]\n@a.example m\n", NO_RELAY},
        {CONFIG_WORLD_QUIET BOX RELAY "[route]\n@a.example m\n[route \"others\"]\n@b.example r\n",
         NO_RELAY},
        {CONFIG_WORLD_QUIET BOX RELAY "[route]\n@a.example m\n@b.example r\n", ""},
        {CONFIG_WORLD_QUIET BOX RELAY "[core]\nbounce-relay = r\n[route]\n@a.example m\n", ""},
        {CONFIG_WORLD_QUIET BOX "[core]\nbounce-to = postmaster\n[route]\n@a.example m\n", ""},
        {CONFIG_WORLD_QUIET BOX "[route]\n@a.example reject \"550 no\"\n", ""},
        /* who takes them, and who may not */
        {CONFIG_WORLD_QUIET JUDGE "[route]\n@a.example j\n@b.example j\n", "t.cf:3:8: " MAY_REFUSE},
        {CONFIG_WORLD_QUIET JUDGE "identity = xclient\n[route]\n@a.example j\n",
         "t.cf:3:8: " MAY_REFUSE},
        {CONFIG_WORLD_QUIET JUDGE "identity = xforward\n[route]\n@a.example j\n", ""},
        {CONFIG_WORLD_QUIET JUDGE RELAY "[core]\nbounce-relay = r\n[route]\n@a.example j\n", ""},
        {CONFIG_WORLD_QUIET JUDGE RELAY "[core]\nbounce-relay = j\n[route]\n@a.example r\n",
         "t.cf:10:16: " MAY_REFUSE},
        {CONFIG_WORLD_QUIET JUDGE "[core]\nbounce-to = none\n[route]\n@a.example j\n", ""},
        {CONFIG_WORLD_QUIET JUDGE "protocol = lmtp\nidentity = none\n[route]\n@a.example j\n",
         "t.cf:3:8: warning: reports to senders go to \"j\", which has mailboxes of its own (LMTP) "
         "and sends nothing on: bounce-relay names a relay that does\n"},
    };
    (void)state;
    check_problems(rows, ARRAY_LENGTH(rows), true);
}

static void misses_the_file(void **state)
{
    static char name[] = "postern";
    static char *argv[] = {name};
    struct config_world b;
    (void)state;
    unlink("t.cf");
    config_world_read(&b, 1, argv, false);
    lib_same_text(0, "problems", "t.cf: file \"t.cf\" cannot be read: No such file or directory\n",
                  b.problems);
    lib_same_number(0, "exit code", EX_CONFIG, b.code);
    config_world_unload(&b);
    lib_end_rows();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_problems),  cmocka_unit_test(warns),
        cmocka_unit_test(checks_targets),  cmocka_unit_test(looks_for_the_way_of_reports),
        cmocka_unit_test(misses_the_file),
    };
    return cmocka_run_group_tests(tests, config_world_enter, config_world_leave);
}
