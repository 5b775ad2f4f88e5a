#pragma once
#include <libpq-fe.h>

// PG_DIAG_* are character macros, which Swift does not import.
static inline int chat_pg_diag_sqlstate(void) { return PG_DIAG_SQLSTATE; }
static inline int chat_pg_diag_message(void) { return PG_DIAG_MESSAGE_PRIMARY; }
static inline int chat_pg_diag_severity(void) { return PG_DIAG_SEVERITY_NONLOCALIZED; }
static inline int chat_pg_diag_translated_severity(void) { return PG_DIAG_SEVERITY; }
static inline int chat_pg_diag_constraint(void) { return PG_DIAG_CONSTRAINT_NAME; }
