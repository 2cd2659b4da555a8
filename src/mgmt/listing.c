/* See listing.h. */
#include "mgmt/listing.h"

#include <string.h>

#include "base/text.h"
#include "mgmt/gather.h"
#include "mgmt/mgmt_priv.h"

static const struct column *
find_column(const struct column *columns, size_t count, const char *name,
            size_t size)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(name, size, columns[i].name)) {
            return &columns[i];
        }
    }
    return NULL;
}

static void
unknown_column(struct job *job, const struct column *columns, size_t count,
               const char *name)
{
    struct buf names;

    buf_init(&names);
    for (size_t i = 0; i < count; i++) {
        buf_put_text(&names, " ");
        buf_put_text(&names, columns[i].name);
    }
    job_fail(job, EXIT_CODE_USAGE, "%s has no column '%.64s'; it has:%.*s",
             command_row(job->request.command)->name, name, (int)names.size,
             (const char *)names.data);
    buf_deinit(&names);
}

/* Pick NAME of SIZE bytes. */
static bool
pick(struct job *job, const struct column *columns, size_t count,
     const char *name, size_t size)
{
    const struct column *column = find_column(columns, count, name, size);

    if (column == NULL || job->picked_count == JOB_PICKED_MAX) {
        unknown_column(job, columns, count, name);
        return false;
    }
    job->picked[job->picked_count++] = column;
    return true;
}

/* Pick the names in TEXT, separated by blanks or, as rabbitmqctl has it too, by
 * commas. */
static bool
pick_all(struct job *job, const struct column *columns, size_t count,
         const char *text)
{
    while (*text != '\0') {
        size_t size = strcspn(text, ", ");

        if (size > 0 && !pick(job, columns, count, text, size)) {
            return false;
        }
        text += size + (text[size] == '\0' ? 0 : 1);
    }
    return true;
}

bool
listing_pick(struct job *job, const struct column *columns, size_t count,
             const char *defaults, size_t first)
{
    job->picked_count = 0;
    for (size_t i = first; i < job->request.args_count; i++) {
        if (!pick_all(job, columns, count, job->request.args[i])) {
            return false;
        }
    }
    return job->picked_count > 0 || pick_all(job, columns, count, defaults);
}

bool
listing_is_live(const struct job *job)
{
    for (size_t i = 0; i < job->picked_count; i++) {
        if (job->picked[i]->is_live) {
            return true;
        }
    }
    return false;
}

void
listing_begin(struct job *job)
{
    struct json *j = &job->json;

    json_init(j, &job->out);
    json_object_begin(j);
    json_key(j, "columns");
    json_array_begin(j);
    for (size_t i = 0; i < job->picked_count; i++) {
        json_text(j, job->picked[i]->name);
    }
    json_array_end(j);
    json_key(j, "rows");
    json_array_begin(j);
}

void
listing_row(struct job *job, const void *row)
{
    struct json *j = &job->json;

    if (job->out.size >= RESPONSE_SIZE_MAX) {
        return; /* job_tell() says so */
    }
    json_array_begin(j);
    for (size_t i = 0; i < job->picked_count; i++) {
        job->picked[i]->put(j, row);
    }
    json_array_end(j);
}

/* The nodes of which something is missing, each once. */
static void
put_notes(struct job *job, const struct gather *g)
{
    struct json *j = &job->json;
    char scratch[NODE_SCRATCH_SIZE];
    qr_node_id last = 0;
    struct buf note;

    json_key(j, "notes");
    json_array_begin(j);
    buf_init(&note);
    for (size_t i = 0; g != NULL && i < g->targets_count; i++) {
        const struct gather_target *t = &g->targets[i];
        struct meta_text name;

        if (t->fault == NULL || t->node == last) {
            continue;
        }
        last = t->node;
        name = mgmt_node_name(job->mgmt, t->node, scratch);
        buf_clear(&note);
        buf_putf(&note, "node '%.*s' is missing here: %s", (int)name.size,
                 name.data, t->fault);
        json_string(j, note.data, note.size);
    }
    buf_deinit(&note);
    json_array_end(j);
}

void
listing_end(struct job *job, const struct gather *g)
{
    struct json *j = &job->json;

    json_array_end(j);
    put_notes(job, g);
    json_object_end(j);
    job_finish(job, EXIT_CODE_OK);
}

void
tables_begin(struct job *job)
{
    json_init(&job->json, &job->out);
    json_object_begin(&job->json);
    json_key(&job->json, "tables");
    json_array_begin(&job->json);
}

void
table_begin(struct job *job, const char *title, const char *name,
            const char *columns)
{
    struct json *j = &job->json;

    json_object_begin(j);
    json_key(j, "title");
    json_text(j, title);
    json_key(j, "name");
    json_text(j, name);
    json_key(j, "columns");
    json_array_begin(j);
    while (*columns != '\0') {
        size_t size = strcspn(columns, " ");

        json_string(j, columns, size);
        columns += size + (columns[size] == '\0' ? 0 : 1);
    }
    json_array_end(j);
    json_key(j, "rows");
    json_array_begin(j);
}

void
table_end(struct job *job)
{
    json_array_end(&job->json);
    json_object_end(&job->json);
}

void
tables_end(struct job *job, const struct gather *g)
{
    json_array_end(&job->json);
    put_notes(job, g);
    json_object_end(&job->json);
    job_finish(job, EXIT_CODE_OK);
}

void
put_text(struct json *j, struct meta_text text)
{
    json_string(j, text.data, text.size);
}

void
put_list(struct json *j, struct meta_text text)
{
    const char *at = text.data;
    size_t left = text.size;

    json_array_begin(j);
    while (left > 0) {
        const char *comma = memchr(at, ',', left);
        size_t size = comma == NULL ? left : (size_t)(comma - at);

        if (size > 0) {
            json_string(j, at, size);
        }
        size += comma == NULL ? 0 : 1;
        at += size;
        left -= size;
    }
    json_array_end(j);
}
