/*
 * What all sinks share: the words for their errors, and which errno counts as which.
 */
#include "io/inject/sink.h"

#include <errno.h>

const char *sink_error_text(enum sink_error e)
{
	static const char *const text[SINK_ERROR_COUNT] = {
#define X(id, name, words) [SINK_##id] = words,
		SINK_ERRORS(X)
#undef X
	};

	return text[e];
}

void sink_count_error(struct sink *s, int code, unsigned packets)
{
	enum sink_error e;

	switch (code) {
	case ENOBUFS:
	case ENOMEM:
		e = SINK_NOBUFS;
		break;
	case EAGAIN:
		e = SINK_AGAIN;
		break;
	case EPERM:
	case EACCES:
		e = SINK_PERM;
		break;
	case EMSGSIZE:
		e = SINK_MSGSIZE;
		break;
	case ENETUNREACH:
	case EHOSTUNREACH:
	case EHOSTDOWN:
	case ENETDOWN:
	case ENODEV:
	case EADDRNOTAVAIL:
		e = SINK_UNREACH;
		break;
	default:
		e = SINK_OTHER;
	}
	s->counters.errors[e] += packets;
	s->counters.last_errno = code;
}
