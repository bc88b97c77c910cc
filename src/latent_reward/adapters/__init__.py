"""Credit inside other libraries' trainers. Each module needs the package it is named after, and nothing else does."""
