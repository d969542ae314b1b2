"""The shell: one file per command, and each parses, calls and prints.

``expunge --help`` stays quick because nothing here imports torch before a command runs: the files
that need it (`project`, `steps`, `runs`, `entering`, `examining`) are imported inside the commands.
"""
