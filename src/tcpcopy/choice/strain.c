/*
 * What a target or this host suffers - theory of operation
 *
 * In: what an engine has counted of a target between two times, or what the kernel says of this host. Out:
 * the number that a condition compares with its limit. What did not happen is not measured, and meets no
 * condition: a target without new sessions refuses none of them.
 *
 * An answer that is late is known only when the next turn goes, at the latest when --hold lets it go. So a
 * target that stands still is seen after --hold.
 */
#include "tcpcopy/choice/strain.h"

#include <stdio.h>

#include "base/util.h"

#define X(id, name, units, quantile) { #name, STRAIN_##id, units, quantile },
const struct condition_metric strain_target[STRAIN_TARGET_COUNT] = { STRAIN_TARGET(X) };
const struct condition_metric strain_host[STRAIN_HOST_COUNT] = { STRAIN_HOST(X) };
#undef X

void strain_between(struct engine_pace *now, const struct engine_pace *then)
{
	hist_subtract(&now->answer, &then->answer);
	now->released -= then->released;
	now->overdue -= then->overdue;
	now->begun -= then->begun;
	now->ended -= then->ended;
	now->refused -= then->refused;
	now->reset -= then->reset;
}

/* Returns false if there is nothing that it would be a share of. */
static bool share(uint64_t part, uint64_t whole, double *value)
{
	if (!whole)
		return false;
	*value = (double)MIN(part, whole) / (double)whole;
	return true;
}

bool strain_of_target(const struct condition *c, const struct engine_pace *lately, double *value)
{
	switch ((enum strain)c->metric) {
	case STRAIN_ANSWER:
		*value = (double)hist_quantile(&lately->answer, c->quantile);
		return lately->answer.count != 0;
	case STRAIN_REFUSED: /* what begins now may be refused in the next second, and the other way round */
		return share(lately->refused, MAX(lately->begun, lately->refused), value);
	case STRAIN_RESET:
		return share(lately->reset, lately->ended, value);
	case STRAIN_UNANSWERED:
		return share(lately->overdue, lately->released, value);
	default:
		return false;
	}
}

bool strain_of_host(const struct condition *c, const struct strain_host *lately, double *value)
{
	switch ((enum strain)c->metric) {
	case STRAIN_CPU:
		*value = lately->cpu;
		return lately->cpu_known;
	case STRAIN_MEMORY:
		*value = lately->memory;
		return lately->memory_known;
	case STRAIN_DROPS:
		*value = (double)lately->drops;
		return true;
	default:
		return false;
	}
}

static const char *name_of(unsigned metric)
{
	static const char *const names[STRAIN_COUNT] = {
#define X(id, name, units, quantile) [STRAIN_##id] = #name,
		STRAIN_TARGET(X) STRAIN_HOST(X)
#undef X
	};

	return names[metric];
}

static void format_value(char *buf, size_t size, enum condition_unit unit, double value)
{
	if (unit == CONDITION_TIME && value < NS_PER_SEC)
		snprintf(buf, size, "%.4g ms", value / NS_PER_MS);
	else if (unit == CONDITION_TIME)
		snprintf(buf, size, "%.4g s", value / NS_PER_SEC);
	else if (unit == CONDITION_SHARE)
		snprintf(buf, size, "%.3g %%", value * 100);
	else
		snprintf(buf, size, "%.10g", value);
}

char *strain_format(char buf[STRAIN_TEXT], const struct condition *c, double value)
{
	char is[24], limit[24], quantile[16] = "";

	format_value(is, sizeof(is), c->unit, value);
	format_value(limit, sizeof(limit), c->unit, c->limit);
	if (c->quantile > 0)
		snprintf(quantile, sizeof(quantile), " p%.6g", c->quantile * 100);
	snprintf(buf, STRAIN_TEXT, "%s%s %s > %s", name_of(c->metric), quantile, is, limit);
	return buf;
}
