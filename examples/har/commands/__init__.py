"""What `synapcc demo har` and `synapcc doctor` find here; light, as host/commands."""
