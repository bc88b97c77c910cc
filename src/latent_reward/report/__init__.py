"""Reports: what a run logs, shows and draws."""
