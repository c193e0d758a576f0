#ifndef ACCOUNT_TEST_H
#define ACCOUNT_TEST_H

#include "program/account.h"

/* What holds for the table of an account, whichever it is; cmocka assertions. */
void account_test_table(const struct account_table *t);
/* doc/ACCOUNT.md has the tables of @t, as account_document() writes them. */
void account_test_document(const struct account_table *t);
/* The JSON form parses, has every row, and its equations add up. */
void account_test_json(const struct account_table *t, const uint64_t *value);

#endif
