"""Where the program begins that build.sh makes."""

from ecsauth.helper.entry import main

main()
