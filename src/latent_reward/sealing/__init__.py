"""Sealing: from generated source to a verified program, in the order of the folders.

``language/`` checks the text, ``trace/`` runs and compiles it, ``lock/`` is the process in which that happens,
``examine.py`` tests there what was compiled, ``verify.py`` seals what comes back, ``open.py`` reads it again.
"""
