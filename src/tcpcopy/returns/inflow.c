/*
 * The answers that come in to this host - theory of operation
 *
 * With own addresses this host gets the answers whole, by the same link as its clients' requests. So that a
 * copy can never take that link from them, no session begins while more answers come in than --max-answers
 * allows. Sessions that have begun go on: they end by themselves, and a session that is cut off tells
 * nothing about the target. A bucket of one second, so that a burst is no reason.
 */
#include "tcpcopy/returns/inflow.h"

#include "base/util.h"

#define BUCKET NS_PER_SEC
#define MOST_AHEAD (2 * BUCKET) /* however much came: a second after it has ceased sessions begin again */

static void pass(struct inflow *f, uint64_t now)
{
	if (now <= f->at)
		return;
	f->ahead -= MIN(f->ahead, now - f->at);
	f->at = now;
}

void inflow_add(struct inflow *f, uint32_t bytes, uint64_t now)
{
	f->bytes += bytes;
	if (!f->rate)
		return;
	pass(f, now);
	f->ahead = MIN(f->ahead + (uint64_t)bytes * NS_PER_SEC / f->rate, MOST_AHEAD);
}

bool inflow_is_over(struct inflow *f, uint64_t now)
{
	pass(f, now);
	if (f->ahead <= BUCKET)
		return false;
	f->avoided++;
	return true;
}
