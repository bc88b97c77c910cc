"""Networks that read whole episodes: attention over time and agents, and a recurrent one."""
