"""One architecture space a file, with the architectures published in it."""
