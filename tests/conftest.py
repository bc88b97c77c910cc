"""Nothing that tests compile goes into the user's cache, also from the processes that they start."""

import os

os.environ["LARE_COMPILATION_CACHE"] = "off"
