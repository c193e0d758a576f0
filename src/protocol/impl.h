#ifndef PROTOCOL_IMPL_H
#define PROTOCOL_IMPL_H

/* Between the files of this folder. */
#include <string.h>

#include "packet/bytes.h"
#include "protocol/protocol.h"

/* Do the @len bytes at @b begin with the literal @text? */
#define BEGINS(b, len, text) ((len) >= sizeof(text) - 1 && !memcmp(b, text, sizeof(text) - 1))
/* The same, whatever the case of letters is; @text is in upper case. */
#define BEGINS_ANY(b, len, text) protocol_begins_any(b, len, text, sizeof(text) - 1)
bool protocol_begins_any(const uint8_t *b, uint32_t len, const char *text, uint32_t n);

#define PG_SSL_REQUEST 80877103u
#define PG_GSS_REQUEST 80877104u
#define PG_CANCEL_REQUEST 80877102u

#define MYSQL_CONNECT_WITH_DB 0x8u
#define MYSQL_PROTOCOL_41 0x200u
#define MYSQL_SSL 0x800u
#define MYSQL_SECURE_CONNECTION 0x8000u
#define MYSQL_PLUGIN_AUTH 0x80000u
#define MYSQL_LENENC_AUTH 0x200000u

/* Little-endian fields, at any alignment. */
static inline uint32_t get_le24(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16;
}
static inline uint32_t get_le32(const uint8_t *p)
{
	return get_le24(p) | (uint32_t)p[3] << 24;
}

/* A TLS record of type @type: is this its header? */
static inline bool is_tls_record(const uint8_t *b, uint32_t len, uint8_t type)
{
	return len >= 5 && b[0] == type && b[1] == 3 && b[2] <= 4 && get_be16(b + 3) <= 16384 + 256;
}
/* A record that begins with a ClientHello. */
static inline bool is_client_hello(const uint8_t *b, uint32_t len)
{
	return len >= 6 && is_tls_record(b, len, 0x16) && b[5] == 1;
}

/* details.c: what the next @len bytes of a session say whose protocol is recognised. */
void protocol_details(struct protocol_state *s, const uint8_t *b, uint32_t len);

#endif
