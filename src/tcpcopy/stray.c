/*
 * Connections that an earlier tcpcopy left on a target - theory of operation
 *
 * A tcpcopy that is killed leaves its connections open there. When the target speaks on one of
 * them, intercept, which knew it as this host's and finds that nobody has announced it again, tells
 * us the header. The answer is the RST that the dead one owed: with seq = SEG.ACK it is in the
 * target's window (RFC 9293 3.10.7.1), and it needs no state of ours. It goes to targets of our own
 * rules only, and to a bounded number a second, whatever the channel says; and never to a connection
 * that a session of ours has: the caller looks.
 */
#include "tcpcopy/stray.h"

#include "base/util.h"

#define ANSWERS_A_SECOND 1000
#define TTL 64

static bool is_ours(const struct config *c, const struct endpoint *target)
{
	for (unsigned i = 0; i < c->n_rules; i++)
		if (endpoint_eq(&c->rules[i].target, target))
			return true;
	return false;
}

void stray_answer(const struct config *c, struct stray_counters *n, struct sink *sink,
		  const struct msg_stray *m, uint64_t now)
{
	const struct tx_segment t = { .tuple = { .src = m->response.dst, .dst = m->response.src },
				      .seq = m->ack,
				      .flags = TCPF_RST,
				      .ttl = TTL,
				      .df = true };

	if (n->second != now / NS_PER_SEC) {
		n->second = now / NS_PER_SEC;
		n->answered = 0;
	}
	if (!is_ours(c, &m->response.src) || !(m->flags & TCPF_ACK) || m->flags & TCPF_RST ||
	    n->answered >= ANSWERS_A_SECOND) {
		n->refused++;
		return;
	}
	n->answered++;
	n->reset++;
	sink_send(sink, &t);
}
