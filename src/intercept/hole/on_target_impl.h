#ifndef INTERCEPT_HOLE_ON_TARGET_IMPL_H
#define INTERCEPT_HOLE_ON_TARGET_IMPL_H

#include "intercept/hole/on_target.h"

/* Shared by on_target.c and on_target_possible.c; no other file includes it. */

#define ON_TARGET_TABLE 36524u
#define ON_TARGET_PRIORITY 5u /* of the rules; before those of anybody else */

/* The setting net.ipv4.conf.*.@name in force for @interface: the larger one of its own and that of all. */
long long on_target_setting(const char *interface, const char *name);

#endif
