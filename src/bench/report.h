/* The figures of a run, for people and for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

struct bench_options;
struct bench_result;
struct buf;

/* Append a table of what there is to say. */
void bench_report_table(const struct bench_options *o,
                        const struct bench_result *result, struct buf *out);
/* Append the same as one JSON object and a line feed. A figure that is not
 * known is null. */
void bench_report_json(const struct bench_options *o,
                       const struct bench_result *result, struct buf *out);

#endif
