/* AMQP field tables (specification 4.2.5.5) as JSON, for listings. */
#ifndef MGMT_TABLE_JSON_H
#define MGMT_TABLE_JSON_H

#include "machine/meta/meta_machine.h"

struct json;

enum {
    TABLE_JSON_DEPTH_MAX = 16 /* tables in tables; deeper ones show as null */
};

/* Write TABLE, entries without the length before them, as one JSON object. The
 * front end checked it; what is broken all the same ends the object there.
 * Timestamps become numbers, decimals and floats doubles, byte arrays and long
 * strings strings. */
void table_json_put(struct json *j, struct meta_text table);

#endif
