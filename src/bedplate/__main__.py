"""`python -m bedplate`: the command line where its script is not on the path."""

from bedplate.cli.main import run

if __name__ == "__main__":
    run()
