/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target announced last, as a line. */
#include "route/relay/relay_announced.h"

#include "proxy/base/mem.h"
#include "proxy/base/text.h"

bool relay_announced_read(struct bytes line, struct relay_announced_said *said_out)
{
    uint64_t at_s;

    if (!bytes_is(text_word(&line), "ehlo") ||
        text_decimal(text_word(&line), INT64_MAX, &at_s) != 0)
        return false;
    said_out->at_s = (int64_t)at_s;
    said_out->target = text_word(&line);
    said_out->words = line;
    return said_out->target.len != 0;
}

struct relay_announced *relay_announced_new(struct bytes line,
                                            const struct relay_announced_said *said)
{
    struct relay_announced *announced = mem_zalloc(sizeof(*announced) + line.len);

    if (announced == NULL)
        return NULL;
    announced->at_s = said->at_s;
    announced->words_at = (uint32_t)(line.len - said->words.len);
    announced->line_len = (uint32_t)line.len;
    memcpy(announced->line, line.at, line.len);
    return announced;
}

struct bytes relay_announced_words(const struct relay_announced *announced)
{
    return bytes_skip(relay_announced_line(announced), announced->words_at);
}

struct bytes relay_announced_line(const struct relay_announced *announced)
{
    return bytes_make(announced->line, announced->line_len);
}

void relay_announced_put(struct buf *out, int64_t now_s, struct bytes target,
                         const struct capability *caps)
{
    buf_text(out, "ehlo ");
    buf_decimal(out, now_s < 0 ? 0 : (uint64_t)now_s);
    buf_byte(out, ' ');
    text_put_xtext(out, target);
    buf_byte(out, ' ');
    capability_put_words(out, caps);
}
