/* Listings: columns by name, rows of JSON. A command has a table of all its
 * columns and the names of those shown when none is asked for. */
#ifndef MGMT_LISTING_H
#define MGMT_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "machine/meta/meta_machine.h"

struct gather;
struct job;
struct json;

struct column {
    const char *name;
    /* Write this column's value of ROW, one JSON value. */
    void (*put)(struct json *j, const void *row);
    bool is_live; /* known to replicas only, not to the metadata */
};

/* Pick JOB's columns (its arguments from FIRST on, else those of DEFAULTS,
 * separated by spaces) out of COUNT at COLUMNS. False: one is unknown, JOB has
 * ended. */
bool listing_pick(struct job *job, const struct column *columns, size_t count,
                  const char *defaults, size_t first);
/* Whether one of the picked is live. */
bool listing_is_live(const struct job *job);
/* Begin the response with the picked columns. */
void listing_begin(struct job *job);
/* Add ROW; what exceeds the response's limit is left out, and the response
 * says so instead. */
void listing_row(struct job *job, const void *row);
/* End JOB, with notes about the targets of G that failed (G may be NULL). */
void listing_end(struct job *job, const struct gather *g);

/* A response of several named tables: begin, (table, rows, table_end)*, end. A
 * row is a JSON array that the caller writes with job->json. */
void tables_begin(struct job *job);
/* TITLE for people, NAME for programs, COLUMNS separated by spaces. */
void table_begin(struct job *job, const char *title, const char *name,
                 const char *columns);
void table_end(struct job *job);
void tables_end(struct job *job, const struct gather *g);

/* One JSON string. */
void put_text(struct json *j, struct meta_text text);
/* One comma separated text as a JSON array of strings. */
void put_list(struct json *j, struct meta_text text);

#endif
