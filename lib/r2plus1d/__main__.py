"""python -m r2plus1d: the command r2plus1d."""

from r2plus1d.cli.command import main

if __name__ == '__main__':
    main()
