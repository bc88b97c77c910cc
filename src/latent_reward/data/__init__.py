"""Episodes, the buffer that stores them, and what an action is made of."""
