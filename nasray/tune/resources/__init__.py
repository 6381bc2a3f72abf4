"""What trials may take of a cluster: placement on its GPUs, measured memory, limits of a process."""
