/* Which source this program was made of. */
#ifndef SIM_SIM_COMMIT_H
#define SIM_SIM_COMMIT_H

/* As git describes it, with "-dirty" where it was changed since; "unknown" when
 * it was built outside of a clone. Static. */
const char *sim_commit(void);

#endif
