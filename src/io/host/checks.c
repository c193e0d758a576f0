/*
 * Checks of this host that both programs make - theory of operation
 *
 * In: what the start would need. Out: lines of --check. It is tried, not deduced: a capture is opened as the
 * pipeline opens it, and closed again.
 */
#include "io/host/checks.h"

#include "io/host/host.h"

void host_check_capability(struct check_report *report, const char *otherwise, char *const *argv)
{
	struct check_result r = { 0 };
	char command[700];

	if (host_has_capability(HOST_CAP_NET_RAW)) {
		check_note(report, CHECK_OK, "CAP_NET_RAW%s",
			   host_has_capability(HOST_CAP_NET_ADMIN) ? ", CAP_NET_ADMIN" : "");
		return;
	}
	check_text(&r, CHECK_BROKEN, "%s", otherwise);
	check_cure(&r, "this host", "sudo %s", check_command(command, sizeof(command), argv, NULL, NULL));
	check_say(report, &r);
}

bool host_check_interface(struct check_report *report, const char *name)
{
	struct check_result r = { 0 };

	if (host_interface_is_up(name))
		return true;
	check_text(&r, CHECK_BROKEN, "%s is down: nothing is captured there", name);
	check_cure(&r, "this host", "ip link set %s up", name);
	check_say(report, &r);
	return false;
}

void host_check_capture(struct check_report *report, const struct capture_options *o)
{
	char err[512];
	struct source *s;

	if (!host_has_capability(HOST_CAP_NET_RAW))
		return;
	s = capture_open(o, err, sizeof(err));
	if (!s)
		check_note(report, CHECK_BROKEN, "%s", err);
	else if (s->error[0])
		check_note(report, CHECK_WARNING, "%s", s->error);
	else
		check_note(report, CHECK_OK, "capturing with %s",
			   o->mode == CAPTURE_PACKET ? "PACKET_VNET_HDR"
						     : "TPACKET_V3, PACKET_VNET_HDR, PACKET_FANOUT");
	if (s)
		source_close(s);
}
