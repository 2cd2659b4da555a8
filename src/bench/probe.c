/* The command runs beside the load, on the same loop. It is killed when it
 * takes too long; what it was to tell is then not known. */
#include "bench/probe.h"

#include <quorate/error.h>
#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"

enum {
    PROBE_MAGIC = 0x70726f62
};

/* Cut the command into words. */
static int
split(struct probe *p, struct error *err)
{
    char *at = p->command;
    size_t count = 0;

    for (;;) {
        at += strspn(at, " ");
        if (*at == 0) {
            break;
        }
        if (count == PROBE_WORDS_MAX) {
            return error_set(err, QR_EINVAL, "--probe: more than %d words",
                             PROBE_WORDS_MAX);
        }
        p->words[count] = at;
        count++;
        at += strcspn(at, " ");
        if (*at != 0) {
            *at = 0;
            at++;
        }
    }
    return count > 0 ? 0
                     : error_set(err, QR_EINVAL, "--probe: no command after =");
}

int
probe_init(struct probe *p, uv_loop_t *loop, const char *text,
           struct error *err)
{
    size_t name_size = strcspn(text, "=");
    int rv = 0;

    ASSERT(text[name_size] == '=');
    *p = (struct probe){.magic = PROBE_MAGIC, .loop = loop};
    if (name_size >= sizeof(p->name)) {
        return error_set(err, QR_EINVAL,
                         "--probe: a name of %zu bytes, allowed are %d",
                         name_size, PROBE_NAME_SIZE - 1);
    }
    memcpy(p->name, text, name_size);
    p->command = mem_strdup(text + name_size + 1);
    rv = split(p, err);
    if (rv != 0) {
        mem_free(p->command);
        p->command = NULL;
    }
    return rv;
}

void
probe_deinit(struct probe *p)
{
    OBJ_CHECK(p, PROBE_MAGIC);
    ASSERT(p->handles == 0);
    mem_free(p->command);
    p->magic = 0;
}

bool
probe_is_asking(const struct probe *p)
{
    OBJ_CHECK(p, PROBE_MAGIC);
    return p->handles > 0;
}

bool
probe_value(const struct probe *p, uint64_t *out)
{
    OBJ_CHECK(p, PROBE_MAGIC);
    if (p->is_known) {
        *out = p->value;
    }
    return p->is_known;
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool
probe_parse(const char *text, size_t size, uint64_t *out)
{
    size_t at = 0;
    size_t end = 0;

    while (at < size) {
        end = at;
        while (end < size && !is_blank(text[end])) {
            end++;
        }
        if (end > at &&
            parse_u64(text + at, end - at, 0, UINT64_MAX, out) == 0) {
            return true;
        }
        at = end + 1;
    }
    return false;
}

static void
on_closed(uv_handle_t *handle)
{
    struct probe *p = handle->data;

    OBJ_CHECK(p, PROBE_MAGIC);
    ASSERT(p->handles > 0);
    p->handles--;
}

/* Both the process and its output have ended, or never began. */
static void
finish(struct probe *p)
{
    if (!p->has_exited || !p->has_ended) {
        return;
    }
    p->is_known =
        p->status == 0 && probe_parse(p->answer, p->answer_size, &p->value);
    uv_close((uv_handle_t *)&p->process, on_closed);
    uv_close((uv_handle_t *)&p->output, on_closed);
    uv_close((uv_handle_t *)&p->deadline, on_closed);
}

static void
on_exit(uv_process_t *process, int64_t status, int term_signal)
{
    struct probe *p = process->data;

    OBJ_CHECK(p, PROBE_MAGIC);
    p->has_exited = true;
    p->status = term_signal != 0 ? -1 : status;
    finish(p);
}

static void
on_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    struct probe *p = handle->data;

    (void)wanted;
    OBJ_CHECK(p, PROBE_MAGIC);
    if (p->answer_size == sizeof(p->answer)) {
        /* The number is in the first half or nowhere; the rest is read so
         * that the command can end. */
        p->answer_size = sizeof(p->answer) / 2;
    }
    *out = uv_buf_init(p->answer + p->answer_size,
                       (unsigned)(sizeof(p->answer) - p->answer_size));
}

static void
on_output(uv_stream_t *stream, ssize_t got, const uv_buf_t *buf)
{
    struct probe *p = stream->data;

    (void)buf;
    OBJ_CHECK(p, PROBE_MAGIC);
    if (got >= 0) {
        p->answer_size += (size_t)got;
        return;
    }
    (void)uv_read_stop(stream);
    p->has_ended = true;
    finish(p);
}

static void
on_deadline(uv_timer_t *timer)
{
    struct probe *p = timer->data;

    OBJ_CHECK(p, PROBE_MAGIC);
    if (!p->has_exited) {
        (void)uv_process_kill(&p->process, SIGKILL);
    }
    /* Something it started may hold its output open. */
    if (!p->has_ended) {
        (void)uv_read_stop((uv_stream_t *)&p->output);
        p->has_ended = true;
        finish(p);
    }
}

void
probe_ask(struct probe *p)
{
    uv_stdio_container_t stdio[3] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {.exit_cb = on_exit, .stdio_count = 3};
    int rv = 0;

    OBJ_CHECK(p, PROBE_MAGIC);
    ASSERT(p->handles == 0);
    p->has_exited = false;
    p->has_ended = false;
    p->is_known = false;
    p->answer_size = 0;
    p->handles = 3;
    rv = uv_pipe_init(p->loop, &p->output, 0);
    ASSERT(rv == 0);
    rv = uv_timer_init(p->loop, &p->deadline);
    ASSERT(rv == 0);
    p->process.data = p;
    p->output.data = p;
    p->deadline.data = p;
    stdio[1].data.stream = (uv_stream_t *)&p->output;
    options.file = p->words[0];
    options.args = p->words;
    options.stdio = stdio;
    rv = uv_spawn(p->loop, &p->process, &options);
    if (rv != 0) {
        p->status = rv;
        p->has_exited = true;
        p->has_ended = true;
        finish(p);
        return;
    }
    rv = uv_read_start((uv_stream_t *)&p->output, on_room, on_output);
    ASSERT(rv == 0);
    rv = uv_timer_start(&p->deadline, on_deadline, PROBE_TIMEOUT_MS, 0);
    ASSERT(rv == 0);
}
