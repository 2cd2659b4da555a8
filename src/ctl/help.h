/* Help and the manual page, out of the table of commands. */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include "mgmt/command.h"

struct buf;

/* All commands by section, and the global options. */
void help_overview(struct buf *out);
/* One command, with its options. */
void help_command(enum command_id command, struct buf *out);
/* quoratectl(1) for man(7). */
void help_manual(struct buf *out);

#endif
