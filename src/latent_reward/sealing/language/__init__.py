"""Is a source in the numeric language, and what does it mean: nothing of it runs here."""
