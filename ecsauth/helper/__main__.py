"""``python -m ecsauth.helper``."""

from ecsauth.helper.entry import main

main()
