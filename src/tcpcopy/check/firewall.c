/*
 * Commands against a firewall - theory of operation
 *
 * In: a service. Out: a command that lets its packets pass, whatever tables the host has. A rule for a table
 * by its usual name fails where there is none of that name, and in nf_tables a packet that one base chain
 * accepts is still dropped by the next one of the same hook. So the command inserts the rule at the head of
 * each base chain of the hook, as the kernel lists them. The tables of iptables-legacy are not among them,
 * nor is the program nft everywhere; therefore a rule for iptables is the second step. Neither outlasts a
 * reboot.
 */
#include "tcpcopy/check/firewall.h"

#include <stdio.h>

#define RULE_TEXT 200
#define COMMAND_TEXT 700

/* @hooks: those of nf_tables, as an extended regular expression. */
static char *insert_everywhere(char *buf, size_t size, bool v4, const char *hooks, const char *rule)
{
	snprintf(
		buf, size,
		"nft list chains | awk '$1==\"table\"{t=$2\" \"$3} $1==\"chain\"{c=$2} /type filter hook (%s)/&&"
		"t~/^(inet|%s) /{print \"insert rule\",t,c,\"%s accept\"}' | nft -f -",
		hooks, v4 ? "ip" : "ip6", rule);
	return buf;
}

static const char *iptables(bool v4)
{
	return v4 ? "iptables" : "ip6tables";
}

void firewall_let_in(struct check_result *r, const char *where, const struct endpoint *at,
		     const struct addr *from, bool step)
{
	const bool v4 = addr_is_v4(&at->addr);
	char rule[RULE_TEXT], command[COMMAND_TEXT], source[ADDR_TEXT_LEN] = "";

	if (from)
		addr_format(source, sizeof(source), from);
	snprintf(rule, sizeof(rule), "%s%s%stcp dport %u",
		 !from ? ""
		 : v4  ? "ip saddr "
		       : "ip6 saddr ",
		 source, from ? " " : "", at->port);
	insert_everywhere(command, sizeof(command), v4, "prerouting|input", rule);
	if (step)
		check_then(r, "%s", command);
	else
		check_cure(r, where, "%s", command);
	check_then(r, "%s -I INPUT %s%s%s-p tcp --dport %u -j ACCEPT", iptables(v4), from ? "-s " : "",
		   source, from ? " " : "", at->port);
}

void firewall_let_out(struct check_result *r, const struct endpoint *to)
{
	const bool v4 = addr_is_v4(&to->addr);
	char rule[RULE_TEXT], command[COMMAND_TEXT], target[ADDR_TEXT_LEN];

	addr_format(target, sizeof(target), &to->addr);
	snprintf(rule, sizeof(rule), "%s daddr %s tcp dport %u", v4 ? "ip" : "ip6", target, to->port);
	check_cure(r, "this host", "%s",
		   insert_everywhere(command, sizeof(command), v4, "output|postrouting", rule));
	check_then(r, "%s -I OUTPUT -d %s -p tcp --dport %u -j ACCEPT", iptables(v4), target, to->port);
}

void firewall_untrack(struct check_result *r, const struct endpoint *to)
{
	char target[ADDR_TEXT_LEN];

	check_cure(
		r, "this host",
		"nft 'add table inet tcpcopy; add chain inet tcpcopy output { type filter hook output priority raw; }; "
		"add rule inet tcpcopy output %s daddr %s tcp dport %u notrack'",
		addr_is_v4(&to->addr) ? "ip" : "ip6", addr_format(target, sizeof(target), &to->addr),
		to->port);
}
