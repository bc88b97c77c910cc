"""A sealed encoder: its card, its program, and how both are read and screened."""
