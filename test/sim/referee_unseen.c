/*
 * Simulator: the referee of ends that were not captured - theory of operation
 *
 * In a world in which the capture loses how connections end, nobody but the online server's socket tells that
 * they have. So the engine has to ask: doc/SESSION.md, "Ends that were not captured". It is known here which
 * connections have ended, and when; which of them have no socket on this host, because it passes them on; and
 * what the engine was answered. From that follows
 *
 *   what is asked   whoever has been quiet for QUIET_FOR, and then whenever that time has doubled, no sooner
 *                   and hardly later; of many that are, a few at once; nobody who has spoken since the loss;
 *                   nobody where nothing would follow from the answer; and who begins, until enough is known
 *   what follows    a session whose original has gone ends within its time, and one whose original lives, or
 *                   of which nobody can know that, does not
 */
#include "referee.h"

#include <stdlib.h>

#define MS NS_PER_MS
#define S NS_PER_SEC
#define QUIET_FOR (5 * S)
#define QUIET_MOST (600 * S)
#define REST (1 * S) /* between two rounds over those that are quiet */
#define PORTION 8u   /* of them are asked about at once, and the next ones */
#define PORTIONS_APART (100 * MS)
#define GONE_AGAIN (1 * S) /* it has to be found gone twice */
#define ENOUGH 16u         /* sockets that were found make any other one's absence its end */
#define READS_ON (10 * MS)
#define ASK_SOON (50 * MS)
#define CAPTURE_GOES_ON (100 * MS)
#define SHORT_OF_IDLE (7000 * S)

struct lookout {
	unsigned found;               /* connections whose socket was found */
	uint64_t known_at, enough_at; /* ns, when the first was, and when surely enough were; 0: not yet */
	bool proxy;              /* one that is not there has read more: nothing follows from that any more */
	uint64_t lost_at;        /* ns, when the capture counted a loss last; 0: it did not */
	uint64_t learn_at;       /* ns, from when on one that begins is asked about; 0: not known */
	uint64_t asked_at;       /* ns, the newest question */
	uint64_t quiet[PORTION]; /* ns, the last questions about who was quiet, the oldest at [next] */
	unsigned next;
};

static void captured_time(struct world *w, void *arg, uint64_t n)
{
	(void)arg, (void)n;
	engine_captured_all(w->copy.e, w->now);
	if (!w->stopped)
		at(w, w->now + CAPTURE_GOES_ON, captured_time, NULL, 0);
}

/* What is captured is handed over at once, also when nothing is. */
void unseen_start(struct world *w)
{
	w->copy.lookout = calloc(1, sizeof(*w->copy.lookout));
	if (!w->copy.lookout)
		abort();
	if (w->subject == SUBJECT_UNSEEN || w->subject == SUBJECT_HOLES)
		at(w, w->now, captured_time, NULL, 0);
}

static uint64_t captured_last(const struct conn *c)
{
	return c->n_told ? c->told[c->n_told - 1].time : 0;
}

static const struct replica *live_of(const struct world *w, const struct conn *c)
{
	for (const struct replica *r = w->copy.replica; r->used; r++)
		if (r->conn == c && !r->over)
			return r;
	return NULL;
}

/* As far as the engine was told, the client of @r goes on. */
static bool goes_on(const struct replica *r)
{
	const struct conn *c = r->conn;

	for (unsigned i = 0; i < c->n_told; i++)
		if (c->told[i].flags & (TCPF_FIN | TCPF_RST))
			return false;
	return r->t.has_turn_ack;
}

/* Does anything follow if the socket of @c is not found? */
static bool is_known(const struct world *w, const struct conn *c)
{
	return w->copy.lookout->known_at && (c->found[0] || !w->copy.lookout->proxy);
}

/* When the session of @c is asked about for being quiet, if it was at @before last, ns. */
static uint64_t quiet_due(const struct conn *c, uint64_t before)
{
	const uint64_t last = captured_last(c);

	return before <= last ? last + QUIET_FOR : before + MIN(MAX(before - last, QUIET_FOR), QUIET_MOST);
}

/* --- questions ------------------------------------------------------------------------------------ */

/* The capture counts no loss, so only who is quiet is asked about, and who begins. */
static void judge_quiet(struct world *w, const struct replica *r)
{
	struct lookout *l = w->copy.lookout;
	const struct conn *c = r->conn;

	if (c->missing_at && w->now <= c->missing_at + GONE_AGAIN + 3 * PORTIONS_APART)
		return; /* a second look, whatever has become known since the first one */
	if (!is_known(w, c) || r->a.fin)
		fail(w, "port %u is asked about, and nothing would follow", c->client.port);
	if (c->gone_at || c->elsewhere)
		return; /* where it is not found it is looked for again */
	if (w->now < quiet_due(c, c->asked_at))
		fail(w, "port %u is asked about %.3f s after the last time, quiet for %.3f s", c->client.port,
		     (double)(w->now - c->asked_at) / 1e9, (double)(w->now - captured_last(c)) / 1e9);
	if (l->quiet[l->next] && w->now + LATE_TICKS < l->quiet[l->next] + PORTIONS_APART)
		fail(w, "%u of those that are quiet are asked about in %.3f ms", PORTION + 1,
		     (double)(w->now - l->quiet[l->next]) / 1e6);
	l->quiet[l->next++] = w->now;
	l->next %= PORTION;
}

