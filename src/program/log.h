#ifndef PROGRAM_LOG_H
#define PROGRAM_LOG_H

#include <stdbool.h>
#include "base/util.h"

enum log_level { LOGL_ERROR, LOGL_WARN, LOGL_INFO, LOGL_DEBUG };

/*
 * Begin to log lines up to the level @max. Until one of the log_to_*() functions is called, they go to
 * stderr as "prog: text"; under systemd, which sets JOURNAL_STREAM, each is preceded by its priority. @prog
 * must stay.
 */
void log_init(const char *prog, enum log_level max);

/*
 * Append further lines to the file @path, which is created if need be. Returns 0, or -1 with file_words()'s
 * errno.
 */
int log_to_file(const char *path);

/*
 * Open the file of log_to_file() again, after its rotation. Returns 0, or -1 with file_words()'s errno
 * and the old file kept.
 */
int log_reopen(void);

#define LOG_SYSLOG_SOCKET "/dev/log"

/*
 * Open the socket of syslog(3) for log_to_syslog(), which comes when the sandbox allows it no more. Returns
 * 0, or -1 with errno: the lines will then be lost.
 */
int log_open_syslog(const char *socket_path);
/* Send further lines to syslog(3), by the socket of log_open_syslog(). */
void log_to_syslog(void);

#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Send further lines to systemd's journal, with its own protocol. Returns 0, or -1 with errno. */
int log_to_journal(const char *socket_path);

/* Close the file or socket. Further lines go to stderr. */
void log_close(void);

/* Log one line at @level. Control characters are replaced. May be called by any thread. */
void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * @on: standard error is a terminal, and its last line is written over again and again: clear it before each
 * line that goes there.
 */
void log_over_line(bool on);

/* Log each line of @text as LOGL_INFO, and free it. NULL is nothing. */
void log_lines(char *text);
#define log_err(...) log_often(LOGL_ERROR, LOG_BURST, __VA_ARGS__)
#define log_warn(...) log_often(LOGL_WARN, LOG_BURST, __VA_ARGS__)
#define log_info(...) log_at(LOGL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOGL_DEBUG, __VA_ARGS__)

/*
 * At most @burst lines a second are logged from each place in the program; the next line that passes says
 * how many were suppressed. log_err() and log_warn() have the limit LOG_BURST; log_limited() is for lines
 * that a stranger can cause, and has the limit of one.
 */
#define LOG_BURST 20
struct log_limit {
	uint64_t next; /* ns: end of the present second */
	unsigned passed, kept_back;
};

/*
 * May another line of the place with the limit *l pass? If so, *@kept_back is how many did not since the
 * last one.
 */
bool log_limit_pass(struct log_limit *l, unsigned burst, unsigned *kept_back);
#define log_often(level, burst, fmt, ...)                                                                    \
	do {                                                                                                 \
		static struct log_limit limit_;                                                              \
		unsigned kept_;                                                                              \
		if (log_limit_pass(&limit_, burst, &kept_)) {                                                \
			if (kept_)                                                                           \
				log_at(level, fmt " (%u similar lines suppressed)", ##__VA_ARGS__, kept_);   \
			else                                                                                 \
				log_at(level, fmt, ##__VA_ARGS__);                                           \
		}                                                                                            \
	} while (0)
#define log_limited(level, ...) log_often(level, 1, __VA_ARGS__)

/* How many lines a limit has suppressed since the start. May be called by any thread. */
uint64_t log_lines_suppressed(void);

/*
 * How many lines could not be written completely since the start. The next line that can be written says so.
 * May be called by any thread.
 */
uint64_t log_lines_dropped(void);

#endif
