"""Every writing command, killed or stopped by a full disk at random moments.

    cd tests && python -m kills --command index --kills 50 --seed 1

A command starts as a fork of a process that has imported everything, so that a run costs no more
than its work. Runs of one store are killed one after the other (SIGKILL, SIGTERM, SIGINT, or a
limit on the size of files), and the last one is not. After each, `vitrina verify` must find
nothing; after SIGTERM and SIGINT nothing half-written may be left; the last run must end with what
an uninterrupted one leaves.
"""