void unseen_asks(struct world *w, struct conn *c)
{
	const struct lookout *l = w->copy.lookout;
	const uint64_t last = captured_last(c);
	const struct replica *r = live_of(w, c);

	if (w->subject == SUBJECT_UNSEEN && !w->stopped && r && goes_on(r) && w->now < last + SHORT_OF_IDLE) {
		if (!l->lost_at && w->now >= last + QUIET_FOR)
			judge_quiet(w, r);
		else if (c->found[0] && !c->gone_at && l->lost_at < last && w->now < last + QUIET_FOR)
			fail(w, "port %u is asked about, and was heard of %.3f ms ago", c->client.port,
			     (double)(w->now - last) / 1e6);
	}
	trace(w, "  the engine asks about port %u", c->client.port);
	c->asked_at = w->copy.lookout->asked_at = w->now;
}

void unseen_answer(struct world *w, struct conn *c, enum online_word word)
{
	struct lookout *l = w->copy.lookout;

	if (word == ONLINE_THERE && !c->found[0] && w->copy.answers_late < NS_PER_SEC / 10) {
		l->found++;
		l->learn_at = w->now;
		if (!l->known_at)
			l->known_at = w->now;
		if (l->found == ENOUGH + 2 && !l->enough_at) /* one may have ended before its answer came */
			l->enough_at = w->now;
	} else if (word == ONLINE_GONE && l->known_at) {
		l->learn_at = w->now + ASK_SOON;
	} else if (word == ONLINE_GONE) {
		l->learn_at = w->now + S;
	}
	if (word == ONLINE_GONE)
		c->missing_at = c->asked_at;
}

bool unseen_enough(const struct world *w)
{
	return w->copy.lookout->found >= ENOUGH / 4; /* more may be found before it is decided */
}

void unseen_lost(struct world *w)
{
	w->copy.lookout->lost_at = w->now;
}

void unseen_told(struct world *w, struct conn *c)
{
	struct lookout *l = w->copy.lookout;
	const struct told *t = c->n_told ? &c->told[c->n_told - 1] : NULL;
	const struct replica *r = live_of(w, c);
	bool begins = true, more = true; /* has its client read */

	if (w->subject != SUBJECT_UNSEEN || !t || !(t->flags & TCPF_ACK) || t->flags & TCPF_RST)
		return;
	for (const struct told *before = c->told; before < t; before++) {
		begins = begins && !(before->flags & TCPF_ACK);
		more = more && (!(before->flags & TCPF_ACK) || seq_gt(t->ack, before->ack));
	}
	if (begins && l->known_at && l->found < ENOUGH - 1 && !l->proxy && !w->copy.answers_late &&
	    w->now > l->learn_at && !c->found[0] && l->asked_at != w->now)
		fail(w, "port %u is not asked about, and %u were found", c->client.port, l->found);
	/* what a session was cut for is forgotten with it */
	if (c->elsewhere && c->missing_at && w->now >= c->missing_at + READS_ON && !begins && more && r &&
	    r->started_at < c->missing_at) {
		trace(w, "  port %u reads on, though its socket is not there", c->client.port);
		l->proxy = true;
	}
}

/* --- ends ----------------------------------------------------------------------------------------- */

/* When at the latest the session of @c is found to be over, ns. */
static uint64_t found_over(const struct world *w, const struct replica *r)
{
	static const uint64_t rounds[] = { 1 * S, 10 * S, 60 * S };
	const struct lookout *l = w->copy.lookout;
	const struct conn *c = r->conn;
	const uint64_t since = MAX(c->gone_at, c->found[0] ? 0 : l->enough_at), last = captured_last(c);
	uint64_t end = UINT64_MAX;

	if (!r->a.fin)
		end = since + MAX(since - last, QUIET_FOR) + REST + 5 * PORTIONS_APART;
	for (unsigned i = 0; l->lost_at && i < ARRAY_SIZE(rounds); i++)
		if (since <= l->lost_at + rounds[i])
			end = MIN(end, l->lost_at + rounds[i]);
	return end == UINT64_MAX ? end : end + GONE_AGAIN + 3 * PORTIONS_APART;
}

/* A call into the engine is over. */
void unseen_step(struct world *w, const struct replica *r)
{
	const struct lookout *l = w->copy.lookout;
	const struct conn *c = r->conn;
	const uint64_t wait = MAX(w->copy.cfg.hold, S);

	if (w->subject != SUBJECT_UNSEEN || w->stopped || !r->established || !goes_on(r))
		return;
	if (c->gone_at && c->end_lost && !c->elsewhere && (c->found[0] || (l->enough_at && !l->proxy)) &&
	    found_over(w, r) < UINT64_MAX - wait && w->now > found_over(w, r) + wait)
		fail(w, "port %u: it goes on, and its original has gone %.3f s ago", c->client.port,
		     (double)(w->now - c->gone_at) / 1e9);
	if (!c->gone_at && c->found[0] && !r->a.fin && !l->lost_at &&
	    w->now > MAX(quiet_due(c, c->asked_at), l->known_at + QUIET_FOR) + REST + 5 * PORTIONS_APART)
		fail(w, "port %u has been quiet for %.3f s, and is not asked about", c->client.port,
		     (double)(w->now - captured_last(c)) / 1e9);
}

void unseen_ended(struct world *w, const struct replica *r, enum session_outcome o)
{
	const struct lookout *l = w->copy.lookout;
	const struct conn *c = r->conn;

	if (w->subject != SUBJECT_UNSEEN || w->stopped || o != OUTCOME_CAPTURE_HOLE)
		return;
	if (c->elsewhere ? l->proxy || l->found < ENOUGH : !c->gone_at)
		fail(w, "port %u ends as one whose end was not captured, and its original lives (%u found%s)",
		     c->client.port, l->found, l->proxy ? ", others are passed on" : "");
	if (!c->elsewhere && w->now < c->gone_at + GONE_AGAIN)
		fail(w, "port %u: it ends %.3f ms after its original, which was not looked for again",
		     c->client.port, (double)(w->now - c->gone_at) / 1e6);
}
