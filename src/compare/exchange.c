/*
 * Exchanges - theory of operation
 *
 * In: when a request begins, how many bytes of answer the target sent, what the client had read when it sent
 * the next request, how the session ended. Out: for each exchange one result, counted. An answer of the same
 * length is taken for the same; contents are not known here.
 *
 * Two exchanges of a session can be open. The engine lets one turn go at a time, so what the target sends
 * belongs to the turn that went last, unless its ack covers nothing of that: then it is the rest of the
 * answer before. So an exchange is closed only when the answer to the next one begins.
 *
 * Where one answer is shorter and the next one longer by as much, the answers were cut at other places, by a
 * client that had read a part, or by a target that sends a part late. So what differs is counted only when it
 * is known that the sums do not agree soon (RUN_MOST).
 *
 * Where --hold has passed without an answer, the next request goes. If that is answered as it should be,
 * there was none. If not, the answer may have been late, and from then on it is not known on this connection
 * to which request an answer belongs: what is equal is equal, what is not cannot be compared.
 *
 * At the end of a connection the client's acknowledgments count the online server's FIN. Whether they do is
 * known where the target has closed first, too, or where the client reads on behind its own FIN. Else a
 * difference of one byte says nothing, and is no difference here. A client that closes its half may not have
 * read all yet: until it reads on, a shorter answer of the online server says nothing, either.
 */
#include "compare/exchange.h"

#include <stddef.h>
#include <string.h>

#define RUN_MOST 8

enum ends { SAME, MAYBE, OTHER };

static void count_flags(struct exchange_tally *t, const struct exchange *a)
{
	t->merged += (a->flags & EXCHANGE_MERGED) != 0;
	t->unsolicited += (a->flags & EXCHANGE_UNSOLICITED) != 0;
}

static unsigned in_run(const struct exchange_state *x)
{
	return (unsigned)x->run[EXCHANGE_SHORTER] + x->run[EXCHANGE_LONGER] + x->run[EXCHANGE_ABSENT];
}

static enum exchange_difference difference_of(const struct exchange *a)
{
	return a->target > a->online ? EXCHANGE_LONGER : a->target ? EXCHANGE_SHORTER : EXCHANGE_ABSENT;
}

static void show(struct exchange_tally *t, enum exchange_difference d, const struct exchange *a)
{
	t->newest[d] = *a;
	t->fresh |= 1u << d;
}

/* The answers in a row that differ are counted as what they are, or as shifted. */
static void end_run(struct exchange_state *x, struct exchange_tally *t)
{
	const unsigned n = in_run(x);

	if (!n)
		return;
	t->open -= n;
	if (!x->sum) {
		t->different[EXCHANGE_SPLIT] += n;
		show(t, EXCHANGE_SPLIT, &x->first);
	} else {
		for (unsigned d = 0; d < EXCHANGE_SPLIT; d++)
			t->different[d] += x->run[d];
		t->followers += n - !x->differed;
		x->first.flags |= x->differed ? EXCHANGE_FOLLOWER : 0;
		x->differed = true;
		show(t, difference_of(&x->first), &x->first);
	}
	for (unsigned i = 0; i < EXCHANGE_END_COUNT; i++)
		t->ended_by[i] += x->run_ended[i];
	x->late = 0;
	x->late_online = 0;
	memset(x->run, 0, sizeof(x->run));
	memset(x->run_ended, 0, sizeof(x->run_ended));
	x->sum = 0;
}

static void count_end(struct exchange_tally *t, const struct exchange *a)
{
	t->open--;
	t->ended_by[a->ended_by]++;
	count_flags(t, a);
}

static void cannot(struct exchange_state *x, struct exchange_tally *t, const struct exchange *a,
		   enum exchange_obstacle why)
{
	end_run(x, t);
	count_end(t, a);
	t->not_comparable[why]++;
}

/* The absent answers at the end of the run were late, perhaps, since the one behind them is another one. */
static void were_late(struct exchange_state *x, struct exchange_tally *t)
{
	const uint8_t n = x->late;

	if (!n)
		return;
	x->vague = true;
	x->run[EXCHANGE_ABSENT] -= n;
	x->run_ended[EXCHANGE_BY_DEADLINE] -= n;
	x->sum += (int64_t)x->late_online;
	x->late = 0;
	t->open -= n;
	t->ended_by[EXCHANGE_BY_DEADLINE] += n;
	t->not_comparable[EXCHANGE_NOT_DEADLINE] += n;
	end_run(x, t);
}

static void differs(struct exchange_state *x, struct exchange_tally *t, const struct exchange *a)
{
	const bool late = !a->target && a->ended_by == EXCHANGE_BY_DEADLINE;

	if (a->target)
		were_late(x, t);
	if (x->vague) {
		cannot(x, t, a, EXCHANGE_NOT_DEADLINE);
		return;
	}
	if (!in_run(x))
		x->first = *a;
	x->late = late ? x->late + 1 : 0;
	x->late_online = late ? x->late_online + a->online : 0;
	count_flags(t, a);
	x->run[difference_of(a)]++;
	x->run_ended[a->ended_by]++;
	x->sum += (int64_t)(a->target - a->online);
	if (!x->sum || in_run(x) == RUN_MOST)
		end_run(x, t);
}

