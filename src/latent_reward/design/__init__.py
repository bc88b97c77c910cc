"""Design: from a task to a verified encoder; the only place that touches generated source."""
