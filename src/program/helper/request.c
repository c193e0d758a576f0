/*
 * The check of requests - theory of operation
 *
 * In: bytes from a program that an attacker may control. Out: whether they are a request that our programs
 * make. The helper uses nothing of a request before this file has checked all of it: the exact length, the
 * kind, the table, and every byte of every element. Unknown values are rejected even where they would do no
 * harm.
 */
#include <string.h>

#include "base/util.h"
#include "program/helper/helper.h"

static bool is_zero(const uint8_t *bytes, size_t len)
{
	while (len && !*bytes)
		bytes++, len--;
	return !len;
}

/* A TCP segment can come from there. */
static bool is_sender(uint8_t family, const uint8_t a[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (is_zero(a, 16))
		return false;
	if (family == 4)
		return a[0] < 224 && is_zero(a + 4, 12); /* neither multicast nor reserved */
	return a[0] != 0xff && memcmp(a, mapped, sizeof(mapped)) != 0;
}

bool nft_element_valid(const struct nft_element *e, enum nft_table table)
{
	if ((e->family != 4 && e->family != 6) || e->zero || !e->port || !is_sender(e->family, e->address))
		return false;
	return table == NFT_OWN ? is_sender(e->family, e->to) : is_zero(e->to, sizeof(e->to));
}

/* Ranges that do not overlap, in order, and none below the ports that anybody may use. */
static bool ports_valid(const struct nft_ports ports[NFT_PORTS_MAX], bool wanted)
{
	unsigned above = 1023;

	for (unsigned i = 0; i < NFT_PORTS_MAX; i++) {
		if (!ports[i].first && !ports[i].last && (i || !wanted))
			above = 65535;
		else if (!wanted || ports[i].first <= above || ports[i].last < ports[i].first)
			return false;
		else
			above = ports[i].last;
	}
	return true;
}

bool helper_request_valid(const void *data, size_t len)
{
	const size_t head = offsetof(struct helper_request, element);
	const struct helper_request *r = data;
	bool has_elements;

	if (len < head || len > sizeof(*r))
		return false;
	if (r->kind < HELPER_CREATE || r->kind >= HELPER_KINDS || r->table >= NFT_TABLES)
		return false;
	has_elements = r->kind == HELPER_ADD || r->kind == HELPER_REMOVE;
	if (has_elements != (r->count > 0) || len != head + r->count * sizeof(r->element[0]))
		return false;
	if (!ports_valid(r->ports, r->kind == HELPER_CREATE && r->table == NFT_OWN))
		return false;
	for (unsigned i = 0; i < r->count; i++)
		if (!nft_element_valid(&r->element[i], r->table))
			return false;
	return true;
}
