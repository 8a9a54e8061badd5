"""``python -m longwang_ray.cli``: the command line where no script is installed."""

import sys

from longwang_ray.cli import main

sys.exit(main())
