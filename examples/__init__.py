"""Examples that come with synapcc."""
