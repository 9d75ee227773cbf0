"""How well R peaks are found."""
