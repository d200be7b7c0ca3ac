"""The program ``lockkeeper``: the engine on the command line, with no Prefect server needed.

``main`` has the entry point and decides exit codes and output; each other module is one group of commands.
Commands return a ``Result``; nothing but ``main`` writes to stdout. Heavy modules are imported inside the
commands, so that ``lockkeeper --help`` answers at once.
"""
