"""The locked child process, in which sources are run."""
