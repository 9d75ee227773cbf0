"""What everything else speaks of: the network, programs, the Plan, and the walks and rewrites over them."""
