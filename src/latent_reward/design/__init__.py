"""Design: from a task to a sealed encoder, in a dialogue with a language model; the only place that talks to one."""
