/* What the service manager is told, by a manager's socket: where it is found, and what comes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "program/notify.h"
#include "capture.h"

static char directory[] = "/tmp/test_program_notify.XXXXXX";
static struct sockaddr_un at;
static char name[sizeof(at.sun_path) + 1];
static int manager = -1;

static void listen_there(socklen_t len)
{
	manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_true(manager >= 0);
	assert_int_equal(bind(manager, (struct sockaddr *)&at, len), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

/* As systemd's own is: below /run. */
static int listen_at_path(void **state)
{
	(void)state;
	strcpy(strrchr(directory, '.'), ".XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(name, sizeof(name), "%s/notify", directory);
	strcpy(at.sun_path, name);
	listen_there(sizeof(at));
	return 0;
}

static int remove_path(void **state)
{
	(void)state;
	notify_close();
	unsetenv("NOTIFY_SOCKET");
	close(manager);
	unlink(name);
	return rmdir(directory);
}

/* The datagram that waits; "" when there is none. */
static const char *heard(void)
{
	static char text[200];
	ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void by_path(void **state)
{
	(void)state;
	assert_int_equal(notify_open(), 0);
	assert_null(getenv("NOTIFY_SOCKET"));
	assert_string_equal(heard(), "");
	unlink(name); /* connected is connected, wherever the program is confined to */
	notify_manager("READY=1");
	notify_manager("STOPPING=1");
	assert_string_equal(heard(), "READY=1");
	assert_string_equal(heard(), "STOPPING=1");
	notify_close();
	notify_manager("READY=1");
	assert_string_equal(heard(), "");
}

static void by_abstract_name(void **state)
{
	const char *visible = "@test_program_notify";
	int len = snprintf(name, sizeof(name), "%s.%d", visible, (int)getpid());

	(void)state;
	at = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(at.sun_path + 1, name + 1, (size_t)len - 1);
	listen_there((socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len));
	assert_int_equal(notify_open(), 0);
	notify_manager("READY=1");
	assert_string_equal(heard(), "READY=1");
	notify_close();
	close(manager);
}

static void nobody_listens(void **state)
{
	static char longest[2 * sizeof(at.sun_path)];
	const struct {
		const char *name;
		int error;
	} cases[] = { { "/nonexistent/notify", ENOENT },
		      { "@nobody.listens.here", ECONNREFUSED },
		      { "vsock:2:1234", EADDRNOTAVAIL },
		      { "@", EADDRNOTAVAIL },
		      { longest, EADDRNOTAVAIL } };

	(void)state;
	memset(longest, '/', sizeof(longest) - 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		setenv("NOTIFY_SOCKET", cases[i].name, 1);
		assert_int_equal(notify_open(), -1);
		assert_int_equal(errno, cases[i].error);
		assert_null(getenv("NOTIFY_SOCKET"));
		notify_manager("READY=1");
	}
}

static void nobody_has_asked(void **state)
{
	(void)state;
	unsetenv("NOTIFY_SOCKET");
	assert_int_equal(notify_open(), 0);
	notify_manager("READY=1");
	setenv("NOTIFY_SOCKET", "", 1);
	assert_int_equal(notify_open(), 0);
	notify_manager("READY=1");
}

/* It is gone when we have something to say: a line in the log, and nothing worse. */
static void manager_ends(void **state)
{
	(void)state;
	assert_int_equal(notify_open(), 0);
	close(manager);
	capture_begin(STDERR_FILENO);
	notify_manager("READY=1");
	assert_non_null(strstr(capture_end(), "cannot send \"READY=1\" to the service manager: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(by_path, listen_at_path, remove_path),
		cmocka_unit_test(by_abstract_name),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(nobody_has_asked),
		cmocka_unit_test_setup_teardown(manager_ends, listen_at_path, remove_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
