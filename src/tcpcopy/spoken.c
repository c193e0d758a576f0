/*
 * What the clients speak, in words - theory of operation
 *
 * In: the tallies of the engine (protocol/protocol.h). Out: lines for people. Each says the port, what
 * the clients do, what follows and what to type, and is logged once a rule and kind: who runs into it
 * has to read it within seconds of the first such session, and not a thousand times. What a target can
 * be set up to take is said when the target has refused it. Of a handshake the line says how many
 * sessions got past it, so it waits until the first one has failed or passed, but no longer than
 * PATIENCE. A connection that is not joined, because the target has ended its session for such a cause,
 * is no second one: to let the clients reconnect would not help.
 */
#include "tcpcopy/spoken.h"

#include <stdio.h>
#include <string.h>

#include "program/log.h"

#define PATIENCE 5 /* looks, one a second */

bool spoken_matters(const struct protocol_tally *t, enum protocol_detail d)
{
	switch (detail_weight(d)) {
	case PROTOCOL_COUNTED:
		return false;
	case PROTOCOL_DOUBTED:
		return t->failed[d];
	default:
		return t->details[d];
	}
}

char *spoken_remedy(char *buf, size_t size, const struct rule *rule, enum protocol_detail d)
{
	char target[ADDR_TEXT_LEN], *to = buf;

	addr_format(target, sizeof(target), &rule->target.addr);
	for (const char *p = detail_remedy(d); *p && (size_t)(to - buf) + 1 < size; p++) {
		const size_t left = size - (size_t)(to - buf);
		int n = 1;

		if (p[0] != '@' || !strchr("TPO", p[1]) || !p[1])
			*to = *p;
		else if (*++p == 'T')
			n = snprintf(to, left, addr_is_v4(&rule->target.addr) ? "%s" : "[%s]", target);
		else
			n = snprintf(to, left, "%d", *p == 'P' ? rule->target.port : rule->online_port);
		to += (size_t)n < left ? (size_t)n : left - 1;
	}
	*to = '\0';
	return buf;
}

char *spoken_text(char *buf, size_t size, const struct rule *rule, enum protocol_detail d,
		  const struct protocol_tally *t, bool copied)
{
	char remedy[SPOKEN_TEXT], names[120] = "", fared[120] = "";

	if (d == DETAIL_ENCRYPTED && (t->sni[0] || t->alpn[0]))
		snprintf(names, sizeof(names), " (server name \"%s\", ALPN \"%s\")", t->sni, t->alpn);
	if (copied && detail_is_handshake(d))
		snprintf(fared, sizeof(fared), ": %llu of %llu sessions got past their handshake",
			 (unsigned long long)t->past[d], (unsigned long long)t->details[d]);
	else if (copied)
		snprintf(fared, sizeof(fared), ": %llu session%s so far, %llu refused by the target",
			 (unsigned long long)t->details[d], t->details[d] == 1 ? "" : "s",
			 (unsigned long long)t->failed[d]);
	snprintf(buf, size, "port %u: %s%s%s; %s", rule->online_port, detail_text(d), names, fared,
		 spoken_remedy(remedy, sizeof(remedy), rule, d));
	return buf;
}

char *spoken_join_text(char *buf, size_t size, const struct rule *rule, enum protocol p, bool joined)
{
	if (joined)
		snprintf(
			buf, size,
			"port %u: a %s connection older than tcpcopy is joined: if its client has sent AUTH or "
			"SELECT, the target has not seen them and refuses the commands or uses database 0; let "
			"the clients reconnect, or start tcpcopy with --join=%u=none",
			rule->online_port, protocol_text(p), rule->online_port);
	else
		snprintf(
			buf, size,
			"port %u: %s connections that are open already are not joined in their middle, where "
			"the target would not understand them: let the clients reconnect, or start tcpcopy with "
			"--join=%u=all",
			rule->online_port, protocol_text(p), rule->online_port);
	return buf;
}

/* The protocol of a detail for which its sessions end early, and are not joined again. */
static enum protocol whose(enum protocol_detail d)
{
	switch (d) {
	case DETAIL_ENCRYPTED:
		return PROTOCOL_TLS;
	case DETAIL_SSH_KEYS:
		return PROTOCOL_SSH;
	case DETAIL_POSTGRESQL_TLS:
	case DETAIL_POSTGRESQL_MD5:
	case DETAIL_POSTGRESQL_SCRAM:
		return PROTOCOL_POSTGRESQL;
	case DETAIL_MYSQL_TLS:
	case DETAIL_MYSQL_PASSWORD:
		return PROTOCOL_MYSQL;
	case DETAIL_STARTTLS:
		return PROTOCOL_SMTP;
	case DETAIL_FTP_DATA:
		return PROTOCOL_FTP;
	case DETAIL_WEBSOCKET:
		return PROTOCOL_WEBSOCKET;
	default:
		return PROTOCOL_NONE;
	}
}

bool spoken_explains(const struct protocol_tally *t, enum protocol p)
{
	for (unsigned d = 0; d < DETAIL_COUNT; d++)
		if (whose((enum protocol_detail)d) == p && p && spoken_matters(t, (enum protocol_detail)d))
			return true;
	return false;
}

bool spoken_explains_most(const struct protocol_tally *t, uint64_t sessions)
{
	for (unsigned d = 0; d < DETAIL_COUNT; d++)
		if (spoken_matters(t, (enum protocol_detail)d) && t->failed[d] > sessions / 2)
			return true;
	return false;
}

/* Is it known yet how the first sessions with @d fare, or is that not to be waited for any longer? */
static bool decided(struct spoken_said *said, unsigned rule, enum protocol_detail d,
		    const struct protocol_tally *t)
{
	return !detail_is_handshake(d) || t->failed[d] || t->past[d] || ++said->looked[rule][d] > PATIENCE;
}

void spoken_say(struct spoken_said *said, const struct config *c, unsigned rule,
		const struct protocol_tally *t)
{
	const struct rule *r = &c->rules[rule];
	char text[SPOKEN_TEXT];

	for (unsigned d = 0; d < DETAIL_COUNT; d++) {
		const enum protocol_weight weight = detail_weight((enum protocol_detail)d);

		if (!spoken_matters(t, (enum protocol_detail)d) || said->details[rule] & 1u << d ||
		    !decided(said, rule, (enum protocol_detail)d, t))
			continue;
		said->details[rule] |= 1u << d;
		spoken_text(text, sizeof(text), r, (enum protocol_detail)d, t, true);
		if (weight == PROTOCOL_NOTED)
			log_info("%s", text);
		else
			log_warn("%s", text);
	}
	for (unsigned p = 0; p < PROTOCOL_COUNT; p++) {
		if (t->not_joined[p] && !(said->not_joined[rule] & 1u << p) &&
		    !spoken_explains(t, (enum protocol)p)) {
			said->not_joined[rule] |= 1u << p;
			log_warn("%s", spoken_join_text(text, sizeof(text), r, (enum protocol)p, false));
		}
		if (t->joined[p] && protocol_join((enum protocol)p) == PROTOCOL_JOIN_PLAIN &&
		    !(said->joined[rule] & 1u << p)) {
			said->joined[rule] |= 1u << p;
			log_warn("%s", spoken_join_text(text, sizeof(text), r, (enum protocol)p, true));
		}
	}
}
