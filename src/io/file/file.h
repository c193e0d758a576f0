#ifndef IO_FILE_FILE_H
#define IO_FILE_FILE_H

#include "packet/parse.h"

/* Set *link to libpcap's link type @dlt. False: it is not supported. */
bool file_link(int dlt, enum link_type *link);

/*
 * How the checksums of a packet from a file are to be looked at, which may have been captured before the
 * device had filled them in: CHECKSUM_PARTIAL if TCP's holds exactly the sum of the pseudo-header, and
 * CHECKSUM_TRUSTED if IPv4's is 0, as it is on Windows, and TCP's is right.
 */
enum checksum_state file_checksum(const struct raw_packet *p);

#endif
