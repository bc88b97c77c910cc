"""Sealing: from a source that a model wrote to a verified program; the only place where such a source is run."""
