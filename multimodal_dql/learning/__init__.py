"""Learning from transitions: targets, losses, and training loops that know no scenario by name."""
