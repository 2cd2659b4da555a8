/* The configuration in effect, key by key, for `quoratectl environment`. */
#ifndef DAEMON_ENVIRONMENT_H
#define DAEMON_ENVIRONMENT_H

struct config;

/* Call ROW with each key of CONFIG and its value, borrowed; keys of lists once
 * a member. The value of what is secret is "(hidden)". */
void environment_each(const struct config *config,
                      void (*row)(void *arg, const char *key,
                                  const char *value),
                      void *arg);
/* Rows about this process, for `quoratectl status`: pid, memory, descriptors,
 * operating system. */
void environment_process(void (*row)(void *arg, const char *key,
                                     const char *value),
                         void *arg);

#endif
