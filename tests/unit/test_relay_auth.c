/* SPDX-License-Identifier: BSD-2-Clause */
/* Our own credentials at scripted targets: which mechanism, how the exchange goes, and what follows
 * where it fails. The simulator's SASL client says what there is to say. */
/* needs: sim tests/unit/relay_world.c proxy/io/copy.c proxy/io/copy_file.c */
/* needs: proxy/io/copy_room.c route/carrier.c route/outgoing.c route/relay/ */
#include "tests/unit/relay_world.h"

#include "tests/unit/lib.h"
#include "tests/unit/relay_words.h"

/* In base64: "joe", "sesame", "\0joe\0sesame", "xsesame". */
#define USER      "am9l"
#define PASSWORD  "c2VzYW1l"
#define PLAIN     "AGpvZQBzZXNhbWU="
#define BEHIND_X  "eHNlc2FtZQ=="
#define SAY_PLAIN "AUTH PLAIN " PLAIN "\r\n"

static void with_login(struct relay_conf *conf)
{
    conf->auth.user = bytes_of("joe");
    conf->auth.password.path = bytes_of("/password");
    conf->auth.password.text = bytes_of("sesame");
}

/* A step a line would hide the conversations. */
/* clang-format off */

#define GREETED(target, with) {ACCEPT, target, NULL}, {SAY, target, "220 hi\r\n"}, \
    {HEAR, target, "EHLO postern.test\r\n"}, {SAY, target, "250-hi\r\n250 " with "\r\n"}
#define SECURED(target, with) GREETED(target, "STARTTLS"), {HEAR, target, "STARTTLS\r\n"}, \
    {SAY, target, "220 go\r\n"}, {HEAR, target, "EHLO postern.test\r\n"}, \
    {SAY, target, "250-hi\r\n250 " with "\r\n"}
/* What a client hears where nobody lets us in. */
#define AWAY {SEES, 0, "a=451 "}, \
    {WORDS, 0, "451 4.4.1 No connection to the next host, try again later\r\n"}
#define LEAVES(target) {HEAR, target, "QUIT\r\n"}, {SAY, target, "221 bye\r\n"}, \
    {LEFT, target, NULL}
#define BREAKS_OFF(target) {HEAR, target, "*\r\nQUIT\r\n"}, {SAY, target, "501 off\r\n"}, \
    {LEFT, target, NULL}


static const struct relay_scenario rows[] = {
    {"PLAIN, where the connection is encrypted", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH LOGIN PLAIN"), {HEAR, 0, SAY_PLAIN}, {SAY, 0, "235 yes\r\n"},
      {LOGGED, 0, "target-auth target=relay address=" A " mechanism=PLAIN"},
      {HEAR, 0, "MAIL FROM:<s@from.test>\r\n"}, {SAY, 0, "250 m\r\n"},
      {HEAR, 0, "RCPT TO:<a@to.test>\r\n"}, {SAY, 0, "250 r\r\n"}, {SEES, 0, "a=250 "}}},
    {"LOGIN, which waits for its questions", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH LOGIN"), {HEAR, 0, "AUTH LOGIN\r\n"},
      {SAY, 0, "334 VXNlcm5hbWU6\r\n"}, {HEAR, 0, USER "\r\n"}, {SAY, 0, "334 \r\n"},
      {HEAR, 0, PASSWORD "\r\n"}, {SAY, 0, "235 yes\r\n"},
      {HEAR, 0, "MAIL FROM:<s@from.test>\r\n"}}},
    {"SCRAM goes before, and needs no encryption; the target has to prove itself", A, NONE,
     with_login,
     {ASK(0), GREETED(0, "AUTH PLAIN SCRAM-SHA-256"),
      {HEAR, 0, "AUTH SCRAM-SHA-256 biwsbj1qb2U=\r\n"}, {SAY, 0, "235 yes\r\n"},
      {LOGGED, 0, "error=\"the target has not proved that it knows the password\""},
      LEAVES(0), AWAY}},
    {"a target that lies about what it knows", A, NONE, with_login,
     {ASK(0), GREETED(0, "AUTH SCRAM-SHA-256"), {HEAR, 0, "AUTH SCRAM-SHA-256 biwsbj1qb2U=\r\n"},
      {SAY, 0, "334 cj0x\r\n"}, {HEAR_END, 0, "\r\n"}, {SAY, 0, "334 dj0w\r\n"},
      {LOGGED, 0, "error=\"the target has not proved that it knows the password\""},
      BREAKS_OFF(0), AWAY}},
    {"what shows the password is not said in plain", A, NONE, with_login,
     {ASK(0), GREETED(0, "AUTH PLAIN LOGIN"), LEAVES(0), AWAY}},
    {"AUTH is not announced: the next address", A " " B, NONE, with_login,
     {ASK(0), GREETED(0, "SIZE"), LEAVES(0),
      {LOGGED, 0, "error=\"AUTH is not announced, or no mechanism that can be used\""},
      SECURED(1, "AUTH PLAIN"), {HEAR, 1, SAY_PLAIN}, {SAY, 1, "235 yes\r\n"},
      {HEAR, 1, "MAIL FROM:<s@from.test>\r\n"}}},
    {"credentials that are refused are an outage", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH PLAIN"), {HEAR, 0, SAY_PLAIN}, {SAY, 0, "535 5.7.8 no\r\n"},
      {LOGGED, 0, "target-auth-failed target=relay address=" A " mechanism=PLAIN "
                  "reply=\"535 5.7.8 no\""}, LEAVES(0), AWAY}},
    {"nobody reads what a target repeats", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH PLAIN"), {HEAR, 0, SAY_PLAIN},
      {SAY, 0, "535 no " BEHIND_X "\r\n"},
      {LOGGED, 0, "reply=\"535 The next host's words are withheld\""}, LEAVES(0), AWAY}},
    {"who asks again is not told again", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH PLAIN"), {HEAR, 0, SAY_PLAIN}, {SAY, 0, "334 \r\n"}, BREAKS_OFF(0),
      AWAY}},
    {"a challenge of two lines is none", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH LOGIN"), {HEAR, 0, "AUTH LOGIN\r\n"},
      {SAY, 0, "334-VXNl\r\n334 cm5h\r\n"}, BREAKS_OFF(0), AWAY}},
    {"silence", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH PLAIN"), {HEAR, 0, SAY_PLAIN}, {PASS, 301000, NULL}, {LEFT, 0, NULL},
      AWAY}},
    {"XCLIENT comes behind it", A, XCLIENT, with_login,
     {ASK(0), GREETED(0, "STARTTLS"), {HEAR, 0, "STARTTLS\r\n"}, {SAY, 0, "220 go\r\n"},
      {HEAR, 0, "EHLO postern.test\r\n"}, {SAY, 0, "250-hi\r\n"
      "250-XCLIENT ADDR\r\n250 AUTH PLAIN\r\n"},
      {HEAR, 0, SAY_PLAIN}, {SAY, 0, "235 yes\r\n"}, {NAMED, 0, "c.test"},
      {HEAR, 0, "XCLIENT ADDR=192.0.2.1\r\n"}}},
    {"the client goes meanwhile", A, NONE, with_login,
     {ASK(0), SECURED(0, "AUTH LOGIN"), {HEAR, 0, "AUTH LOGIN\r\n"}, {LEAVE, 0, NULL},
      {SAY, 0, "334 \r\n"}, {HEAR, 0, USER "\r\n"}, {STOP, 0, NULL}, {LEFT, 0, NULL}}},
};
/* clang-format on */

int main(void)
{
    return relay_world_test(rows, ARRAY_LENGTH(rows));
}
