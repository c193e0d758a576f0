#ifndef SESSION_SCRIPT_IMPL_H
#define SESSION_SCRIPT_IMPL_H

/*
 * The inside of the script runner: session_script.c reads lines and tells the time,
 * session_script_segments.c deals with the lines that are about segments, session_script_online.c
 * with those that are about the online server's sockets, session_script_counters.c with those about
 * numbers. All functions return false when the script has failed.
 */
#include "base/util.h"
#include "session_harness.h"
#include "session_script.h"
#include "session_text.h"

#define SCRIPT_LINE 512
#define SCRIPT_TRACE (256u * 1024)
#define SCRIPT_QUESTIONS 64

struct script {
	struct harness h;
	FILE *out;
	bool started, channel_down, ipv6, failed;
	uint64_t at; /* what the script calls now; the harness may be a tick or two ahead */
	const char *file;
	int line;
	struct {
		char name[24];
		uint64_t id;
	} question[SCRIPT_QUESTIONS]; /* those that were named */
	unsigned n_questions;
	char trace[SCRIPT_TRACE];
	size_t trace_len;
};

void PRINTF_LIKE(2, 3) script_note(struct script *s, const char *fmt, ...);
/* Prints the reason with file and line, and everything that happened. Always false. */
bool PRINTF_LIKE(2, 3) script_fail(struct script *s, const char *fmt, ...);
/* Takes "times N" from the end of @text, *@n: 1 without; false: it is malformed. */
bool script_times(char *text, uint64_t *n);
bool script_key(struct script *s, const char *name, struct flow_key *k);
/* Everything that the engine wanted so far was named by a line. */
bool script_all_named(struct script *s);
static inline double script_ms(uint64_t at)
{
	return (double)(at - HARNESS_START) / 1e6;
}

/* The rest of a line, behind the time and the first word. */
bool script_captured(struct script *s, const char *name, char *text);
bool script_server(struct script *s, char *text, bool ahead);
bool script_response(struct script *s, char *text);
bool script_emits(struct script *s, char *text);
bool script_online(struct script *s, const char *text);
bool script_asks(struct script *s, char *text);
bool script_answer(struct script *s, char *text);
bool script_counter(struct script *s, char *text);

#endif
