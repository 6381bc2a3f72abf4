"""What a run is made of: searches, trainings from scratch and look-ups, epoch by epoch. Plain torch, no Ray."""
