"""`python -m vitalwire` is the command `vitalwire`."""

from vitalwire.cli import main

main()
