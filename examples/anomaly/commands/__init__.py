"""What `synapcc demo anomaly` is; light, as host/commands."""
