"""`python -m srn`: the command line."""

from srn.cli.main import main

if __name__ == "__main__":
    main()
