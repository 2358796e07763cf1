"""`python -m mailqueue` is `mailqueue`."""

from .cli import main

main(prog_name="mailqueue")
