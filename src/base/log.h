#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include "base/util.h"

enum log_level { LOGL_ERROR, LOGL_WARN, LOGL_INFO, LOGL_DEBUG };

/* Before log_to_*() lines go to stderr as "prog: text". */
void log_init(const char *prog, enum log_level max);
int log_to_file(const char *path); /* append; 0, or -1 with errno */
int log_reopen(void);              /* after rotation; 0, or -1 with errno and the old file kept */
void log_to_syslog(void);
void log_close(void);

void log_at(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_err(...) log_at(LOGL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOGL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOGL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOGL_DEBUG, __VA_ARGS__)

/*
 * At most one line a second from this call site; the next line that is let through says how many
 * were kept back.
 */
struct log_limit {
	uint64_t next;
	unsigned kept_back;
};
bool log_limit_pass(struct log_limit *l, unsigned *kept_back);
#define log_limited(level, fmt, ...)                                                               \
	do {                                                                                       \
		static struct log_limit limit_;                                                    \
		unsigned kept_;                                                                    \
		if (log_limit_pass(&limit_, &kept_)) {                                             \
			if (kept_)                                                                 \
				log_at(level, fmt " (%u more like this kept back)", ##__VA_ARGS__, \
				       kept_);                                                     \
			else                                                                       \
				log_at(level, fmt, ##__VA_ARGS__);                                 \
		}                                                                                  \
	} while (0)

#endif
