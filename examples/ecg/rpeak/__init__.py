"""What the block `r_peak` of a front end reaches on MIT-BIH, and how its settings were chosen."""
