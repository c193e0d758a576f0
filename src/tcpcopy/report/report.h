#ifndef TCPCOPY_REPORT_REPORT_H
#define TCPCOPY_REPORT_REPORT_H

#include "program/reporter.h"
#include "tcpcopy/govern/govern.h"
#include "tcpcopy/report/account.h"
#include "program/workers.h"
#include "tcpcopy/returns/swallow.h"

/*
 * The reporter of tcpcopy, for frame_report(). *c, @s (NULL: there are assistants), @record (NULL: nothing is
 * written), @g and @w, whose objects are pipelines, must outlive it. NULL if out of memory.
 */
struct reporter *report_new(const struct config *c, struct workers *w, struct swallow *s,
			    const struct record *record, const struct govern *g);

#endif