static void is_same(struct exchange_state *x, struct exchange_tally *t, const struct exchange *a)
{
	end_run(x, t);
	count_end(t, a);
	t->same++;
}

/* --hold passed in the middle of it. */
static void was_late(struct exchange_state *x, struct exchange_tally *t, const struct exchange *a)
{
	were_late(x, t);
	x->vague = true;
	cannot(x, t, a, EXCHANGE_NOT_DEADLINE);
}

/* The answer before the open one is over. The client has gone on, so the online length is exact. */
static void close_last(struct exchange_state *x, struct exchange_tally *t)
{
	const struct exchange *a = &x->last;

	if (!x->has_last)
		return;
	x->has_last = false;
	if (a->flags & EXCHANGE_JOINED)
		cannot(x, t, a, EXCHANGE_NOT_JOINED);
	else if (a->flags & EXCHANGE_NOT_HELD)
		cannot(x, t, a, EXCHANGE_NOT_UNHELD);
	else if (a->target == a->online || (x->fin && a->online == a->target + 1))
		is_same(x, t, a);
	else if (a->ended_by == EXCHANGE_BY_DEADLINE && a->target && a->target < a->online)
		was_late(x, t, a);
	else
		differs(x, t, a);
}

/* Bytes that nobody asked for: an exchange without a request comes before all others. */
static void unasked(struct exchange_state *x, struct exchange_tally *t)
{
	x->last = (struct exchange){ .flags = EXCHANGE_UNSOLICITED };
	x->last.flags |= x->joined ? EXCHANGE_JOINED : 0;
	x->has_last = true;
	t->all++;
	t->open++;
}

static void begin(struct exchange_state *x, struct exchange_tally *t)
{
	x->open = true;
	x->target = 0;
	x->flags = x->joined && !x->number ? EXCHANGE_JOINED : 0;
	x->number++;
	t->all++;
	t->open++;
}

/* The open one becomes the one before. */
static void pass(struct exchange_state *x, struct exchange_tally *t)
{
	close_last(x, t);
	x->last = (struct exchange){ .number = x->number - 1, .target = x->target, .flags = x->flags };
	x->has_last = true;
	x->open = false;
}

void exchange_joined(struct exchange_state *x)
{
	x->joined = true;
}

void exchange_begins(struct exchange_state *x, struct exchange_tally *t)
{
	if (!x->open)
		begin(x, t);
}

void exchange_answered(struct exchange_state *x, struct exchange_tally *t, int64_t bytes, unsigned how)
{
	const uint8_t flags = how & EXCHANGE_CAME_MERGED ? EXCHANGE_MERGED : 0;

	if (how & EXCHANGE_CAME_FIN) {
		x->fin = true;
		x->fin_first = how & EXCHANGE_CAME_FIN_FIRST;
	}
	if (bytes < 0 && x->open)
		x->target -= x->target != 0;
	else if (bytes < 0)
		x->last.target -= x->last.target != 0;
	if (bytes <= 0)
		return;
	if (x->open && how & EXCHANGE_CAME_COVERING) {
		close_last(x, t);
		x->answered += !x->target;
		x->target += (uint64_t)bytes;
		x->flags |= flags;
		return;
	}
	if (!x->has_last)
		unasked(x, t);
	x->last.target += (uint64_t)bytes;
	x->last.flags |= flags;
}

void exchange_next(struct exchange_state *x, struct exchange_tally *t, uint64_t online, enum exchange_end by,
		   bool data, bool held)
{
	if (x->open)
		pass(x, t);
	else if (!x->has_last)
		unasked(x, t);
	x->last.online += online;
	x->last.ended_by = (uint8_t)by;
	if (!held)
		x->last.flags |= EXCHANGE_NOT_HELD;
	if (data)
		begin(x, t);
	else
		x->closing = true;
}

void exchange_connects(struct exchange_state *x, struct exchange_tally *t, unsigned again)
{
	if (again > 1 && x->has_last) /* it may be one of them */
		x->last.flags |= EXCHANGE_NOT_HELD;
	if (!again || x->open)
		close_last(x, t);
	if (again && x->open) {
		x->target = 0;
		x->flags |= again > 1 ? EXCHANGE_NOT_HELD : 0;
	} else if (again) { /* and the client's FIN behind it */
		x->last.target = 0;
	}
	x->answered = 0;
	x->vague = x->fin = x->fin_first = false;
}

/* Are they equal, or one byte apart where that may be a FIN? */
static enum ends compare_ends(const struct exchange_state *x, const struct exchange_last *l, uint64_t online,
			      uint64_t target, bool more)
{
	const bool fin_first = l->client_fin && x->fin_first;

	/* the FIN is left out; unless there was none yet, where the client's is no turn of its own */
	if (more)
		return online == target ? SAME : !x->closing && online + 1 == target ? MAYBE : OTHER;
	if (online == target)
		return fin_first ? MAYBE : SAME;
	if (online == target + 1)
		return fin_first || (l->reset && x->fin_first) ? SAME : MAYBE;
	return OTHER;
}

