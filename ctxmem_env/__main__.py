"""`python -m ctxmem_env`: the command `ctxmem`, for launchers that start modules, such as torchrun."""

import sys

from ctxmem_env.cli import main

if __name__ == "__main__":
    sys.exit(main())
