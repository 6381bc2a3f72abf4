"""``python -m nasray.cli``."""

import sys

from nasray.cli.command import main

sys.exit(main())
