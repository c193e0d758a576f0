#ifndef PROGRAM_LOG_H
#define PROGRAM_LOG_H

#include <stdbool.h>
#include "base/util.h"

enum log_level { LOGL_ERROR, LOGL_WARN, LOGL_INFO, LOGL_DEBUG };

/*
 * Before log_to_*() lines go to stderr as "prog: text"; under systemd, which says so in JOURNAL_STREAM,
 * with their priority before them.
 */
void log_init(const char *prog, enum log_level max);
int log_to_file(const char *path); /* append; 0, or -1 with errno */
int log_reopen(void);              /* after rotation; 0, or -1 with errno and the old file kept */
void log_to_syslog(void);
#define LOG_JOURNAL_SOCKET "/run/systemd/journal/socket"
int log_to_journal(const char *socket_path); /* systemd's, by its own protocol; 0, or -1 with errno */
void log_close(void);

void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_lines(char *text); /* each of its lines as LOGL_INFO; @text is freed, NULL is nothing */
#define log_err(...) log_often(LOGL_ERROR, LOG_BURST, __VA_ARGS__)
#define log_warn(...) log_often(LOGL_WARN, LOG_BURST, __VA_ARGS__)
#define log_info(...) log_at(LOGL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOGL_DEBUG, __VA_ARGS__)

/*
 * At most @burst lines a second from this call site; the next line that is let through says how many
 * were kept back. Errors and warnings are limited by themselves, to LOG_BURST; log_limited() is for
 * those that a stranger can cause: one a second.
 */
#define LOG_BURST 20
struct log_limit {
	uint64_t next;
	unsigned passed, kept_back;
};
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

/* Since the start: lines kept back by a limit; lines that could not be written whole. */
uint64_t log_lines_suppressed(void);
uint64_t log_lines_dropped(void);

#endif
