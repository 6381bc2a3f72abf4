"""``python -m nasray.cli``."""

import sys

from nasray.cli.verbs import main

sys.exit(main())
