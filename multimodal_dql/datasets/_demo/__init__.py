"""What the demo newsroom is drawn and synthesised with."""