/* What the last one is, by how the session ended. */
static void judge_last(struct exchange_state *x, struct exchange_tally *t, const struct exchange_last *l)
{
	struct exchange *a = &x->last;
	const bool more = l->reads_on && l->online; /* behind its FIN the client has read the other one */
	enum ends ends;

	a->online -= more;
	ends = compare_ends(x, l, a->online, a->target, more);
	if (a->flags & EXCHANGE_JOINED)
		cannot(x, t, a, EXCHANGE_NOT_JOINED);
	else if (l->hole)
		cannot(x, t, a, EXCHANGE_NOT_HOLE);
	else if (a->flags & EXCHANGE_NOT_HELD)
		cannot(x, t, a, EXCHANGE_NOT_UNHELD);
	else if (ends == SAME)
		is_same(x, t, a);
	else if (ends == MAYBE)
		cannot(x, t, a, EXCHANGE_NOT_CLOSE);
	else if (a->target > a->online && l->reset)
		cannot(x, t, a, EXCHANGE_NOT_RESET);
	else if (a->target > a->online && !l->known && (!x->closing || (l->client_fin && !l->online)))
		cannot(x, t, a, EXCHANGE_NOT_UNREAD);
	else if (a->target < a->online && !l->complete)
		cannot(x, t, a, EXCHANGE_NOT_SESSION);
	else
		differs(x, t, a);
}

void exchange_over(struct exchange_state *x, struct exchange_tally *t, const struct exchange_last *l)
{
	if (x->open)
		pass(x, t);
	if (x->has_last) {
		x->last.online += l->online;
		x->last.ended_by = (uint8_t)l->by;
		x->has_last = false;
		judge_last(x, t, l);
	}
	end_run(x, t);
}

void exchange_unsent(struct exchange_tally *t, unsigned n)
{
	t->all += n;
	t->not_comparable[EXCHANGE_NOT_UNSENT] += n;
	t->ended_by[EXCHANGE_BY_OVER] += n;
}

void exchange_target_first(const struct exchange_state *x, struct exchange_tally *t)
{
	static const uint32_t above[] = { 1, 2, 4, 16, 256 };
	unsigned i = 0;

	while (i < EXCHANGE_TURNS_COUNT - 1 && x->answered >= above[i])
		i++;
	t->target_first[i]++;
}

unsigned exchange_open(const struct exchange_state *x)
{
	return (unsigned)x->open + x->has_last + in_run(x);
}

void exchange_tally_add(struct exchange_tally *to, const struct exchange_tally *from)
{
	to->all += from->all;
	to->open += from->open;
	to->same += from->same;
	for (unsigned i = 0; i < EXCHANGE_DIFFERENCE_COUNT; i++)
		to->different[i] += from->different[i];
	for (unsigned i = 0; i < EXCHANGE_OBSTACLE_COUNT; i++)
		to->not_comparable[i] += from->not_comparable[i];
	for (unsigned i = 0; i < EXCHANGE_END_COUNT; i++)
		to->ended_by[i] += from->ended_by[i];
	to->followers += from->followers;
	to->merged += from->merged;
	to->unsolicited += from->unsolicited;
	for (unsigned i = 0; i < EXCHANGE_TURNS_COUNT; i++)
		to->target_first[i] += from->target_first[i];
}

uint64_t exchange_differ(const struct exchange_tally *t)
{
	return t->different[EXCHANGE_SHORTER] + t->different[EXCHANGE_LONGER] + t->different[EXCHANGE_ABSENT];
}

uint64_t exchange_compared(const struct exchange_tally *t)
{
	return t->same + exchange_differ(t) + t->different[EXCHANGE_SPLIT];
}

uint64_t exchange_ended_first(const struct exchange_tally *t)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < EXCHANGE_TURNS_COUNT; i++)
		n += t->target_first[i];
	return n;
}

#define NAME(id, name, text) #name,
#define TEXT(id, name, text) text,

const char *exchange_difference_name(enum exchange_difference d)
{
	static const char *const names[] = { EXCHANGE_DIFFERENCES(NAME) };

	return names[d];
}

const char *exchange_difference_text(enum exchange_difference d)
{
	static const char *const texts[] = { EXCHANGE_DIFFERENCES(TEXT) };

	return texts[d];
}

const char *exchange_obstacle_name(enum exchange_obstacle o)
{
	static const char *const names[] = { EXCHANGE_OBSTACLES(NAME) };

	return names[o];
}

const char *exchange_obstacle_text(enum exchange_obstacle o)
{
	static const char *const texts[] = { EXCHANGE_OBSTACLES(TEXT) };

	return texts[o];
}

const char *exchange_end_name(enum exchange_end e)
{
	static const char *const names[] = { EXCHANGE_ENDS(NAME) };

	return names[e];
}

const char *exchange_turns_name(enum exchange_turns n)
{
	static const char *const names[] = { EXCHANGE_TURNS(NAME) };

	return names[n];
}

const char *exchange_turns_text(enum exchange_turns n)
{
	static const char *const texts[] = { EXCHANGE_TURNS(TEXT) };

	return texts[n];
}
