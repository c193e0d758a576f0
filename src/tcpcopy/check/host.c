/*
 * Checks of this host: are we permitted, and is its kernel able?
 *
 * What the start needs is tried, not deduced: sockets are opened as the pipeline opens them, and closed
 * again. The rest is read from the kernel's own files.
 */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "io/host/checks.h"
#include "io/host/host.h"
#include "io/host/offloads.h"
#include "io/inject/sink.h"
#include "io/capture/source.h"
#include "tcpcopy/check/parts.h"
#include "tcpcopy/sources.h"

#define FILES_NEEDED 128u
#define FILES_LEAST 32 /* one interface beside lo, one worker, nothing connected */
#define BUFFER_WANTED (16ll << 20)

void check_permissions(struct check_report *report, void *arg)
{
	const struct checking *k = arg;

	host_check_capability(report, "capturing and sending need CAP_NET_RAW", k->argv);
}

void check_interfaces(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	char list[CONFIG_MAX_INTERFACES * 18] = "";
	struct check_result none = { 0 };
	size_t n = 0;

	if (!k->n_interfaces) {
		check_text(&none, CHECK_BROKEN, "no interface is up: nothing can be captured");
		check_cure(&none, "this host", "ip link show");
		check_say(report, &none);
	}
	for (unsigned i = 0; i < k->n_interfaces; i++)
		if (host_check_interface(report, k->interfaces[i]))
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "",
					      k->interfaces[i]);
	if (n)
		check_note(report, CHECK_OK, "%s", list);
}

void check_kernel(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	char filter[CONFIG_FILTER_SIZE], err[512];
	struct capture_options o = {
		.filter = filter,
		.incoming_only = true,
		.mode = k->config->capture,
		.ring_bytes = 1u << 20,
	};
	struct sink *sink;

	if (!host_has_capability(HOST_CAP_NET_RAW) || !k->n_interfaces)
		return;
	config_capture_filter(k->config, filter, sizeof(filter));
	o.interface = k->interfaces[0];
	host_check_capture(report, &o);
	sink = k->config->inject == INJECT_RAW ? sink_raw_open(err, sizeof(err))
					       : sink_link_open(err, sizeof(err));
	if (!sink)
		check_note(report, CHECK_BROKEN, "%s", err);
	else
		sink_close(sink);
}

void check_limits(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	unsigned long long wanted = k->config->memory + sources_ring(k->config),
			   there = host_memory_available();
	struct check_result r = { 0 };
	struct rlimit files = { 0 };
	long long buffer = host_number("/proc/sys/net/core/rmem_max");
	unsigned before = report->warnings;

	if (!getrlimit(RLIMIT_NOFILE, &files) && files.rlim_cur < FILES_NEEDED) {
		const bool starts = files.rlim_cur >= FILES_LEAST;

		check_text(&r, starts ? CHECK_WARNING : CHECK_BROKEN,
			   "this process may open only %llu files%s", (unsigned long long)files.rlim_cur,
			   starts ? "" : ", with which it does not start");
		check_cure(&r, "this host", "ulimit -n 1024");
		check_say(report, &r);
	}
	if (there && wanted > there)
		check_note(report, CHECK_WARNING,
			   "-m and -B together allow %llu MiB, but only %llu MiB of memory are available",
			   wanted >> 20, there >> 20);
	if (!host_has_capability(HOST_CAP_NET_ADMIN) && buffer >= 0 && buffer < BUFFER_WANTED) {
		check_text(
			&r, CHECK_WARNING,
			"without CAP_NET_ADMIN a capture buffer is limited to %lld KiB, too little for bursts",
			buffer >> 10);
		check_cure(&r, "this host", "sysctl -w net.core.rmem_max=%lld", BUFFER_WANTED);
		check_say(report, &r);
	}
	if (before == report->warnings && files.rlim_cur >= FILES_LEAST)
		check_note(report, CHECK_OK, "%llu open files, %llu MiB of memory available",
			   (unsigned long long)files.rlim_cur, there >> 20);
}

/* It also says what does not matter, because people look for the reason there first. */
void check_netfilter(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	long long used = host_number("/proc/sys/net/netfilter/nf_conntrack_count");
	long long most = host_number("/proc/sys/net/netfilter/nf_conntrack_max");
	struct check_result r = { 0 };

	if (k->config->inject != INJECT_RAW) {
		check_note(report, CHECK_OK,
			   "copies leave at the link layer, which bypasses netfilter and conntrack");
	} else if (most > 0 && used >= most - most / 10) {
		check_text(
			&r, CHECK_BROKEN,
			"conntrack is full (%lld of %lld entries), so it will refuse packets of --inject=raw",
			used, most);
		check_cure(&r, "this host", "sysctl -w net.netfilter.nf_conntrack_max=%lld", most * 2);
		check_say(report, &r);
	} else {
		check_note(report, CHECK_OK,
			   "copies pass through netfilter (--inject=raw); conntrack has %lld of %lld entries",
			   used < 0 ? 0 : used, most < 0 ? 0 : most);
	}
	check_note(report, CHECK_OK, "rp_filter (%lld) and forwarding (%lld) of this host do not matter",
		   host_number("/proc/sys/net/ipv4/conf/all/rp_filter"),
		   host_number("/proc/sys/net/ipv4/ip_forward"));
}

void check_offloads(struct check_report *report, void *arg)
{
	const struct checking *k = arg;
	char list[1024] = "", one[200];
	size_t n = 0;

	for (unsigned i = 0; i < k->n_interfaces && n < sizeof(list); i++)
		if (strcmp(k->interfaces[i], "lo") && offloads_text(one, sizeof(one), k->interfaces[i])[0])
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s %s", n ? "; " : "",
					      k->interfaces[i], one);
	check_note(report, CHECK_OK, "nothing depends on them (enabled: %s)", n ? list : "none");
}
