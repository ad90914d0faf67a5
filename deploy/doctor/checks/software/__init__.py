"""What the doctor checks of the installed software and its configuration."""
