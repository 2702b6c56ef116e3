"""From rows to columns: every way in which a dataset is scored, fitted and assigned."""
