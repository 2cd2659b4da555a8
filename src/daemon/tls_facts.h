/* What a client's TLS session came to, for listings and for EXTERNAL. */
#ifndef DAEMON_TLS_FACTS_H
#define DAEMON_TLS_FACTS_H

struct broker_tls;
struct ssl_st;
struct tls_facts;
struct tls_login;

/* The facts of SSL, whose handshake is done. LOGIN says what of a certificate
 * is the user's name; a certificate that was not verified names nobody. */
struct tls_facts *tls_facts_new(struct ssl_st *ssl,
                                const struct tls_login *login);
void tls_facts_free(struct tls_facts **facts);
/* As RabbitMQ lists them; borrowed from FACTS. */
const struct broker_tls *tls_facts_listed(const struct tls_facts *facts);
/* The user that the certificate names, "" if none; borrowed. */
const char *tls_facts_user(const struct tls_facts *facts);

#endif
