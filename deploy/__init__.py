"""Setting up, starting and stopping the stack on one machine."""
