"""The checks of an audit, one concern a file: each is a function of an `AuditContext` that writes into its log."""
