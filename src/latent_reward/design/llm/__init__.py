"""Everything that talks to a language model: questions, servers, budget, ledger and the record of replies."""
