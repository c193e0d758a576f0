/*
 * What do the clients speak that are captured during --check? - theory of operation
 *
 * In: the segments that the check of the requests captures. A connection whose SYN is among them is read as
 * the engine reads it, from its beginning; of one that is older the first segment with data tells what it
 * can. Some of the connections are enough: the first FLOWS of each rule are followed, and no segment is kept.
 *
 * Out: a line for each thing that a copy cannot do, with the words of a running tcpcopy.
 */
#include <string.h>

#include "packet/seq.h"
#include "tcpcopy/check/listen.h"
#include "tcpcopy/spoken.h"

static struct listen_flow *find(struct listening *l, const struct segment *s, unsigned rule)
{
	struct listen_flow *f;

	for (unsigned i = 0; i < l->n[rule]; i++) {
		f = &l->flow[rule][i];
		if (endpoint_eq(&f->client, &s->tuple.src))
			return f;
	}
	if (l->n[rule] == LISTEN_FLOWS)
		return NULL;
	f = &l->flow[rule][l->n[rule]++];
	*f = (struct listen_flow){ .client = s->tuple.src };
	l->tally[rule].sessions[PROTOCOL_NONE]++;
	return f;
}

/* The first data of a connection that is older: what it speaks, and whether it would be joined. */
static void older(struct protocol_tally *t, struct listen_flow *f, const struct segment *s,
		  enum engine_join join)
{
	const bool may = protocol_may_join(t, &f->spoken, s->payload, s->captured);

	f->begun = true;
	t->sessions[PROTOCOL_NONE]--;
	t->sessions[f->spoken.protocol]++;
	if (f->spoken.protocol == PROTOCOL_NONE) { /* its beginning after all */
		protocol_tally_read(t, &f->spoken, s->payload, s->captured, true);
		return;
	}
	f->spoken.over = true;
	t->details[DETAIL_ENCRYPTED] += f->spoken.protocol == PROTOCOL_TLS;
	t->joined[f->spoken.protocol] += join == ENGINE_JOIN_ALL || (may && join == ENGINE_JOIN_AUTO);
	t->not_joined[f->spoken.protocol] += !may && join == ENGINE_JOIN_AUTO;
}

bool listen_segment(struct listening *l, const struct rule *r, unsigned rule, const struct segment *s)
{
	struct listen_flow *f = find(l, s, rule);

	if (!f)
		return false;
	if (s->flags & TCPF_SYN) {
		f->begun = true;
		f->next = s->seq + 1;
		return false;
	}
	if (!s->captured || (f->begun && seq_lt(s->seq, f->next)))
		return f->spoken.over;
	if (!f->begun)
		older(&l->tally[rule], f, s, r->join);
	else
		protocol_tally_read(&l->tally[rule], &f->spoken, s->payload, s->captured,
				    !f->spoken.turns || s->ack != f->ack);
	f->next = s->seq + s->len;
	f->ack = s->ack;
	return f->spoken.over && f->spoken.protocol != PROTOCOL_UNKNOWN;
}

void listen_say(struct check_report *report, const struct listening *l, const struct rule *r, unsigned rule)
{
	const struct protocol_tally *t = &l->tally[rule];
	char text[SPOKEN_TEXT];

	for (unsigned p = PROTOCOL_HTTP1; p < PROTOCOL_COUNT; p++)
		if (t->sessions[p])
			check_note(report, CHECK_OK, "port %u: the clients speak %s", r->online_port,
				   protocol_text((enum protocol)p));
	for (unsigned d = 0; d < DETAIL_COUNT; d++) {
		const enum protocol_weight weight = detail_weight((enum protocol_detail)d);

		if (t->details[d] && weight != PROTOCOL_COUNTED) /* what the target does is not known here */
			check_note(report, weight == PROTOCOL_BROKEN ? CHECK_BROKEN : CHECK_WARNING, "%s",
				   spoken_text(text, sizeof(text), r, (enum protocol_detail)d, t, false));
	}
	for (unsigned p = 0; p < PROTOCOL_COUNT; p++) {
		if (t->not_joined[p] && p != PROTOCOL_TLS && !spoken_explains(t, (enum protocol)p))
			check_note(report, CHECK_WARNING, "%s",
				   spoken_join_text(text, sizeof(text), r, (enum protocol)p, false));
		if (t->joined[p] && protocol_join((enum protocol)p) == PROTOCOL_JOIN_PLAIN)
			check_note(report, CHECK_OK, "%s",
				   spoken_join_text(text, sizeof(text), r, (enum protocol)p, true));
	}
}
