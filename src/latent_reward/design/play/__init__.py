"""Play episodes of a task to score encoders on; of the rewards only the return of each episode is used."""
