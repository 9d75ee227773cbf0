"""What `synapcc demo ecg`, `synapcc eval ecg` and `synapcc doctor` find here; light, as host/commands."""
